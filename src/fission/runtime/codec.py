"""Values <-> the payloads of blocks, for one pipe.

A pipe that leaves `read`, `write` and `read_wrapper` as FISSION has them takes the fast way: no file objects, and for pickles the
big buffers of a value (numpy arrays) stay out of the pickle. Any other pipe writes into and reads from a file in memory. A
block's payload is then what `write` gives, or what a `read_wrapper` of the user's makes of that: it is what the other end reads.
"""

from __future__ import annotations

import functools
import pickle
import sys
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from fission.core.block_file import BlockFile
from fission.core.pipes import BasePipe, ReadJSONMixIn, ReadPickleMixIn, WriteJSONMixIn, WritePickleMixIn
from fission.errors import Stopped
from fission.ports import Lease

Encoder: TypeAlias = Callable[[Any], "bytes | list[Any]"]
Decoder: TypeAlias = Callable[[Any], Any]
ColumnDecoder: TypeAlias = "Callable[[list[Any]], Iterable[Any]]"
Refusal: TypeAlias = Callable[[BaseException], Exception]

#: Buffers of this many bytes and more travel beside the pickle, uncopied by it. From the issue "big blocks at memory speed".
OUT_OF_BAND_BYTES = 64 << 10
_READS_BYTES = (BasePipe, ReadJSONMixIn)  # whose `read` gives the block as it is
_WRITES_BYTES = (BasePipe, WriteJSONMixIn)
_FRAMES = (BasePipe, ReadJSONMixIn, ReadPickleMixIn)


def encoder(pipe: BasePipe, *, plain: bool = False, lend: Callable[[Any], Lease | None] | None = None) -> Encoder:
    """Return the function that turns a value into the payload of a block, or into [payload, buffer, ...], or [payload, lease, ...].

    It raises whatever the pipe's `pack` and `write` raise, and ValueError for a block of the wrong length.

    Args:
        pipe: which pipe.
        plain: an executable reads or writes the other end.
        lend: copies a big buffer into shared memory, or returns None; by default there is none.
    """
    pack = None if _same(pipe, "pack", BasePipe) else pipe.pack
    if _owner(pipe, "read_wrapper") in _FRAMES:
        if _pickles(pipe):
            return _pickler(pack, in_band=plain, lend=lend)
        if _owner(pipe, "write") in _WRITES_BYTES and _owner(pipe, "read") in _READS_BYTES:
            return _bytes_encoder(pipe)
    return _file_encoder(pipe)


def decoder(pipe: BasePipe, refusal: Refusal) -> Decoder:
    """Return the function that turns a payload into the value that `run` gets.

    Args:
        pipe: which pipe.
        refusal: makes what is raised of what the pipe's `read` and `unpack`, or the value's class, raise, of any kind. (Never that
            itself: a StopIteration would silently end the loop that decodes, a GeneratorExit the generator around it.)
    """
    unpack = None if _same(pipe, "unpack", BasePipe) else pipe.unpack
    if _pickles(pipe):
        return _unpickler(unpack, refusal)
    if _owner(pipe, "write") in _WRITES_BYTES and _owner(pipe, "read") in _READS_BYTES:
        return _guarded(unpack, refusal) if unpack else bytes
    read = _file_reader(pipe)
    return _guarded(lambda payload: unpack(read(payload)), refusal) if unpack else _guarded(read, refusal)


def column_decoder(pipe: BasePipe, decode: Decoder) -> ColumnDecoder:
    """Return the function that turns the payloads of some compute blocks into values, ``decode`` being what `decoder` gave.

    Each is read at the latest when it is asked for; one that cannot be read raises then.
    """
    lazily = functools.partial(map, decode)
    if not (_pickles(pipe) and _same(pipe, "unpack", BasePipe)):
        return lazily
    loads = pickle.loads

    def column_of(payloads: list[Any]) -> Iterable[Any]:
        # all at once is quicker by a call for each; not so for blocks with buffers, which are to be kept only while they must
        if type(payloads[0]) is list:
            return lazily(payloads)
        try:
            values = list(map(loads, payloads))
        except Stopped:
            raise
        except BaseException:  # the blocks before the one that cannot be read are still to be worked off
            return lazily(payloads)
        # a StopIteration that a value's class raises ends `map` in silence: the block must raise when its turn comes
        return values if len(values) == len(payloads) else lazily(payloads)

    return column_of


def _guarded(decode: Decoder, refusal: Refusal) -> Decoder:
    def guarded(payload: Any) -> Any:
        try:
            return decode(payload)
        except Stopped:
            raise
        except BaseException as why:
            raise refusal(why) from why

    return guarded


def _owner(pipe: BasePipe, method: str) -> type | None:
    return next((cls for cls in type(pipe).__mro__ if method in vars(cls)), None)


def _pickles(pipe: BasePipe) -> bool:
    return _owner(pipe, "write") is WritePickleMixIn and _owner(pipe, "read") is ReadPickleMixIn


def _same(pipe: BasePipe, method: str, owner: type) -> bool:
    return _owner(pipe, method) is owner


def _pickler(pack: Callable[[Any], Any] | None, *, in_band: bool, lend: Callable[[Any], Lease | None] | None) -> Encoder:
    dumps = pickle.dumps
    if in_band:
        return lambda value: dumps(pack(value) if pack else value, 5)
    views: list[memoryview] = []

    def collect(buffer: pickle.PickleBuffer) -> bool:
        try:
            view = buffer.raw()
        except BufferError:
            return True  # not contiguous: only the pickle itself can hold it
        if view.nbytes < OUT_OF_BAND_BYTES:
            return True
        views.append(view)
        return False

    def encode(value: Any) -> bytes | list[Any]:
        try:
            payload = dumps(value, 5, buffer_callback=collect)
            if not views:  # nearly always: nothing else is done then
                return payload
            return [payload, *_kept(views, lend)]
        finally:
            if views:
                views.clear()

    return encode if pack is None else lambda value: encode(pack(value))


def _kept(views: list[memoryview], lend: Callable[[Any], Lease | None] | None) -> list[Any]:
    """Copies of buffers: the block waits in the window, and the job may go on writing into its arrays. All shared, or none."""
    if lend is not None:
        leases = []
        for view in views:
            lease = lend(view)
            if lease is None:
                break
            leases.append(lease)
        else:
            return leases
    return [view.tobytes() for view in views]


def _unpickler(unpack: Callable[[Any], Any] | None, refusal: Refusal) -> Decoder:
    loads = pickle.loads

    def decode(payload: Any) -> Any:
        try:  # here and not around it: one call less for each block of the commonest pipe
            if type(payload) is not list:
                return loads(payload)
            return loads(payload[0], buffers=[memoryview(buffer).toreadonly() for buffer in payload[1:]])
        except Stopped:
            raise
        except BaseException as why:
            raise refusal(why) from why

    if unpack is None:
        return decode
    unpacked = _guarded(unpack, refusal)
    return lambda payload: unpacked(decode(payload))


def _bytes_encoder(pipe: BasePipe) -> Encoder:
    pack, size = pipe.pack, _length(pipe)

    def encode(value: Any) -> bytes:
        packed = pack(value)
        if not isinstance(packed, (bytes, bytearray, memoryview)):
            raise TypeError(f"pack must give bytes, it gave {type(packed).__name__}")
        packed = bytes(packed)
        if size is not None and len(packed) != size:
            raise ValueError(f"a block must have {size} bytes (BLOCK_SIZE), this one has {len(packed)}")
        return packed

    return encode


def _length(pipe: BasePipe) -> int | None:
    """Bytes that the other end takes as one block; None where that is not BLOCK_SIZE."""
    fixed = isinstance(pipe.BLOCK_SIZE, int) and _owner(pipe, "read") is BasePipe and _owner(pipe, "write") is not WriteJSONMixIn
    return int(pipe.BLOCK_SIZE) if fixed else None


def _file_encoder(pipe: BasePipe) -> Encoder:
    pack, write, size = pipe.pack, pipe.write, _length(pipe)
    framed = None if _owner(pipe, "read_wrapper") in _FRAMES else _framed(pipe)
    file = BlockFile()  # the same for all blocks: `write` may keep what it has made of the file

    def encode(value: Any) -> bytes:
        file.take()  # a `write` that raised may have left something
        write(file, pack(value))
        packed = file.take()
        if framed is not None:
            packed = framed(packed)
        if size is not None and len(packed) != size:
            raise ValueError(f"a block must have {size} bytes (BLOCK_SIZE), write gave {len(packed)}")
        return packed

    return encode


def _framed(pipe: BasePipe) -> Callable[[bytes], bytes]:
    """Return the function that has a `read_wrapper` of the user's make a block of what `write` gave."""
    read_wrapper, file = pipe.read_wrapper, BlockFile()

    def framed(written: bytes) -> bytes:
        file.fill(written)
        block = bytes(read_wrapper(file))
        if not block:
            raise ValueError(f"read_wrapper found no block in the {len(written)} bytes that write gave")
        return block

    return framed


def _file_reader(pipe: BasePipe) -> Callable[[Any], Any]:
    """Return the function that has `read` read a payload. A new file for each, for a value may go on reading from its file.

    Except for a pipe that has kept its first file, or something that reads from it: it gets all blocks through that.
    """
    read = pipe.read
    kept: BlockFile | None = None
    first = True

    def read_payload(payload: Any) -> Any:
        nonlocal kept, first
        if kept is not None:
            kept.fill(payload)
            return read(kept)
        file = BlockFile(payload)
        if not first:
            return read(file)
        first, before, references = False, dict(vars(pipe)), sys.getrefcount(file)
        value = read(file)
        if sys.getrefcount(file) > references and _changed(before, vars(pipe)):
            kept = file
        return value

    return read_payload


def _changed(before: dict[str, Any], after: dict[str, Any]) -> bool:
    return any(name not in before or before[name] is not value for name, value in after.items())
