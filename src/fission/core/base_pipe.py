"""The base class of every pipe."""

from __future__ import annotations

from abc import ABCMeta
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

from fission.core.block_file import BlockFile
from fission.core.registry import Registry, current, in_parentheses, where
from fission.errors import DefinitionError, Fault

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fission.core.base_job import BaseJob
    from fission.core.head import Head

MAX_PIPE_ID = 2**32 - 1  # 32 bits, unsigned, in the wire format

_PIECE = 1 << 20  # bytes read from a file at once: a false length must not allocate memory


class TruncatedBlock(EOFError):
    """A stream ended inside a block.

    Attributes:
        received: bytes of the block that arrived.
        expected: bytes of the whole block; None if only its end would determine them.
    """

    def __init__(self, pipe: str, received: int, expected: int | None = None) -> None:
        self.received = received
        self.expected = expected
        whole = "" if expected is None else f" of {expected}"
        super().__init__(f"{pipe}: the stream ended inside a block, after {received}{whole} bytes")


def read_exactly(file: BinaryIO, size: int) -> bytes:
    """Read `size` bytes; fewer only if the stream ends.

    Memory use grows with the data, not with `size`.
    """
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
    """A file that records what is read from it."""

    def __init__(self, file: BinaryIO, refusal: str) -> None:
        self._file = file
        self._refusal = refusal
        self._described = False  # whether its descriptor was requested: reads from that are not recorded
        self._taken = bytearray()

    @property
    def taken(self) -> bytes:
        """The bytes read so far. Raises DefinitionError if they are unknown."""
        if self._described:
            raise DefinitionError(self._refusal)
        return bytes(self._taken)

    def fileno(self) -> int:
        self._described = True
        return self._file.fileno()

    def peek(self, size: int = 0) -> bytes:
        return bytes(self._file.peek(size))  # type: ignore[attr-defined]

    def read(self, size: int | None = -1) -> bytes:
        data = self._file.read(-1 if size is None else size)
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
        return self

    def __next__(self) -> bytes:
        if line := self.readline():
            return line
        raise StopIteration


def _is_pipe_id(value: Any) -> bool:
    return type(value) is int and 1 <= value <= MAX_PIPE_ID


class PipeType(ABCMeta):
    """Returns the existing pipe when a pipe class is called with a known id."""

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
            registry.report(
                Fault(f"the id of a {cls.__name__} must be an int from 1 to {MAX_PIPE_ID}, but is {pipe.id!r}", pipe.created_at)
            )
            pipe.id = 0
        elif pipe.id in registry.pipes:  # a class with its own __init__, whose first argument is not the id
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
                f"pipe {known.id} is {_a(kind.__name__)}{in_parentheses(known.created_at)} and {_a(cls.__name__)}{in_parentheses(place)}; "
                "a pipe has one class at both ends: give one of them another id, or both the same class",
                place,
            )
        )
        other: BasePipe = type.__call__(cls, *args, **kwargs)  # not registered, so that the rest of the network can be checked
        other.created_at = place
        return other
    if len(args) + len(kwargs) > 1:
        for name, first, second in _differences(cls, registry.pipe_arguments[known.id], (args, kwargs)):
            place = where()
            registry.report(
                Fault(
                    f"{known} has {name} {first!r}{in_parentheses(known.created_at)} and {name} {second!r}{in_parentheses(place)}; "
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
    """A one-way connection from one job to another, identified by its id at both ends.

    Calling the class again with the same id returns the same object; `__init__` does not run again.

    Class attributes, for subclasses to override:
        BLOCK_SIZE: bytes of one block, at least 1; or a name (str) for a protocol whose blocks have
            no fixed length.
        BLOCK_COUNT: number of blocks that one call of the destination's `run` takes; above 1, `run`
            gets a list.
        ASYNC: whether the destination never waits for this pipe.
        SOURCE_JOBS, DESTINATION_JOBS: job classes allowed at that end; empty: any.
        OPTIONAL_DEFAULT, OPTIONAL_STORE, OPTIONAL_BUFFER_SIZE, OPTIONAL_DELETE_MODE: for ASYNC
            pipes; see `OptionalMixIn`.

    A pipe may have a method `get_dummy()`, which returns the bytes that replace a lost block.

    Args:
        id: an int from 1 to 4294967295.

    Raises:
        DefinitionError: `id` is not such an int, or the pipe with this id has another class or
            other arguments.
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
        # accepts the arguments of __init__: a class that overrides __new__ passes them on
        return super().__new__(cls)

    def __init__(self, id: int) -> None:
        self.id = id

    def complete(self) -> bool:
        """Return whether the pipe has both ends."""
        return self.source is not None and self.destination is not None

    def read_head(self, file: BinaryIO) -> int:
        """Read the head of a block from `file` and return it as a number.

        Called for jobs with HEAD, if overridden.

        Raises:
            EOFError: the stream has ended; `TruncatedBlock` if inside a head.
        """
        data = read_exactly(file, self._head_size)
        if len(data) < self._head_size:
            raise TruncatedBlock(str(self), len(data), self._head_size) if data else EOFError(f"{self}: the stream has ended")
        return int.from_bytes(data, "big")

    def write_head(self, file: BinaryIO, head: Head | int) -> int:
        """Write the head of a block to `file` and return its size in bytes.

        Called for jobs with HEAD, if overridden.

        Raises:
            OverflowError: the head has more bytes than HEAD_SIZE.
        """
        return file.write(head.to_bytes(self._head_size, "big"))

    def read(self, file: BinaryIO) -> Any:
        """Read one block from `file` and return it for `unpack`. Blocks until it has arrived.

        Raises:
            EOFError: the stream has ended; `TruncatedBlock` if inside a block.
            DefinitionError: BLOCK_SIZE is a name, and the class does not override `read`.
        """
        return self._read_block(file, "read")

    def read_wrapper(self, file: BinaryIO) -> bytes:
        """Return the bytes of one block that an executable wrote to `file`.

        Blocks until it has arrived.

        By default it calls `read` and returns its value. If the next job could not read that value
        again (it is not bytes, or lacks the length prefix that `read` expects), it returns the
        bytes that `read` consumed.

        Raises:
            EOFError: the stream has ended; `TruncatedBlock` if inside a block.
            DefinitionError: BLOCK_SIZE is a name, and the class does not find the end of a block;
                or the bytes that `read` consumed are unknown, because it used the file's
                descriptor.
            Exception: any exception of `read`.
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
        except BaseException:  # `read` is user code; failing to read its own value is a valid answer here
            return False

    def unpack(self, data: Any) -> Any:
        """Turn the result of `read` into the argument of `run`; by default returns it unchanged."""
        return data

    def pack(self, data: Any) -> Any:
        """Turn the return value of `run` into the argument of `write`; by default returns it
        unchanged.
        """
        return data

    def write(self, file: BinaryIO, data: Any) -> None:
        """Write the result of `pack` to `file`, as one block."""
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
        # a job is sent without its neighbours, so its pipes must not contain the jobs at their other ends
        return {name: value for name, value in self.__dict__.items() if name not in ("source", "destination")}

    def __reduce__(self) -> tuple[Any, ...]:
        return _blank, (type(self),), self.__getstate__()  # independent of the arguments of a user's __new__

    def __str__(self) -> str:
        return f"{type(self).__name__} {self.id}"

    __repr__ = __str__


def _blank(cls: type[BasePipe]) -> BasePipe:
    """Return an empty pipe, for `pickle` and `copy` to fill."""
    pipe: BasePipe = object.__new__(cls)
    return pipe


def set_head_size(pipe: BasePipe, size: int) -> None:
    """Have a pipe read and write heads of `size` bytes.

    Its attribute has the name by which published pipes read it.
    """
    pipe._head_size = size
