"""Exceptions of every kind, and values, pipes and jobs that raise them at their seventh block. They can be pickled: tests import them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from fission.core.head import Head
from fission.core.jobs import LocalJob, PythonJob
from fission.core.pipes import BytesPipe, JSONPipe, OptionalPicklePipe, PicklePipe

BLOCKS = 60
BAD = 7


class Base(BaseException):
    """A user's BaseException."""


class Speechless(Exception):
    """Its __str__ and __repr__ raise an exception that would silently end a loop."""

    def __str__(self) -> str:
        raise StopIteration

    __repr__ = __str__


class NoText(Exception):
    """Its text is not a string."""

    def __str__(self) -> Any:
        return 7


class Irreducible(Exception):
    """It cannot be pickled."""

    def __reduce__(self) -> Any:
        raise GeneratorExit


#: Functions that make an exception of a kind, by its name.
KINDS: dict[str, Callable[[], BaseException]] = {
    "ValueError": lambda: ValueError("no"),
    "StopIteration": StopIteration,
    "StopIteration with a value": lambda: StopIteration(3),
    "StopAsyncIteration": StopAsyncIteration,
    "GeneratorExit": GeneratorExit,
    "KeyboardInterrupt": KeyboardInterrupt,
    "SystemExit": lambda: SystemExit(0),
    "RecursionError": RecursionError,
    "MemoryError": MemoryError,
    "EOFError": EOFError,
    "BaseException": lambda: BaseException("no"),
    "Base": Base,
    "Speechless": Speechless,
    "NoText": NoText,
    "Irreducible": Irreducible,
}


def raise_kind(kind: str) -> Any:
    raise KINDS[kind]()


def class_of(kind: str) -> str:
    """Return the name under which an exception of this kind must be reported."""
    return type(KINDS[kind]()).__name__


# values


class Plain:
    """A value with a number."""

    def __init__(self, number: int, kind: str) -> None:
        self.number, self.kind = number, kind

    def check(self) -> None:
        if self.number == BAD:
            raise_kind(self.kind)


class SetState(Plain):
    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.check()


class Reduce(Plain):
    def __reduce__(self) -> Any:
        self.check()
        return Plain, (self.number, self.kind)


class Odd(Plain):
    """A value that no code on its way may examine: code that does, or drops it, gets an exception."""

    def __eq__(self, other: object) -> bool:
        return bool(raise_kind(self.kind))

    def __bool__(self) -> bool:
        return bool(raise_kind(self.kind))

    def __len__(self) -> int:
        return int(raise_kind(self.kind))

    def __hash__(self) -> int:
        return int(raise_kind(self.kind))

    def __repr__(self) -> str:
        return str(raise_kind(self.kind))

    def __iter__(self) -> Iterator[Any]:
        return iter(raise_kind(self.kind))


# pipes


class Packs(PicklePipe):
    def pack(self, data: Plain) -> Any:
        data.check()
        return data


class Unpacks(PicklePipe):
    def unpack(self, data: Plain) -> Any:
        data.check()
        return data


class Writes(PicklePipe):
    def write(self, file: BinaryIO, data: Plain) -> None:
        data.check()
        super().write(file, data)


class Reads(PicklePipe):
    def read(self, file: BinaryIO) -> Any:
        data = super().read(file)
        data.check()
        return data


class UnpacksJSON(JSONPipe):
    def pack(self, data: Plain) -> bytes:
        return json.dumps(data.__dict__).encode() + b"\n"

    def unpack(self, data: bytes | str) -> Any:
        value = Plain(**json.loads(data))
        value.check()
        return value


class UnpacksBytes(BytesPipe):
    def pack(self, data: Plain) -> bytes:
        return super().pack(f"{data.number:>4} {data.kind:>40}".encode())

    def unpack(self, data: Any) -> Any:
        value = Plain(int(data[:4]), data[4:].decode().strip())
        value.check()
        return value


class Five(PicklePipe):
    BLOCK_COUNT = 5


class Optional(OptionalPicklePipe):
    pass


# jobs


class Gives(PythonJob):
    """A source that yields values of a class from a generator."""

    def __init__(self, value: type[Plain], kind: str, **pipes: Any) -> None:
        super().__init__(**pipes)
        self.value, self.kind = value, kind

    def run(self) -> Iterator[Any]:
        for number in range(1, BLOCKS + 1):
            yield self.value(number, self.kind)


class GivesEach(PythonJob):
    """The same, without a generator."""

    def __init__(self, value: type[Plain], kind: str, **pipes: Any) -> None:
        super().__init__(**pipes)
        self.value, self.kind, self.number = value, kind, 0

    def run(self) -> Any:
        self.number += 1
        if self.number == BLOCKS:
            self.finish()
        return self.value(self.number, self.kind)


class Passes(PythonJob):
    def run(self, *values: Any) -> Any:
        return values[0]


class PassesWithHead(Passes):
    HEAD = True


class PassesHere(LocalJob, Passes):
    pass


class Makes(PythonJob):
    """A connector that makes values of a class from its inputs."""

    def __init__(self, value: type[Plain], kind: str, **pipes: Any) -> None:
        super().__init__(**pipes)
        self.value, self.kind, self.number = value, kind, 0

    def run(self, *values: Any) -> Any:
        self.number += 1
        return self.value(self.number, self.kind)


class MakesWithHead(Makes):
    HEAD = True


class Sink(PythonJob):
    def run(self, *values: Any) -> None:
        pass


class LocalSink(LocalJob, Sink):
    pass


class RaisesIn(PythonJob):
    """Raises in one of its methods."""

    CHECKPOINT = BAD

    def __init__(self, where: str, kind: str, **pipes: Any) -> None:
        super().__init__(**pipes)
        self.where, self.kind, self.number = where, kind, 0
        self.at("__init__")

    def at(self, where: str) -> None:
        if where == self.where:
            raise_kind(self.kind)

    def setup(self, *args: Any, **kwargs: Any) -> None:
        self.at("setup")

    def run(self, *values: Any) -> Any:
        self.number += 1
        if self.number == BAD:
            self.at("run")
            if self.is_source:
                self.finish()
        return values[0] if values else self.number

    def snapshot(self) -> Any:
        self.at("snapshot")
        return super().snapshot()

    def teardown(self) -> None:
        self.at("teardown")


class RaisesInHead(RaisesIn):
    HEAD = True
    CHECKPOINT = None

    def head_reduce(self) -> Head:
        if self.number + 1 == BAD:
            self.at("head_reduce")
        return super().head_reduce()


class RaisesInGenerator(RaisesIn):
    CHECKPOINT = None

    def run(self) -> Iterator[Any]:
        for number in range(1, BLOCKS + 1):
            if number == BAD:
                self.at("run")
            yield number
