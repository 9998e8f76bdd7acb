"""Values <-> the payloads of blocks, for one pipe.

A pipe that leaves `read` and `write` as FISSION has them takes the fast way: no file objects, and for pickles the big buffers
of a value (numpy arrays) stay out of the pickle. Any other pipe writes into and reads from a file in memory. Where an
executable is at the other end, a block's payload is exactly what `write` gives, because the executable reads it.
"""

from __future__ import annotations

import functools
import io
import pickle
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from fission.core.pipes import BasePipe, BytesPipe, JSONPipe, PicklePipe
from fission.errors import Stopped
from fission.ports import Lease

Encoder: TypeAlias = Callable[[Any], "bytes | list[Any]"]
Decoder: TypeAlias = Callable[[Any], Any]
ColumnDecoder: TypeAlias = "Callable[[list[Any]], Iterable[Any]]"
Refusal: TypeAlias = Callable[[BaseException], Exception]

#: Buffers of this many bytes and more travel beside the pickle, uncopied by it. From the issue "big blocks at memory speed".
OUT_OF_BAND_BYTES = 64 << 10
_FRAMEWORK = (BasePipe, PicklePipe, JSONPipe, BytesPipe)


def encoder(pipe: BasePipe, *, plain: bool = False, lend: Callable[[Any], Lease | None] | None = None) -> Encoder:
    """Return the function that turns a value into the payload of a block, or into [payload, buffer, ...], or [payload, lease, ...].

    It raises whatever the pipe's `pack` and `write` raise, and ValueError for a block of the wrong length.

    Args:
        pipe: which pipe.
        plain: an executable reads or writes the other end.
        lend: copies a big buffer into shared memory, or returns None; by default there is none.
    """
    pack = None if _same(pipe, "pack", BasePipe) else pipe.pack
    if _owner(pipe, "write") is PicklePipe and _owner(pipe, "read") is PicklePipe:
        return _pickler(pack, in_band=plain, lend=lend)
    if _owner(pipe, "write") in _FRAMEWORK and _owner(pipe, "read") in _FRAMEWORK:
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
    if _owner(pipe, "write") is PicklePipe and _owner(pipe, "read") is PicklePipe:
        return _unpickler(unpack, refusal)
    if _owner(pipe, "write") in _FRAMEWORK and _owner(pipe, "read") in _FRAMEWORK:
        return _guarded(unpack, refusal) if unpack else bytes
    read = pipe.read

    def decode(payload: Any) -> Any:
        value = read(io.BytesIO(payload))
        return unpack(value) if unpack else value

    return _guarded(decode, refusal)


def column_decoder(pipe: BasePipe, decode: Decoder) -> ColumnDecoder:
    """Return the function that turns the payloads of some compute blocks into values, ``decode`` being what `decoder` gave.

    Each is read at the latest when it is asked for; one that cannot be read raises then.
    """
    lazily = functools.partial(map, decode)
    if not (_owner(pipe, "write") is PicklePipe and _owner(pipe, "read") is PicklePipe and _same(pipe, "unpack", BasePipe)):
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
    pack, size = pipe.pack, pipe.BLOCK_SIZE

    def encode(value: Any) -> bytes:
        packed = pack(value)
        if not isinstance(packed, (bytes, bytearray, memoryview)):
            raise TypeError(f"pack must give bytes, it gave {type(packed).__name__}")
        packed = bytes(packed)
        if isinstance(size, int) and len(packed) != size:
            raise ValueError(f"a block must have {size} bytes (BLOCK_SIZE), this one has {len(packed)}")
        return packed

    return encode


def _file_encoder(pipe: BasePipe) -> Encoder:
    pack, write, size = pipe.pack, pipe.write, pipe.BLOCK_SIZE
    fixed = size if isinstance(size, int) and _owner(pipe, "read") in _FRAMEWORK else None

    def encode(value: Any) -> bytes:
        file = io.BytesIO()
        write(file, pack(value))
        packed = file.getvalue()
        if fixed is not None and len(packed) != fixed:
            raise ValueError(f"a block must have {fixed} bytes (BLOCK_SIZE), write gave {len(packed)}")
        return packed

    return encode
