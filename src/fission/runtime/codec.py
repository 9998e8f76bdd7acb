"""Conversion between values and the payloads of blocks, for one pipe.

A pipe that does not override `read`, `write` and `read_wrapper` takes the fast path: it needs no
file objects, and the large buffers of a pickled value (numpy arrays) stay out of the pickle. Any
other pipe writes to and reads from a file in memory. The payload of a block is then the output of
`write`, or the result of the user's `read_wrapper` on that output: it is what the other end reads.

A large payload of any pipe between Python jobs moves to shared memory as a whole: [b"", lease]
arrives as [b"", memory].
"""

from __future__ import annotations

import contextlib
import functools
import pickle
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

from fission.core.block_file import BlockFile
from fission.core.buffers import contiguous
from fission.core.new_arrays import give_away
from fission.core.pipes import BasePipe, BytesPipe, ReadJSONMixIn, ReadPickleMixIn, WriteJSONMixIn, WritePickleMixIn
from fission.errors import Stopped
from fission.ports import Lease
from fission.protocol.joined import take_column
from fission.protocol.pacing import COALESCE_BLOCKS, COALESCE_BYTES

Encoder: TypeAlias = Callable[[Any], "bytes | list[Any]"]
Decoder: TypeAlias = Callable[[Any], Any]
ColumnDecoder: TypeAlias = "Callable[[list[Any]], Iterable[Any]]"
Refusal: TypeAlias = Callable[[BaseException], Exception]

#: Buffers of at least this many bytes travel beside the pickle, which does not copy them.
#: Arbitrary.
OUT_OF_BAND_BYTES = 64 << 10
#: Returned by `frozen` for a value that it cannot freeze.
NOT_FROZEN: Any = object()
#: Largest value that is frozen. Arbitrary: with it a full message of values is as large as one of payloads may be.
FROZEN_BYTES = COALESCE_BYTES // COALESCE_BLOCKS
_FROZEN_ITEMS = 4  # measured: for more, a pickle costs less than a look at each
_ITEM_BYTES = FROZEN_BYTES // _FROZEN_ITEMS
_LARGEST_INT = 1 << 63  # arbitrary
_NUMBERS = frozenset({float, bool, complex, type(None)})
_TEXTS = frozenset({bytes, str})
#: Payloads of at least this many bytes, of which a consumer makes copies, move to shared memory. Measured: at 64 KiB a
#: lease costs as much as the copies into and out of a socket.
WHOLE_BYTES = 256 << 10
_READS_BYTES = (BasePipe, ReadJSONMixIn)  # their `read` returns the block unchanged
_WRITES_BYTES = (BasePipe, WriteJSONMixIn)
_FRAMES = (BasePipe, ReadJSONMixIn, ReadPickleMixIn)


def encoder(pipe: BasePipe, *, plain: bool = False, lend: Callable[[Any], Lease | None] | None = None) -> Encoder:
    """Return the function that turns a value into the payload of a block.

    The function returns the payload, [payload, buffer, ...] or [payload, lease, ...]. It raises any
    exception of the pipe's `pack` and `write`, and ValueError for a block of the wrong length.

    Args:
        pipe: pipe that carries the blocks.
        plain: whether an executable reads or writes the other end.
        lend: function that copies a large buffer into shared memory, or returns None; by default
            there is no shared memory.
    """
    pack = None if _same(pipe, "pack", BasePipe) else pipe.pack
    if _owner(pipe, "read_wrapper") in _FRAMES:
        if _pickles(pipe):
            return _pickler(pack, in_band=plain, lend=lend)
        if _owner(pipe, "write") in _WRITES_BYTES and _owner(pipe, "read") in _READS_BYTES:
            return _bytes_encoder(pipe, None if plain and not packs(pipe) else lend, views=plain or _takes_views(pipe))
    return _lending(_file_encoder(pipe), None if plain else lend)


def freezer(pipe: BasePipe, *, plain: bool = False) -> Callable[[Any], Any] | None:
    """Return the function that freezes values which may be put instead of payloads: `frozen`.

    Returns None if the pipe takes only payloads.

    Args:
        pipe: as in `encoder`.
        plain: as in `encoder`.
    """
    usual = _pickles(pipe) and _owner(pipe, "read_wrapper") in _FRAMES and _same(pipe, "pack", BasePipe)
    return frozen if usual and not (plain or pipe.ASYNC) else None


def frozen(value: Any) -> Any:
    """Return what a small plain value is now, for encoding it later; `NOT_FROZEN` for any other.

    A value is plain if its pickle has nothing but numbers, text and bytes of exactly the built-in
    types, or one list of such. A list is copied, because the job may change it.
    """
    kind = type(value)
    if kind is list:
        if len(value) > _FROZEN_ITEMS:
            return NOT_FROZEN
        value = value[:]  # before the checks: another thread may change it
        for item in value:
            kind = type(item)
            if kind in _NUMBERS:
                continue
            if kind in _TEXTS:
                if len(item) > _ITEM_BYTES:
                    return NOT_FROZEN
            elif kind is not int or not -_LARGEST_INT < item < _LARGEST_INT:
                return NOT_FROZEN
        return value
    if kind in _NUMBERS or (kind is int and -_LARGEST_INT < value < _LARGEST_INT):
        return value
    return value if kind in _TEXTS and len(value) <= FROZEN_BYTES else NOT_FROZEN


def packs(pipe: BasePipe) -> bool:
    """Whether all blocks of a pipe have one length and are what `run` gives and gets: bytes.

    They may then be packed (`fission.protocol.packed`), but not on ASYNC pipes, whose blocks are kept
    one by one.
    """
    plain = _owner(pipe, "read_wrapper") in _FRAMES and _same(pipe, "read", BasePipe) and _same(pipe, "write", BasePipe)
    return plain and isinstance(pipe.BLOCK_SIZE, int) and not pipe.ASYNC


def decoder(pipe: BasePipe, refusal: Refusal) -> Decoder:
    """Return the function that turns a payload into the value that `run` gets.

    Args:
        pipe: pipe that carries the blocks.
        refusal: function that makes the exception to raise from any exception of the pipe's `read`
            and `unpack`, or of the value's class. The original must not be raised: a StopIteration
            would silently end the decoding loop, a GeneratorExit the generator around it.
    """
    unpack = None if _same(pipe, "unpack", BasePipe) else pipe.unpack
    if _pickles(pipe):
        return _unpickler(unpack, refusal)
    if _owner(pipe, "write") in _WRITES_BYTES and _owner(pipe, "read") in _READS_BYTES:
        taken = block_view if _takes_views(pipe) else block_bytes
        return _guarded(lambda payload: unpack(taken(payload)), refusal) if unpack else taken
    read = _file_reader(pipe)
    return _guarded(lambda payload: unpack(read(payload)), refusal) if unpack else _guarded(read, refusal)


def column_decoder(pipe: BasePipe, decode: Decoder) -> ColumnDecoder:
    """Return the function that turns the payloads of several compute blocks into values.

    Each payload is decoded when its value is asked for, or earlier. A payload that cannot be
    decoded raises when its value is asked for.

    Args:
        pipe: pipe that carries the blocks.
        decode: function that `decoder` returned for the pipe.
    """
    lazily = functools.partial(map, decode)
    if decode is block_bytes:
        return lambda payloads: _bytes_column(payloads) or lazily(payloads)
    if not (_pickles(pipe) and _same(pipe, "unpack", BasePipe)):
        return lazily
    loads = pickle.loads

    def column_of(payloads: list[Any]) -> Iterable[Any]:
        # decoding all at once saves a call for each block; blocks with buffers are decoded lazily, to free the buffers early
        kind = type(payloads[0])
        if kind is list:
            return lazily(payloads)
        try:
            if kind is tuple:
                run = take_column(payloads)
                return lazily(payloads) if run is None else run
            values = list(map(loads, payloads))
        except Stopped:
            raise
        except BaseException:  # the blocks before the unreadable one must still be processed
            return lazily(payloads)
        # a StopIteration raised by a value's class ends `map` silently: the block must raise when its turn comes
        return values if len(values) == len(payloads) else lazily(payloads)

    return column_of


def _bytes_column(payloads: list[Any]) -> Sequence[Any] | None:
    """Return what `run` gets for a column, if that is the blocks as they arrived or a packed run; else None."""
    if type(payloads[0]) is tuple:
        return take_column(payloads)
    return payloads if set(map(type, payloads)) == {bytes} else None


def block_bytes(payload: Any) -> bytes:
    """Return the bytes of a block of a pipe that does not change them, however it arrived."""
    if type(payload) is tuple:
        return payload[0].take(payload[1])  # type: ignore[no-any-return]
    return bytes(payload[1] if type(payload) is list else payload)


def block_view(payload: Any) -> memoryview:
    """Do as `block_bytes`, without a copy: return the memory itself, read-only."""
    if type(payload) is tuple:
        return payload[0].view(payload[1])  # type: ignore[no-any-return]
    return memoryview(payload[1] if type(payload) is list else payload).toreadonly()


def _lending(encode: Callable[[Any], bytes], lend: Callable[[Any], Lease | None] | None) -> Encoder:
    """Return an encoder whose large payloads are in shared memory, if there is room."""
    if lend is None:
        return encode

    def encode_and_lend(value: Any) -> bytes | list[Any]:
        payload = encode(value)
        return payload if len(payload) < WHOLE_BYTES else _lent(payload, lend)

    return encode_and_lend


def _lent(payload: bytes, lend: Callable[[Any], Lease | None]) -> bytes | list[Any]:
    lease = lend(memoryview(payload))
    return payload if lease is None else [b"", lease]


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


def _takes_views(pipe: BasePipe) -> bool:
    return isinstance(pipe, BytesPipe) and pipe.VIEW


def _same(pipe: BasePipe, method: str, owner: type) -> bool:
    return _owner(pipe, method) is owner


def _pickler(pack: Callable[[Any], Any] | None, *, in_band: bool, lend: Callable[[Any], Lease | None] | None) -> Encoder:
    dumps = pickle.dumps
    if in_band:
        return lambda value: dumps(pack(value) if pack else value, 5, buffer_callback=_in_band)
    views: list[memoryview] = []

    def collect(buffer: pickle.PickleBuffer) -> bool:
        try:
            view = buffer.raw()
        except BufferError:
            return True  # not contiguous: only the pickle itself can contain it
        give_away(view)
        if view.nbytes < OUT_OF_BAND_BYTES:
            return True
        views.append(view)
        return False

    def encode(value: Any) -> bytes | list[Any]:
        try:
            payload = dumps(value, 5, buffer_callback=collect)
            if not views:  # the usual case
                return payload if lend is None or len(payload) < WHOLE_BYTES else _lent(payload, lend)
            return [payload, *_kept(views, lend)]
        finally:
            if views:
                views.clear()

    return encode if pack is None else lambda value: encode(pack(value))


def _in_band(buffer: pickle.PickleBuffer) -> bool:
    with contextlib.suppress(BufferError):  # not contiguous
        give_away(buffer.raw())
    return True


def _kept(views: list[memoryview], lend: Callable[[Any], Lease | None] | None) -> list[Any]:
    """Copy buffers, because the block waits in the window while the job may write to its arrays.

    Either all copies are in shared memory, or none.
    """
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
        try:  # inside, instead of using `_guarded`: saves a call for each block of the most frequent kind of pipe
            if type(payload) is bytes:
                return loads(payload)
            if type(payload) is tuple:  # joined with others
                return payload[0].take(payload[1])
            if type(payload) is not list:
                return loads(payload)
            if not payload[0]:
                return loads(payload[1])
            return loads(payload[0], buffers=[memoryview(buffer).toreadonly() for buffer in payload[1:]])
        except Stopped:
            raise
        except BaseException as why:
            raise refusal(why) from why

    if unpack is None:
        return decode
    unpacked = _guarded(unpack, refusal)
    return lambda payload: unpacked(decode(payload))


def _bytes_encoder(pipe: BasePipe, lend: Callable[[Any], Lease | None] | None, *, views: bool) -> Encoder:
    pack, size, packs_buffers = pipe.pack, _length(pipe), _same(pipe, "pack", BytesPipe)
    as_it_is = size if packs_buffers or _same(pipe, "pack", BasePipe) else None

    def encode(value: Any) -> bytes:
        if type(value) is bytes and len(value) == as_it_is:  # for speed: the code below gives the same result
            return value
        packed = pack(value)
        if packs_buffers and packed is not value and (view := contiguous(value)) is not None:
            give_away(view)
        if not isinstance(packed, (bytes, bytearray, memoryview)):
            raise TypeError(f"pack must give bytes, it gave {type(packed).__name__}")
        packed = bytes(packed)
        if size is not None and len(packed) != size:
            raise ValueError(f"a block must have {size} bytes (BLOCK_SIZE), this one has {len(packed)}")
        return packed

    threshold = OUT_OF_BAND_BYTES if views else WHOLE_BYTES  # a program is written the memory itself
    if size is not None and size < threshold:
        return encode
    if lend is None or size is None or not packs_buffers:
        return _lending(encode, lend)

    def encode_large(value: Any) -> bytes | list[Any]:
        view = contiguous(value)
        if view is None or view.nbytes != size:
            return _lent(encode(value), lend)
        lease = lend(view)  # the buffer itself, not the copy that `pack` makes of it
        return encode(value) if lease is None else [b"", lease]

    return encode_large


def _length(pipe: BasePipe) -> int | None:
    """Return the bytes that the other end reads as one block; None if they are not BLOCK_SIZE."""
    fixed = isinstance(pipe.BLOCK_SIZE, int) and _owner(pipe, "read") is BasePipe and _owner(pipe, "write") is not WriteJSONMixIn
    return int(pipe.BLOCK_SIZE) if fixed else None


def _file_encoder(pipe: BasePipe) -> Callable[[Any], bytes]:
    pack, write, size = pipe.pack, pipe.write, _length(pipe)
    framed = None if _owner(pipe, "read_wrapper") in _FRAMES else _framed(pipe)
    file = BlockFile()  # the same for all blocks: `write` may keep an object that it has made from the file

    def encode(value: Any) -> bytes:
        file.take()  # discard the remains of a `write` that raised
        write(file, pack(value))
        packed = file.take()
        if framed is not None:
            packed = framed(packed)
        if size is not None and len(packed) != size:
            raise ValueError(f"a block must have {size} bytes (BLOCK_SIZE), write gave {len(packed)}")
        return packed

    return encode


def _framed(pipe: BasePipe) -> Callable[[bytes], bytes]:
    """Return the function that applies the user's `read_wrapper` to the output of `write`."""
    read_wrapper, file = pipe.read_wrapper, BlockFile()

    def framed(written: bytes) -> bytes:
        file.fill(written)
        block = bytes(read_wrapper(file))
        if not block:
            raise ValueError(f"read_wrapper found no block in the {len(written)} bytes that write gave")
        return block

    return framed


def _file_reader(pipe: BasePipe) -> Callable[[Any], Any]:
    """Return the function that has `read` read a payload.

    Each payload has a new file, because a value may continue to read from its file. A pipe that has
    kept its first file, or an object that reads from it, gets all blocks through that file instead.
    """
    read = pipe.read
    kept: BlockFile | None = None
    first = True

    def read_payload(payload: Any) -> Any:
        nonlocal kept, first
        if type(payload) is list:
            payload = bytes(payload[1])  # a file shares the memory of bytes, but copies that of a view
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
