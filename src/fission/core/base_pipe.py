"""What every pipe has."""

from __future__ import annotations

from abc import ABCMeta
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

from fission.core.block_file import BlockFile
from fission.core.registry import Registry, behind, current, where
from fission.errors import DefinitionError, Fault

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fission.core.base_job import BaseJob
    from fission.core.head import Head

MAX_PIPE_ID = 2**32 - 1  # the wire has 32 bits, unsigned

_PIECE = 1 << 20  # bytes asked of a file at once: a length that lies must not allocate memory


class TruncatedBlock(EOFError):
    """A stream ended inside a block.

    Attributes:
        received: bytes of the block that had come.
        expected: bytes of the whole block; None where only its end would have told.
    """

    def __init__(self, pipe: str, received: int, expected: int | None = None) -> None:
        self.received = received
        self.expected = expected
        whole = "" if expected is None else f" of {expected}"
        super().__init__(f"{pipe}: the stream ended inside a block, after {received}{whole} bytes")


def read_exactly(file: BinaryIO, size: int) -> bytes:
    """Reads up to `size` bytes; fewer only if the stream ends. The memory used grows with what comes, not with `size`."""
    data = file.read(min(size, _PIECE))
    if len(data) == size:
        return data
    pieces, have = [data], len(data)
    while have < size and data:
        data = file.read(min(size - have, _PIECE))
        pieces.append(data)
        have += len(data)
    return b"".join(pieces)


class _Recorder:
    """A file that remembers what was read from it."""

    def __init__(self, file: BinaryIO, refusal: str) -> None:
        self._file = file
        self._refusal = refusal
        self._described = False  # what is read from its descriptor is not seen here
        self._taken = bytearray()

    @property
    def taken(self) -> bytes:
        """What was read. Raises DefinitionError if that cannot be known."""
        if self._described:
            raise DefinitionError(self._refusal)
        return bytes(self._taken)

    def fileno(self) -> int:
        self._described = True
        return self._file.fileno()

    def peek(self, size: int = 0) -> bytes:
        return bytes(self._file.peek(size))  # type: ignore[attr-defined]

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._taken += data
        return data

    def readline(self, size: int = -1) -> bytes:
        data = self._file.readline(size)
        self._taken += data
        return data

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.readline, b"")


def _is_pipe_id(value: Any) -> bool:
    return type(value) is int and 1 <= value <= MAX_PIPE_ID


class PipeType(ABCMeta):
    """Makes a call of a pipe class with an id that is already there give the pipe that is there."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        registry = current()
        wanted = kwargs.get("id", args[0] if args else None)
        if type(wanted) is int and wanted in registry.pipes:
            return _pipe_again(registry, registry.pipes[wanted], cls, args, kwargs)
        pipe: Any = super().__call__(*args, **kwargs)
        pipe.created_at = where()
        if not hasattr(pipe, "id"):
            registry.report(Fault(f"{cls.__name__}.__init__ must call super().__init__(id)", pipe.created_at))
            pipe.id, pipe.source, pipe.destination = 0, None, None
        elif not _is_pipe_id(pipe.id):
            registry.report(Fault(f"the id of a {cls.__name__} must be an int from 1 to {MAX_PIPE_ID}, not {pipe.id!r}", pipe.created_at))
            pipe.id = 0
        elif pipe.id in registry.pipes:  # a class with an __init__ of its own, whose first argument is not the id
            return _pipe_again(registry, registry.pipes[pipe.id], cls, args, kwargs)
        else:
            registry.pipes[pipe.id] = pipe
            registry.pipe_arguments[pipe.id] = (args, kwargs)
        return pipe


def _pipe_again(registry: Registry, known: BasePipe, cls: PipeType, args: tuple[Any, ...], kwargs: dict[str, Any]) -> BasePipe:
    kind: Any = type(known)
    if kind is not cls:
        place = where()
        registry.report(
            Fault(
                f"pipe {known.id} is {_a(kind.__name__)}{behind(known.created_at)} and {_a(cls.__name__)}{behind(place)}; "
                "a pipe has one class at both ends: give one of them another id, or both the same class",
                place,
            )
        )
        other: BasePipe = type.__call__(cls, *args, **kwargs)  # not entered: the rest of the network can still be looked at
        other.created_at = place
        return other
    if len(args) + len(kwargs) > 1:
        for name, first, second in _differences(cls, registry.pipe_arguments[known.id], (args, kwargs)):
            place = where()
            registry.report(
                Fault(
                    f"{known} has {name} {first!r}{behind(known.created_at)} and {name} {second!r}{behind(place)}; "
                    "a pipe has the same arguments at both ends",
                    place,
                )
            )
    return known


def _differences(cls: PipeType, first: Any, second: Any) -> Iterator[tuple[str, object, object]]:
    from inspect import signature

    bound = []
    for args, kwargs in (first, second):
        call = signature(cls.__init__).bind(None, *args, **kwargs)  # type: ignore[misc]
        call.apply_defaults()
        bound.append(call.arguments)
    for name, value in bound[0].items():
        other = bound[1][name]
        if value is not other and type(value == other) is bool and value != other:
            yield name, value, other


def _a(name: str) -> str:
    return f"{'an' if name[:1] in 'AEIOUaeiou' else 'a'} {name}"


class BasePipe(metaclass=PipeType):
    """A one-way connection from one job to another, named by its id at both ends.

    Calling the class again with the same id gives the same object; `__init__` does not run again.

    Class attributes, to be overridden:
        BLOCK_SIZE: bytes of one block, at least 1; or a name (str) for a protocol whose blocks have no fixed length.
        BLOCK_COUNT: how many blocks one call of the destination's `run` takes; above 1 it is handed a list.
        ASYNC: True if the destination never waits for this pipe.
        SOURCE_JOBS, DESTINATION_JOBS: job classes that may stand at that end; empty: any.
        OPTIONAL_DEFAULT, OPTIONAL_STORE, OPTIONAL_BUFFER_SIZE, OPTIONAL_DELETE_MODE: for ASYNC pipes; see `OptionalMixIn`.

    A pipe may have `get_dummy()`, which returns what stands for a block that is lost for good.

    Args:
        id: an int from 1 to 4294967295.

    Raises:
        DefinitionError: `id` is no such int, or is the id of a pipe of another class or with other arguments.
    """

    BLOCK_SIZE: int | str = 1
    BLOCK_COUNT: int = 1
    ASYNC: bool = False
    SOURCE_JOBS: Sequence[type[BaseJob]] = ()
    DESTINATION_JOBS: Sequence[type[BaseJob]] = ()

    OPTIONAL_DEFAULT: Any = None
    OPTIONAL_STORE: bool = True
    OPTIONAL_BUFFER_SIZE: int = 0
    OPTIONAL_DELETE_MODE: str = "oldest"

    id: int
    source: BaseJob | None = None
    destination: BaseJob | None = None
    created_at: str = ""

    _head_size: int = 1  # bytes; set by the host from HEAD_SIZE

    def __new__(cls, *args: Any, **kwargs: Any) -> BasePipe:
        # takes what __init__ takes: a class that overrides __new__ hands its arguments on
        return super().__new__(cls)

    def __init__(self, id: int) -> None:
        self.id = id

    def complete(self) -> bool:
        """Whether the pipe has both ends."""
        return self.source is not None and self.destination is not None

    def read_head(self, file: BinaryIO) -> int:
        """The head of a block, as a number, from its bytes in `file`. Called by a job with HEAD if it is overridden.

        Raises:
            EOFError: the stream has ended; `TruncatedBlock` if it did so inside a head.
        """
        data = read_exactly(file, self._head_size)
        if len(data) < self._head_size:
            raise TruncatedBlock(str(self), len(data), self._head_size) if data else EOFError(f"{self}: the stream has ended")
        return int.from_bytes(data, "big")

    def write_head(self, file: BinaryIO, head: Head | int) -> int:
        """Writes the head of a block to `file`, and returns its size in bytes. Called by a job with HEAD if it is overridden.

        Raises:
            OverflowError: the head has more bytes than HEAD_SIZE.
        """
        return file.write(head.to_bytes(self._head_size, "big"))

    def read(self, file: BinaryIO) -> Any:
        """One block from `file`, as `unpack` takes it. Blocks until it is there.

        Raises:
            EOFError: the stream has ended; `TruncatedBlock` if it did so inside a block.
            DefinitionError: BLOCK_SIZE is a name, and the class does not say how to read its blocks.
        """
        return self._read_block(file, "read")

    def read_wrapper(self, file: BinaryIO) -> bytes:
        """The bytes of one block that an executable wrote to `file`. Blocks until it is there.

        By default it calls `read` and returns its value. Where the next job could not read that again (it is not bytes, or `read` takes
        a length from the front that the value lacks), it returns the bytes that `read` took from `file`.

        Raises:
            EOFError: the stream has ended; `TruncatedBlock` if it did so inside a block.
            DefinitionError: BLOCK_SIZE is a name, and the class does not say how to find the end of a block; or what `read` took is
                not known, because it took it from the file's descriptor.
            Exception: whatever `read` raises.
        """
        if type(self).read is BasePipe.read:
            return self._read_block(file, "read_wrapper")
        refusal = (
            f"{self}: {type(self).__name__}.read reads from the file's descriptor, and its value is not the bytes of the block; "
            "override read_wrapper to return them"
        )
        recorder: Any = _Recorder(file, refusal)
        value = self.read(recorder)
        if isinstance(value, (bytes, bytearray, memoryview)) and self._reads_again(bytes(value)):
            return bytes(value)
        return bytes(recorder.taken)

    def _reads_again(self, block: bytes) -> bool:
        try:
            return bool(self.read(BlockFile(block)) == block)
        except BaseException:  # `read` is the user's; that it cannot read its own value is what is asked here
            return False

    def unpack(self, data: Any) -> Any:
        """What `read` gave, as `run` is to get it; here: unchanged."""
        return data

    def pack(self, data: Any) -> Any:
        """What `run` returned, as `write` takes it; here: unchanged."""
        return data

    def write(self, file: BinaryIO, data: Any) -> None:
        """Writes what `pack` gave to `file`, as one block."""
        file.write(data)

    def _read_block(self, file: BinaryIO, method: str) -> bytes:
        if isinstance(self.BLOCK_SIZE, str):
            raise DefinitionError(
                f"{self}: BLOCK_SIZE is the name {self.BLOCK_SIZE!r}, so {type(self).__name__} must override {method} to read one block"
            )
        data = read_exactly(file, self.BLOCK_SIZE)
        if len(data) < self.BLOCK_SIZE:
            raise TruncatedBlock(str(self), len(data), self.BLOCK_SIZE) if data else EOFError(f"{self}: the stream has ended")
        return data

    def __getstate__(self) -> dict[str, Any]:
        # a job is shipped alone, so its pipes must not drag the jobs at their other ends along
        return {name: value for name, value in self.__dict__.items() if name not in ("source", "destination")}

    def __reduce__(self) -> tuple[Any, ...]:
        return _blank, (type(self),), self.__getstate__()  # whatever a __new__ of the user's wants to have

    def __str__(self) -> str:
        return f"{type(self).__name__} {self.id}"

    __repr__ = __str__


def _blank(cls: type[BasePipe]) -> BasePipe:
    """A pipe without anything, for `pickle` and `copy` to fill."""
    pipe: BasePipe = object.__new__(cls)
    return pipe


def set_head_size(pipe: BasePipe, size: int) -> None:
    """Have a pipe read and write heads of `size` bytes. Its attribute has the name by which published pipes read it."""
    pipe._head_size = size
