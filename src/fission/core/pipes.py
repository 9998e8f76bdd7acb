"""The pipes that come with FISSION, the mix-ins that they are made of, and the one that makes any pipe optional."""

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

PICKLE_PROTOCOL = 5  # the first that can leave big buffers out of band

if TYPE_CHECKING:
    _PipeMixIn = BasePipe
else:
    _PipeMixIn = object  # beside any pipe class: `class Mine(PickleMixIn, BasePipe)`


class ReadPickleMixIn(_PipeMixIn):
    """The reading end of a `PicklePipe`. List it before the pipe's class."""

    BLOCK_SIZE = "PKL"

    def read(self, file: BinaryIO) -> Any:
        """The value of the next pickle. It runs what the pickle says: only for a `file` that is trusted.

        Raises:
            EOFError: the stream has ended.
            pickle.UnpicklingError: what came is no pickle.
        """
        return pickle.load(file)

    def read_wrapper(self, file: BinaryIO) -> bytes:
        """The bytes of the next pickle; nothing of it is executed.

        Raises:
            EOFError: the stream has ended; `TruncatedBlock` if it did so inside a pickle.
            ValueFitError: what came is no pickle.
        """
        return read_pickle(file, str(self)) if type(self).read is ReadPickleMixIn.read else super().read_wrapper(file)


class WritePickleMixIn(_PipeMixIn):
    """The writing end of a `PicklePipe`. List it before the pipe's class."""

    BLOCK_SIZE = "PKL"

    def write(self, file: BinaryIO, data: Any) -> None:
        """Writes `data` as one pickle.

        Raises:
            Exception: any that pickling raises; nothing is written then.
        """
        file.write(pickle.dumps(data, PICKLE_PROTOCOL))


class PickleMixIn(ReadPickleMixIn, WritePickleMixIn):
    """Both ends of a `PicklePipe`. List it before the pipe's class."""


class PicklePipe(PickleMixIn, BasePipe):
    """Takes any value that can be pickled; what comes out is equal to what went in."""


class ReadJSONMixIn(_PipeMixIn):
    """The reading end of a `JSONPipe`. List it before the pipe's class."""

    BLOCK_SIZE = "JSON"

    def read(self, file: BinaryIO) -> bytes:
        """One line with its line feed.

        Raises:
            EOFError: the stream has ended; `TruncatedBlock` if it did so inside a line.
        """
        line = file.readline()
        if line.endswith(b"\n"):
            return line
        # A line without its end may be half of a value that is itself valid JSON: 12 of 123.
        raise TruncatedBlock(str(self), len(line)) if line else EOFError(f"{self}: the stream has ended")

    def read_wrapper(self, file: BinaryIO) -> bytes:
        """As `read`."""
        return ReadJSONMixIn.read(self, file) if type(self).read is ReadJSONMixIn.read else super().read_wrapper(file)

    def unpack(self, data: bytes | str) -> Any:
        """The value of one line.

        Raises:
            ValueError: the line is not JSON.
        """
        import json  # only for those who use it: a job's process starts faster without

        return json.loads(data)


class WriteJSONMixIn(_PipeMixIn):
    """The writing end of a `JSONPipe`. List it before the pipe's class."""

    BLOCK_SIZE = "JSON"

    def pack(self, data: Any) -> bytes:
        """One line of JSON.

        Raises:
            ValueFitError: JSON has no word for a part of this value; the text says for which, and what to send instead.
        """
        from fission.core.json_values import encoded

        return encoded(str(self), data)

    def write(self, file: BinaryIO, data: Any) -> None:
        """Writes what `pack` gave."""
        file.write(data)


class JSONMixIn(ReadJSONMixIn, WriteJSONMixIn):
    """Both ends of a `JSONPipe`. List it before the pipe's class."""


class JSONPipe(JSONMixIn, BasePipe):
    """Takes what JSON can say: one line a block, UTF-8, ended by a line feed. For executables in any language.

    That is None, bool, int, finite float, str, and lists, tuples and dicts with keys of type str of these; numpy's numbers count as
    Python's. A tuple arrives as a list. Anything else is refused, among it NaN and infinities.
    """


class BytesPipe(BasePipe):
    """Takes bytes of one fixed length, unchanged: for executables, and for samples.

    Args:
        id: as for every pipe.
        block_size: bytes of one block, at least 1.
        block_count: how many blocks one call of `run` takes, at least 1.

    Raises:
        DefinitionError: a size or count is no int of at least 1, or differs from that of the pipe's other end.
    """

    def __init__(self, id: int, block_size: int, block_count: int = 1) -> None:
        super().__init__(id)
        sizes: dict[str, Any] = {"block_size": block_size, "block_count": block_count}
        for name, value in sizes.items():
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                current().report(Fault(f"{self}: {name} must be an int of at least 1, not {value!r}", where()))
            else:
                setattr(self, name.upper(), value)

    def pack(self, data: Any) -> bytes:
        """`data` as bytes.

        Raises:
            ValueFitError: `data` is not bytes-like, or not exactly as long as a block.
        """
        if type(data) is not bytes:
            from fission.core.buffers import bytes_of

            # a copy: a buffer that the job fills again must not change what was sent
            data = bytes_of(str(self), data, self.BLOCK_SIZE)
        if len(data) != self.BLOCK_SIZE:
            raise ValueFitError(f"{self} takes bytes of length {self.BLOCK_SIZE}, not of length {len(data)}")
        return bytes(data)


class OptionalMixIn(_PipeMixIn):
    """Makes a pipe optional: `run` never waits for it, and gets the default, or what came last. List it before the pipe's class.

    Class attributes, to be overridden:
        OPTIONAL_DEFAULT: what `run` gets while nothing has come; goes through `unpack` as if it had been read, but for None.
        OPTIONAL_STORE: True: a block is handed over again and again until the next comes; False: once, then the default.
        OPTIONAL_BUFFER_SIZE: how many blocks may wait; 0: no limit.
        OPTIONAL_DELETE_MODE: which one is deleted when too many wait, 'oldest' or 'newest'.
    """

    ASYNC = True
    OPTIONAL_DEFAULT: Any = None
    OPTIONAL_STORE: bool = True
    OPTIONAL_BUFFER_SIZE: int = 0
    OPTIONAL_DELETE_MODE: str = "oldest"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # for classes that call it by name: OptionalMixIn.__init__(self, id)
        super().__init__(*args, **kwargs)


class OptionalPicklePipe(OptionalMixIn, PicklePipe):
    """A `PicklePipe` that nobody waits for."""


class OptionalJSONPipe(OptionalMixIn, JSONPipe):
    """A `JSONPipe` that nobody waits for; OPTIONAL_DEFAULT is a line of JSON, as in ``'"+"'``."""


class OptionalBytesPipe(OptionalMixIn, BytesPipe):
    """A `BytesPipe` that nobody waits for."""
