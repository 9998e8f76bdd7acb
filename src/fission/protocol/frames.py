"""The wire format: converts the messages of `fission.protocol.link_messages` to bytes and back.

This is the only codec of what jobs send to each other.

A *message* is a list of frames: one unit of the transport, which never splits it. The first frame
starts with a header of fixed size. The layout, little-endian:

    version u8 | kind u8 | flags u16 | pipe u32 | incarnation u32 | generation u32
    | sqn u64 | count u32 | extra u64

    DATA     sqn = first block, count = number of blocks. After the header: ``count`` heads (u32
             each, only with HAS_HEADS), then the lengths (u32 each) and the payloads of the blocks,
             in order. With OUT_OF_BAND, the blocks have ``extra`` buffers in all, and every buffer
             is a frame of its own. The length of each payload is followed by those of its buffers.
             If there are several blocks, the number of buffers of each (u32 each) precedes the
             lengths. With SHARED, the buffers are in shared memory, and each payload is followed by
             its descriptors instead. With JOINED, the blocks are encoded together (`joined`): after
             the header comes one payload for all of them, without a length. With PACKED, all blocks
             have ``extra`` bytes (`packed`): after the header come their bytes without lengths,
             with SHARED the descriptor of the memory that has them. With TIMED, the last bytes of the
             first frame are the times of the blocks, 32 bytes each (`block_times`), after all of this.
    OPEN     sqn = the producer's mark (low watermark): its blocks up to here are released. The
             first message of every incarnation of a producer.
    END      sqn = the last block of the pipe; no block follows. extra = 1: nor in any later
             generation; 2: a later generation follows; 0: not known yet.
    RELEASE  sqn = released (acknowledged) up to here, extra = taken into compute blocks up to here.
             From consumer to producer. With HAD it answers an OPEN, and extra = the last block that
             the consumer has of all incarnations of the producer.
    STARVED  sqn = all jobs after this pipe have worked off its blocks up to here. From consumer to
             producer.
    STAMP    sqn = the block whose stamp it is (`stamps`), count = number of sources. After the header,
             for each: id u32, incarnation u32, seconds f64. From producer to consumer.
    TIMES    sqn = the first block whose time follows, count = number of times (`block_times`), 32 bytes
             each after the header. From consumer to producer.
    COMMAND  After the header: one message of `fission.protocol.messages.client_to_job`, of
             ``count`` bytes. From the client to a job.
    REPORT   After the header: one message of `fission.protocol.messages.job_to_client`, of
             ``count`` bytes, and ``extra`` bytes that belong to it. From incarnation
             ``incarnation`` of job ``pipe`` to the client.

Decoding is strict: unknown versions, kinds or flags, lengths that do not add up and trailing bytes
raise `RemoteProtocolError`; malformed input never raises any other error. Payloads are opaque here.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Sequence
from io import BytesIO
from math import isfinite
from typing import Any, TypeAlias

from fission.errors import LocalProtocolError, RemoteProtocolError
from fission.protocol.joined import Joined
from fission.protocol.link_messages import CLOSED, Command, Data, End, JobMessage, Message, Open, Release, Stamp, Starved, Times
from fission.protocol.messages import client_to_job, job_to_client
from fission.protocol.messages.client_to_job import ClientToJob
from fission.protocol.packed import Packed
from fission.protocol.shared_blocks import Descriptor
from fission.protocol.stamps import Origin, Origins

Buffer: TypeAlias = "bytes | bytearray | memoryview"

VERSION = 1
DATA, OPEN, END, RELEASE, COMMAND, REPORT, STARVED, STAMP, TIMES = range(1, 10)
HAS_HEADS = 1
OUT_OF_BAND = 2
SHARED = 4
HAD = 8
JOINED = 16
PACKED = 32
TIMED = 64
#: Bytes of the time of a block: `block_times.BYTES`.
TIME_BYTES = 32

#: Maximum number of blocks in a message. Arbitrary; far above what a coalesced message holds.
MAX_BLOCKS = 1 << 16
#: Maximum number of sources in a stamp. Arbitrary; bounds the work for a malformed header.
MAX_SOURCES = 1 << 16
#: Maximum number of buffers in a message. Arbitrary; bounds the work for a malformed header.
MAX_BUFFERS = 1 << 16
#: Maximum size of a payload or buffer, in bytes: lengths have 32 bits.
MAX_LENGTH = 2**32 - 1

_HEADER = struct.Struct("<BBHIIIQIQ")
_HEADER_AND_LENGTH = struct.Struct("<BBHIIIQIQI")
_ORIGIN = struct.Struct("<IId")
_SWAP = sys.byteorder == "big"
# looked up once, because decoding the most frequent message needs them
_unpack_one_block, _ONE_BLOCK, _make_tuple = _HEADER_AND_LENGTH.unpack_from, _HEADER_AND_LENGTH.size, tuple.__new__


def encode_data(pipe: int, incarnation: int, generation: int, sqn: int, payloads: Sequence[Buffer], heads: Sequence[int] | None) -> bytes:
    """Return one frame with the blocks from ``sqn`` on.

    Raises:
        LocalProtocolError: there is no block, there are too many, or one is too long.
    """
    count = len(payloads)
    try:
        if count == 1 and heads is None:
            payload = payloads[0]
            return _HEADER_AND_LENGTH.pack(VERSION, DATA, 0, pipe, incarnation, generation, sqn, 1, 0, len(payload)) + payload
        if not 0 < count <= MAX_BLOCKS:
            raise LocalProtocolError(f"a message holds 1 to {MAX_BLOCKS} blocks; got {count}")
        flags = 0 if heads is None else HAS_HEADS
        header = _HEADER.pack(VERSION, DATA, flags, pipe, incarnation, generation, sqn, count, 0)
        lengths = _numbers(map(len, payloads))
        if heads is None:
            return b"".join((header, lengths, *payloads))
        if len(heads) != count:
            raise LocalProtocolError(f"{count} blocks need as many heads; got {len(heads)}")
        return b"".join((header, _numbers(heads), lengths, *payloads))
    except (struct.error, OverflowError) as why:
        raise LocalProtocolError(f"a number of the message is out of range: {why}") from None


def encode_joined(pipe: int, incarnation: int, generation: int, sqn: int, count: int, payload: bytes) -> bytes:
    """Return the only frame of ``count`` blocks from ``sqn`` on that are encoded together.

    Args:
        pipe, incarnation, generation, sqn: as in the header.
        count: number of blocks.
        payload: what `joined.join` returned for them.

    Raises:
        LocalProtocolError: there is no block, or there are too many.
    """
    if not 0 < count <= MAX_BLOCKS:
        raise LocalProtocolError(f"a message holds 1 to {MAX_BLOCKS} blocks; got {count}")
    try:
        return _HEADER.pack(VERSION, DATA, JOINED, pipe, incarnation, generation, sqn, count, 0) + payload
    except struct.error as why:
        raise LocalProtocolError(f"a number of the message is out of range: {why}") from None


def encode_packed(pipe: int, incarnation: int, generation: int, sqn: int, size: int, length: int, parts: Sequence[Buffer]) -> bytes:
    """Return the only frame of blocks of ``size`` bytes from ``sqn`` on, without heads.

    Args:
        pipe, incarnation, generation, sqn: as in the header.
        size: length of each block, in bytes.
        length: length of all blocks, in bytes.
        parts: the blocks, one after the other, in any pieces.

    Raises:
        LocalProtocolError: there is no block, there are too many, or the last one is incomplete.
    """
    return b"".join((_packed_header(0, (pipe, incarnation, generation, sqn), size, length), *parts))


def encode_packed_shared(pipe: int, incarnation: int, generation: int, sqn: int, size: int, length: int, descriptor: bytes) -> bytes:
    """Do as `encode_packed` with blocks in shared memory.

    Args:
        pipe, incarnation, generation, sqn, size, length: as in `encode_packed`.
        descriptor: packed descriptor of the memory.

    Raises:
        LocalProtocolError: as in `encode_packed`.
    """
    return _packed_header(SHARED, (pipe, incarnation, generation, sqn), size, length) + descriptor


def _packed_header(flags: int, place: tuple[int, int, int, int], size: int, length: int) -> bytes:
    count, rest = divmod(length, size)
    if not 0 < count <= MAX_BLOCKS or rest or size > MAX_LENGTH:
        raise LocalProtocolError(f"a message holds 1 to {MAX_BLOCKS} blocks; got {length} bytes in blocks of {size}")
    try:
        return _HEADER.pack(VERSION, DATA, PACKED | flags, *place, count, size)
    except struct.error as why:
        raise LocalProtocolError(f"a number of the message is out of range: {why}") from None


def encode_big(
    pipe: int, incarnation: int, generation: int, sqn: int, blocks: Sequence[Sequence[Buffer]], heads: Sequence[int] | None
) -> list[Buffer]:
    """Return the frames of blocks with out-of-band buffers, without copying the buffers.

    Each of ``blocks`` consists of its payload and its buffers.

    Raises:
        LocalProtocolError: there is no block, there are too many blocks or buffers, or one is too
            long.
    """
    start = _start_parts(OUT_OF_BAND, (pipe, incarnation, generation, sqn), blocks, heads)
    return [b"".join((start, *(block[0] for block in blocks))), *(buffer for block in blocks for buffer in block[1:])]


def encode_shared(
    pipe: int, incarnation: int, generation: int, sqn: int, blocks: Sequence[Sequence[bytes]], heads: Sequence[int] | None
) -> bytes:
    """Return the only frame of blocks whose buffers are in shared memory.

    Each of ``blocks`` consists of its payload and its packed descriptors.

    Raises:
        LocalProtocolError: as in `encode_big`.
    """
    start = _start_parts(SHARED, (pipe, incarnation, generation, sqn), blocks, heads)
    return b"".join((start, *(part for block in blocks for part in block)))


def _start_parts(flags: int, place: tuple[int, int, int, int], blocks: Sequence[Sequence[Buffer]], heads: Sequence[int] | None) -> bytes:
    """Return what precedes the payloads of blocks with buffers."""
    count = len(blocks)
    extra = sum(map(len, blocks)) - count
    if not 0 < count <= MAX_BLOCKS or extra > MAX_BUFFERS:
        raise LocalProtocolError(f"a message holds 1 to {MAX_BLOCKS} blocks with at most {MAX_BUFFERS} buffers; got {count} with {extra}")
    if heads is not None and len(heads) != count:
        raise LocalProtocolError(f"{count} blocks need as many heads; got {len(heads)}")
    try:
        header = _HEADER.pack(VERSION, DATA, flags | (HAS_HEADS if heads is not None else 0), *place, count, extra)
        numbers = _numbers(len(block) - 1 for block in blocks) if count > 1 else b""
        lengths = _numbers(memoryview(part).nbytes for block in blocks for part in block)
        return b"".join((header, _numbers(heads or ()), numbers, lengths))
    except (struct.error, OverflowError) as why:
        raise LocalProtocolError(f"a number of the message is out of range: {why}") from None


def add_times(first: Buffer, times: bytes) -> bytes:
    """Return the first frame of a `Data` message, with the times of its blocks.

    Args:
        first: the frame, without times.
        times: `TIME_BYTES` for each block.

    Raises:
        LocalProtocolError: the number of times is not that of the blocks.
    """
    _, _, flags, _, _, _, _, count, _ = _HEADER.unpack_from(first)
    if len(times) != TIME_BYTES * count:
        raise LocalProtocolError(f"{count} blocks need {TIME_BYTES * count} bytes of times; got {len(times)}")
    return b"".join((first[:2], (flags | TIMED).to_bytes(2, "little"), memoryview(first)[4:], times))


def encode_open(message: Open) -> bytes:
    """Return the frame of an `Open`."""
    return _small(OPEN, message.pipe, message.incarnation, message.generation, message.mark, 0)


def encode_end(message: End) -> bytes:
    """Return the frame of an `End`."""
    kind = 1 if message.final else 2 if message.more else 0
    return _small(END, message.pipe, message.incarnation, message.generation, message.last, kind)


def encode_release(message: Release) -> bytes:
    """Return the frame of a `Release`."""
    flags = HAD if message.had else 0
    return _small(RELEASE, message.pipe, message.incarnation, message.generation, message.released, message.taken, flags)


def encode_starved(message: Starved) -> bytes:
    """Return the frame of a `Starved`."""
    return _small(STARVED, message.pipe, message.incarnation, message.generation, message.upto, 0)


def encode_stamp(message: Stamp) -> bytes:
    """Return the frame of a `Stamp`.

    Raises:
        LocalProtocolError: it has no source, too many, or a number is out of range.
    """
    count = len(message.origins)
    if not 0 < count <= MAX_SOURCES:
        raise LocalProtocolError(f"a stamp has 1 to {MAX_SOURCES} sources; got {count}")
    try:
        header = _HEADER.pack(VERSION, STAMP, 0, message.pipe, message.incarnation, message.generation, message.sqn, count, 0)
        return b"".join((header, *(_ORIGIN.pack(*origin) for origin in message.origins.values())))
    except struct.error as why:
        raise LocalProtocolError(f"a number of the message is out of range: {why}") from None


def encode_times(message: Times) -> bytes:
    """Return the frame of a `Times`.

    Raises:
        LocalProtocolError: it has a part of a time, too many, or a number is out of range.
    """
    count, rest = divmod(len(message.times), TIME_BYTES)
    if rest or count > MAX_BLOCKS:
        raise LocalProtocolError(f"times have {TIME_BYTES} bytes each, at most {MAX_BLOCKS} of them; got {len(message.times)} bytes")
    try:
        header = _HEADER.pack(VERSION, TIMES, 0, message.pipe, message.incarnation, message.generation, message.sqn, count, 0)
    except struct.error as why:
        raise LocalProtocolError(f"a number of the message is out of range: {why}") from None
    return header + message.times


def encode_command(message: ClientToJob) -> bytes:
    """Return the frame of a `Command`.

    Raises:
        LocalProtocolError: the message is too long.
    """
    try:
        text = client_to_job.CODEC.encode(message)
    except ValueError as why:
        raise LocalProtocolError(str(why)) from None
    return _HEADER.pack(VERSION, COMMAND, 0, 0, 0, 0, 0, len(text), 0) + text


def encode_job_message(message: JobMessage) -> bytes:
    """Return the frame of a `JobMessage`.

    Raises:
        LocalProtocolError: the message is too long, or a number is out of range.
    """
    try:
        text = job_to_client.CODEC.encode(message.message)
        header = _HEADER.pack(VERSION, REPORT, 0, message.job, message.incarnation, 0, 0, len(text), len(message.payload))
    except ValueError as why:
        raise LocalProtocolError(str(why)) from None
    except struct.error as why:
        raise LocalProtocolError(f"a number of the message is out of range: {why}") from None
    return b"".join((header, text, message.payload))


def announces_more(first: Buffer) -> bool:
    """Whether further frames may follow ``first``, the first frame of a message.

    For transports that request each frame separately.
    """
    return len(first) > 2 and bool(first[2] & OUT_OF_BAND)


def is_stamp(first: Buffer) -> bool:
    """Whether a message is a `Stamp`.

    Args:
        first: first frame of the message.
    """
    return first[1] == STAMP


def header_of(first: Buffer) -> tuple[int, int, int, int]:
    """Return kind, generation, sqn of the first block and number of blocks of a message.

    Args:
        first: first frame of the message.
    """
    _, kind, _, _, _, generation, sqn, count, _ = _HEADER.unpack_from(first)
    return kind, generation, sqn, count


def decode(frames: Sequence[Buffer]) -> Message:
    """Decode the frames of a message.

    Raises:
        RemoteProtocolError: the frames are not a valid message.
    """
    if not frames:
        raise RemoteProtocolError("a message has at least one frame; got none")
    first = frames[0]
    if len(frames) == 1 and len(first) >= _ONE_BLOCK:
        # fast path for one small block, the most frequent message of a link that is not busy: the code below gives the same result
        version, kind, flags, pipe, incarnation, generation, sqn, count, extra, length = _unpack_one_block(first)
        whole = length == len(first) - _ONE_BLOCK
        if kind == DATA and version == VERSION and count == 1 and not flags and not extra and 1 <= sqn < CLOSED and whole:
            return _make_tuple(Data, (pipe, incarnation, generation, sqn, [first[_ONE_BLOCK:]], None, None))
    if len(first) < _HEADER.size:
        raise RemoteProtocolError(f"a message starts with a header of {_HEADER.size} bytes; got {len(first)}")
    version, kind, flags, pipe, incarnation, generation, sqn, count, extra = _HEADER.unpack_from(first)
    if version != VERSION:
        raise RemoteProtocolError(f"the version must be {VERSION}; got {version}: do all machines have the same FISSION?")
    if sqn > CLOSED or extra > CLOSED:
        raise RemoteProtocolError(f"sequence numbers go up to {CLOSED}; got {sqn} and {extra}")
    if kind == DATA and flags & TIMED:
        size = TIME_BYTES * count
        if not 0 < count <= MAX_BLOCKS or len(first) < _HEADER.size + size:
            raise RemoteProtocolError(f"{count} blocks have {size} bytes of times; got a frame of {len(first)} bytes")
        untimed = [bytes(memoryview(first)[:-size]), *frames[1:]]
        found = _decode_data(untimed, flags & ~TIMED, pipe, incarnation, generation, sqn, count, extra)
        return found._replace(times=bytes(memoryview(first)[-size:]))
    if kind == DATA:
        return _decode_data(frames, flags, pipe, incarnation, generation, sqn, count, extra)
    if len(frames) != 1:
        raise RemoteProtocolError(f"a message of kind {kind} has one frame; got {len(frames)}")
    if flags and (kind, flags) != (RELEASE, HAD):
        raise RemoteProtocolError(f"a message of kind {kind} has no such flags; got {flags}")
    if kind == COMMAND:
        return Command(client_to_job.CODEC.decode(_text(first, count, 0)))
    if kind == REPORT:
        message = job_to_client.CODEC.decode(_text(first, count, extra))
        return JobMessage(pipe, incarnation, message, bytes(first[_HEADER.size + count :]))
    if kind == STAMP:
        return Stamp(pipe, incarnation, generation, sqn, _decode_origins(first, sqn, count, extra))
    if kind == TIMES:
        if extra or count > MAX_BLOCKS or len(first) != _HEADER.size + TIME_BYTES * count:
            raise RemoteProtocolError(f"{count} times were announced; got {len(first)} bytes")
        return Times(pipe, incarnation, generation, sqn, bytes(first[_HEADER.size :]))
    if len(first) != _HEADER.size or count:
        raise RemoteProtocolError(f"a message of kind {kind} is its header alone; got {len(first)} bytes")
    if kind == RELEASE:
        return Release(pipe, incarnation, generation, sqn, extra, had=bool(flags))
    if extra > (2 if kind == END else 0):
        raise RemoteProtocolError(f"a message of kind {kind} has no such second number; got {extra}")
    if kind == STARVED:
        return Starved(pipe, incarnation, generation, sqn)
    if kind == OPEN:
        return Open(pipe, incarnation, generation, sqn)
    if kind == END:
        return End(pipe, incarnation, generation, sqn, final=extra == 1, more=extra == 2)
    raise RemoteProtocolError(f"the kind must be one of 1 to 9; got {kind}")


def _decode_origins(first: Buffer, sqn: int, count: int, extra: int) -> Origins:
    if extra or not 0 < sqn < CLOSED or not 0 < count <= MAX_SOURCES or len(first) != _HEADER.size + count * _ORIGIN.size:
        raise RemoteProtocolError(f"a stamp is of one block and 1 to {MAX_SOURCES} sources; got {len(first)} bytes for {count}")
    found = {source: Origin(source, incarnation, at) for source, incarnation, at in _ORIGIN.iter_unpack(memoryview(first)[_HEADER.size :])}
    if len(found) != count or not all(isfinite(origin.at) for origin in found.values()):
        raise RemoteProtocolError("a stamp names each of its sources once, with a finite time")
    return found


def _small(kind: int, pipe: int, incarnation: int, generation: int, sqn: int, extra: int, flags: int = 0) -> bytes:
    try:
        return _HEADER.pack(VERSION, kind, flags, pipe, incarnation, generation, sqn, 0, extra)
    except struct.error as why:
        raise LocalProtocolError(f"a number of the message is out of range: {why}") from None


def _numbers(values: Any) -> bytes:
    numbers = array("I", values)
    if _SWAP:
        numbers.byteswap()
    return numbers.tobytes()


def _decode_data(
    frames: Sequence[Buffer], flags: int, pipe: int, incarnation: int, generation: int, sqn: int, count: int, extra: int
) -> Data:
    first = frames[0]
    if flags == JOINED and len(frames) == 1 and not extra and 0 < count <= MAX_BLOCKS and 1 <= sqn <= CLOSED - count:
        return Data(pipe, incarnation, generation, sqn, Joined(bytes(first[_HEADER.size :]), count).blocks(), None)
    if flags & PACKED and not flags & ~(PACKED | SHARED):
        return _decode_packed(frames, bool(flags & SHARED), pipe, incarnation, generation, sqn, count, extra)
    if flags & ~(HAS_HEADS | OUT_OF_BAND | SHARED):
        raise RemoteProtocolError(f"unknown flags {flags:#x} of a data message")
    if not 0 < count <= MAX_BLOCKS or sqn < 1 or sqn + count > CLOSED:
        raise RemoteProtocolError(f"a data message holds 1 to {MAX_BLOCKS} blocks numbered from 1; got {count} from {sqn}")
    big, shared = bool(flags & OUT_OF_BAND), bool(flags & SHARED)
    if len(frames) != (1 + extra if big else 1) or (extra and not (big or shared)) or extra > MAX_BUFFERS or (big and shared):
        raise RemoteProtocolError(f"the header announces {count} blocks and {extra} buffers; got {len(frames) - 1} further frames")
    position = _HEADER.size
    heads: list[int] | None = None
    if flags & HAS_HEADS:
        heads = _read_numbers(first, position, count)
        position += 4 * count
    if big or shared:
        return Data(pipe, incarnation, generation, sqn, _decode_parts(frames, position, count, extra, shared=shared), heads)
    lengths = _read_numbers(first, position, count)
    rest = _rest(first, position + 4 * count, lengths)
    return Data(pipe, incarnation, generation, sqn, list(map(rest.read, lengths)), heads)


def _decode_packed(
    frames: Sequence[Buffer], shared: bool, pipe: int, incarnation: int, generation: int, sqn: int, count: int, size: int
) -> Data:
    if not 0 < count <= MAX_BLOCKS or not 1 <= sqn <= CLOSED - count or not 0 < size <= MAX_LENGTH or len(frames) != 1:
        raise RemoteProtocolError(f"a data message holds 1 to {MAX_BLOCKS} blocks numbered from 1; got {count} of {size} bytes from {sqn}")
    payload: Any = memoryview(frames[0])[_HEADER.size :]
    length = payload.nbytes
    if shared:
        payload = Descriptor.unpack(payload)
        length = payload.length
    if length != count * size:
        raise RemoteProtocolError(f"{count} blocks of {size} bytes were announced; got {length} bytes")
    return Data(pipe, incarnation, generation, sqn, Packed(payload, size, count).blocks(), None)


def _decode_parts(frames: Sequence[Buffer], position: int, count: int, extra: int, *, shared: bool) -> list[list[Any]]:
    """Decode blocks with buffers; return [payload, buffer or descriptor, ...] per block."""
    first, further = frames[0], iter(frames[1:])
    numbers = [extra]
    if count > 1:
        numbers = _read_numbers(first, position, count)
        position += 4 * count
        if sum(numbers) != extra:
            raise RemoteProtocolError(f"the header announces {extra} buffers; the blocks have {sum(numbers)}")
    every = iter(_read_numbers(first, position, count + extra))
    lengths = [[next(every) for _ in range(1 + number)] for number in numbers]
    position += 4 * (count + extra)
    rest = _rest(first, position, [length for block in lengths for length in (block if shared else block[:1])])
    blocks = []
    for payload, *buffers in lengths:
        block: list[Any] = [rest.read(payload)]
        for length in buffers:
            if shared:
                block.append(Descriptor.unpack(rest.read(length)))
                continue
            block.append(next(further))
            if memoryview(block[-1]).nbytes != length:
                raise RemoteProtocolError(f"a buffer of {length} bytes was announced; got {memoryview(block[-1]).nbytes}")
        blocks.append(block)
    return blocks


def _rest(first: Buffer, position: int, lengths: list[int]) -> BytesIO:
    """Return a reader of what follows the numbers, after a check that the lengths add up to it.

    Reading many small payloads from it takes a third of the time of slicing.
    """
    if position + sum(lengths) != len(first):
        raise RemoteProtocolError(f"{position + sum(lengths)} bytes were announced; got {len(first)}")
    rest = BytesIO(first)
    rest.seek(position)
    return rest


def _read_numbers(frame: Buffer, position: int, count: int) -> list[int]:
    if len(frame) < position + 4 * count:
        raise RemoteProtocolError(f"{count} numbers at byte {position} do not fit into {len(frame)} bytes")
    numbers = array("I")
    numbers.frombytes(frame[position : position + 4 * count])
    if _SWAP:
        numbers.byteswap()
    return numbers.tolist()


def _text(frame: Buffer, count: int, extra: int) -> bytes:
    if _HEADER.size + count + extra != len(frame):
        raise RemoteProtocolError(f"a message of {count} bytes and {extra} more were announced; got {len(frame)}")
    return bytes(frame[_HEADER.size : _HEADER.size + count])
