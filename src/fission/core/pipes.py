"""The predefined pipes, their mix-ins, and the mix-in that makes any pipe optional."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any, BinaryIO

from fission.core.base_pipe import BasePipe, TruncatedBlock
from fission.core.pickle_frames import read_pickle
from fission.core.registry import current, where
from fission.errors import Fault, ValueFitError

__all__ = [
    "BasePipe",
    "BytesPipe",
    "JSONMixIn",
    "JSONPipe",
    "OptionalBytesPipe",
    "OptionalJSONPipe",
    "OptionalMixIn",
    "OptionalPicklePipe",
    "PickleMixIn",
    "PicklePipe",
    "ReadJSONMixIn",
    "ReadPickleMixIn",
    "WriteJSONMixIn",
    "WritePickleMixIn",
]

PICKLE_PROTOCOL = 5  # the first one with out-of-band buffers

if TYPE_CHECKING:
    _PipeMixIn = BasePipe
else:
    _PipeMixIn = object  # combined with any pipe class: `class Mine(PickleMixIn, BasePipe)`


class ReadPickleMixIn(_PipeMixIn):
    """The reading end of a `PicklePipe`. List it before the pipe's class."""

    BLOCK_SIZE = "PKL"

    def read(self, file: BinaryIO) -> Any:
        """Read the next pickle and return its value.

        Executes the pickle: use only with a trusted `file`.

        Raises:
            EOFError: the stream has ended.
            pickle.UnpicklingError: the data is not a pickle.
        """
        return pickle.load(file)

    def read_wrapper(self, file: BinaryIO) -> bytes:
        """Return the bytes of the next pickle, without executing it.

        Raises:
            EOFError: the stream has ended; `TruncatedBlock` if inside a pickle.
            ValueFitError: the data is not a pickle.
        """
        return read_pickle(file, str(self)) if type(self).read is ReadPickleMixIn.read else super().read_wrapper(file)


class WritePickleMixIn(_PipeMixIn):
    """The writing end of a `PicklePipe`. List it before the pipe's class."""

    BLOCK_SIZE = "PKL"

    def write(self, file: BinaryIO, data: Any) -> None:
        """Write `data` as one pickle.

        Raises:
            Exception: any exception of pickling; nothing is written then.
        """
        file.write(pickle.dumps(data, PICKLE_PROTOCOL))


class PickleMixIn(ReadPickleMixIn, WritePickleMixIn):
    """Both ends of a `PicklePipe`. List it before the pipe's class."""


class PicklePipe(PickleMixIn, BasePipe):
    """Takes any picklable value; what arrives is equal to what was sent."""


class ReadJSONMixIn(_PipeMixIn):
    """The reading end of a `JSONPipe`. List it before the pipe's class."""

    BLOCK_SIZE = "JSON"

    def read(self, file: BinaryIO) -> bytes:
        """Read one line with its line feed.

        Raises:
            EOFError: the stream has ended; `TruncatedBlock` if inside a line.
        """
        line = file.readline()
        if line.endswith(b"\n"):
            return line
        # A line without its end may be the start of a value that is valid JSON by itself: 12 of 123.
        raise TruncatedBlock(str(self), len(line)) if line else EOFError(f"{self}: the stream has ended")

    def read_wrapper(self, file: BinaryIO) -> bytes:
        """As `read`."""
        return ReadJSONMixIn.read(self, file) if type(self).read is ReadJSONMixIn.read else super().read_wrapper(file)

    def unpack(self, data: bytes | str) -> Any:
        """Return the value of one line.

        Raises:
            ValueError: the line is not JSON.
        """
        import json  # not at the top: a job's process that does not use it starts faster

        return json.loads(data)


class WriteJSONMixIn(_PipeMixIn):
    """The writing end of a `JSONPipe`. List it before the pipe's class."""

    BLOCK_SIZE = "JSON"

    def pack(self, data: Any) -> bytes:
        """Return a value as one line of JSON.

        Raises:
            ValueFitError: JSON cannot express a part of this value; the message names the part and
                an alternative.
        """
        from fission.core.json_values import encoded

        return encoded(str(self), data)

    def write(self, file: BinaryIO, data: Any) -> None:
        """Write the result of `pack`."""
        file.write(data)


class JSONMixIn(ReadJSONMixIn, WriteJSONMixIn):
    """Both ends of a `JSONPipe`. List it before the pipe's class."""


class JSONPipe(JSONMixIn, BasePipe):
    """Takes any value that JSON can express: one line for each block, UTF-8, ended by a line feed.

    For executables in any language. Takes None, bool, int, finite float, str, and lists, tuples and
    dicts (with keys of type str) of these; numpy numbers count as Python numbers. A tuple arrives
    as a list. All other values are refused, including NaN and infinities.
    """


class BytesPipe(BasePipe):
    """Takes bytes of one fixed length, unchanged: for executables, and for samples.

    Class attributes, for subclasses to override:
        VIEW: whether `unpack`, and with it `run`, gets a read-only memoryview instead of bytes. A
            block of 64 KiB or more from a Python job on the same machine is then not copied.

    Args:
        id: as for every pipe.
        block_size: bytes of one block, at least 1.
        block_count: number of blocks that one call of `run` takes, at least 1.

    Raises:
        DefinitionError: a size or count is not an int of at least 1, or differs at the other end.
    """

    VIEW: bool = False

    def __init__(self, id: int, block_size: int, block_count: int = 1) -> None:
        super().__init__(id)
        sizes: dict[str, Any] = {"block_size": block_size, "block_count": block_count}
        for name, value in sizes.items():
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                current().report(Fault(f"{self}: {name} must be an int of at least 1, but is {value!r}", where()))
            else:
                setattr(self, name.upper(), value)

    def pack(self, data: Any) -> bytes:
        """Return `data` as bytes.

        Raises:
            ValueFitError: `data` is not bytes-like, or not exactly as long as a block.
        """
        if type(data) is not bytes:
            from fission.core.buffers import bytes_of

            # a copy, because the job may refill its buffer while the block is under way
            data = bytes_of(str(self), data, self.BLOCK_SIZE)
        if len(data) != self.BLOCK_SIZE:
            raise ValueFitError(f"{self} takes bytes of length {self.BLOCK_SIZE}, not of length {len(data)}")
        return bytes(data)


class OptionalMixIn(_PipeMixIn):
    """Makes a pipe optional: `run` never waits for it, and gets the default or the last block.

    List it first.

    Class attributes, for subclasses to override:
        OPTIONAL_DEFAULT: the value until a block arrives; passes through `unpack` as if it had been
            read, unless it is None.
        OPTIONAL_STORE: True: `run` gets a block again until the next one arrives; False: it gets it
            once, then the default.
        OPTIONAL_BUFFER_SIZE: number of blocks that may wait; 0: no limit.
        OPTIONAL_DELETE_MODE: the block to delete when too many wait, 'oldest' or 'newest'.
    """

    ASYNC = True
    OPTIONAL_DEFAULT: Any = None
    OPTIONAL_STORE: bool = True
    OPTIONAL_BUFFER_SIZE: int = 0
    OPTIONAL_DELETE_MODE: str = "oldest"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # for classes that call it explicitly: OptionalMixIn.__init__(self, id)
        super().__init__(*args, **kwargs)


class OptionalPicklePipe(OptionalMixIn, PicklePipe):
    """A `PicklePipe` for which `run` does not wait."""


class OptionalJSONPipe(OptionalMixIn, JSONPipe):
    """A `JSONPipe` for which `run` does not wait; OPTIONAL_DEFAULT is a line of JSON, as in
    ``'"+"'``.
    """


class OptionalBytesPipe(OptionalMixIn, BytesPipe):
    """A `BytesPipe` for which `run` does not wait."""
