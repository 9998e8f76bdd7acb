"""Bytes <-> messages: the only codec of what jobs say to each other.

A *message* is a list of frames (one transport unit, never split by the transport). Its first frame starts with a header of
fixed size; the layout, little-endian:

    version u8 | kind u8 | flags u16 | pipe u32 | incarnation u32 | generation u32 | sqn u64 | count u32 | extra u64

    DATA     sqn = first block, count = blocks. Behind the header: ``count`` heads (u32 each, only with HAS_HEADS), then the
             lengths (u32 each) and the payloads of the blocks, in order. With OUT_OF_BAND the blocks have ``extra`` buffers in
             all: before the lengths stands, if there are several blocks, how many each has (u32 each), behind the length of
             each payload stand those of its buffers, and every buffer is a frame of its own. With SHARED the buffers are in
             shared memory, and behind each payload stand its descriptors instead.
    OPEN     sqn = the producer's mark: its blocks up to here are released. First message of every life of a producer.
    END      sqn = the last block of the pipe; nothing follows. extra = 1: nor in any later generation; 2: but a later generation does;
             0: so far.
    RELEASE  sqn = released up to here, extra = taken into compute blocks up to here. From consumer to producer. With HAD it answers an
             OPEN, and extra = the last block that the consumer has of all lives of the producer.
    STARVED  sqn = of this pipe, everything up to here was worked off to the end of all ways. From consumer to producer.
    COMMAND  after the header: one message of `fission.protocol.messages.client_to_job` of ``count`` bytes. From the client to a job.
    REPORT   after the header: one message of `fission.protocol.messages.job_to_client` of ``count`` bytes, and ``extra`` bytes that
             belong to it. From incarnation ``incarnation`` of job ``pipe`` to the client.

Decoding is strict: unknown versions, kinds or flags, lengths that do not add up and trailing bytes are a
`RemoteProtocolError`, and garbage never gives any other error. Nothing of a payload is looked at here.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, NamedTuple, TypeAlias

from fission.errors import LocalProtocolError, RemoteProtocolError
from fission.protocol.messages import client_to_job, job_to_client
from fission.protocol.messages.client_to_job import ClientToJob
from fission.protocol.messages.job_to_client import JobToClient
from fission.protocol.shared_blocks import Descriptor

Buffer: TypeAlias = "bytes | bytearray | memoryview"

VERSION = 1
DATA, OPEN, END, RELEASE, COMMAND, REPORT, STARVED = range(1, 8)
HAS_HEADS = 1
OUT_OF_BAND = 2
SHARED = 4
HAD = 8

#: "Everything, for ever": a release of this number tells the producer that its consumer needs nothing any more.
CLOSED = 2**63 - 1
#: Most blocks in one message; arbitrary, far above what one coalesced message holds.
MAX_BLOCKS = 1 << 16
#: Most out-of-band buffers of one block; arbitrary, bounds the work for a malformed header.
MAX_BUFFERS = 1 << 16
#: Largest payload or buffer in bytes: the lengths are 32 bit.
MAX_LENGTH = 2**32 - 1

_HEADER = struct.Struct("<BBHIIIQIQ")
_HEADER_AND_LENGTH = struct.Struct("<BBHIIIQIQI")
_SWAP = sys.byteorder == "big"
# looked up once, for the commonest message
_unpack_one_block, _ONE_BLOCK, _make_tuple = _HEADER_AND_LENGTH.unpack_from, _HEADER_AND_LENGTH.size, tuple.__new__


class Data(NamedTuple):
    """Blocks ``sqn`` to ``sqn + len(payloads) - 1`` of a pipe. A named tuple: made in half the time of a frozen dataclass.

    Attributes:
        payloads: one entry a block: its bytes, or for a block with out-of-band buffers the list [payload, buffer, ...], or
            [payload, `Descriptor`, ...] where they are in shared memory.
        heads: one number a block, or None if all are 0.
    """

    pipe: int
    incarnation: int
    generation: int
    sqn: int
    payloads: list[Any]
    heads: list[int] | None = None


@dataclass(frozen=True, slots=True)
class Open:
    """A producer's first word: its blocks up to ``mark`` are released, the next one may be ``mark + 1``."""

    pipe: int
    incarnation: int
    generation: int
    mark: int


@dataclass(frozen=True, slots=True)
class End:
    """The pipe has ended with block ``last`` (0: it never had one); ``final``: in later generations too; ``more``: one follows."""

    pipe: int
    incarnation: int
    generation: int
    last: int
    final: bool = False
    more: bool = False


@dataclass(frozen=True, slots=True)
class Release:
    """The consumer never needs blocks up to ``released`` again (`CLOSED`: none of this generation) and has taken up to ``taken``.

    ``incarnation`` is the consumer's, ``generation`` that of the numbering; with `CLOSED` in both numbers it counts for all generations.
    With ``had`` it answers an `Open`: ``taken`` is the last block that it has of earlier incarnations of the producer.
    """

    pipe: int
    incarnation: int
    generation: int
    released: int
    taken: int
    had: bool = False


@dataclass(frozen=True, slots=True)
class Starved:
    """The consumer, and everybody behind it, has nothing left to do of what it was sent up to ``upto``; ``incarnation`` is its own."""

    pipe: int
    incarnation: int
    generation: int
    upto: int


@dataclass(frozen=True, slots=True)
class Command:
    """A message of the client to a job."""

    message: ClientToJob


@dataclass(frozen=True, slots=True)
class JobMessage:
    """A message of an incarnation of a job to the client, and bytes that belong to it."""

    job: int
    incarnation: int
    message: JobToClient
    payload: bytes = b""


Message: TypeAlias = "Data | Open | End | Release | Starved | Command | JobMessage"


def encode_data(pipe: int, incarnation: int, generation: int, sqn: int, payloads: Sequence[Buffer], heads: Sequence[int] | None) -> bytes:
    """Return one frame with the blocks ``sqn`` and following.

    Raises:
        LocalProtocolError: no block, too many, or one that is too long.
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


def encode_big(
    pipe: int, incarnation: int, generation: int, sqn: int, blocks: Sequence[Sequence[Buffer]], heads: Sequence[int] | None
) -> list[Buffer]:
    """Return the frames of blocks with out-of-band buffers: each of ``blocks`` is its payload and its buffers, which are not copied.

    Raises:
        LocalProtocolError: no block, too many of them or of their buffers, or something that is too long.
    """
    start = _start_parts(OUT_OF_BAND, (pipe, incarnation, generation, sqn), blocks, heads)
    return [b"".join((start, *(block[0] for block in blocks))), *(buffer for block in blocks for buffer in block[1:])]


def encode_shared(
    pipe: int, incarnation: int, generation: int, sqn: int, blocks: Sequence[Sequence[bytes]], heads: Sequence[int] | None
) -> bytes:
    """Return the one frame of blocks whose buffers are in shared memory: each of ``blocks`` is its payload and its packed descriptors.

    Raises:
        LocalProtocolError: as `encode_big`.
    """
    start = _start_parts(SHARED, (pipe, incarnation, generation, sqn), blocks, heads)
    return b"".join((start, *(part for block in blocks for part in block)))


def _start_parts(flags: int, place: tuple[int, int, int, int], blocks: Sequence[Sequence[Buffer]], heads: Sequence[int] | None) -> bytes:
    """What stands before the payloads of blocks with buffers."""
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


def encode_open(message: Open) -> bytes:
    """Return the one frame of an `Open`."""
    return _small(OPEN, message.pipe, message.incarnation, message.generation, message.mark, 0)


def encode_end(message: End) -> bytes:
    """Return the one frame of an `End`."""
    kind = 1 if message.final else 2 if message.more else 0
    return _small(END, message.pipe, message.incarnation, message.generation, message.last, kind)


def encode_release(message: Release) -> bytes:
    """Return the one frame of a `Release`."""
    flags = HAD if message.had else 0
    return _small(RELEASE, message.pipe, message.incarnation, message.generation, message.released, message.taken, flags)


def encode_starved(message: Starved) -> bytes:
    """Return the one frame of a `Starved`."""
    return _small(STARVED, message.pipe, message.incarnation, message.generation, message.upto, 0)


def encode_command(message: ClientToJob) -> bytes:
    """Return the one frame of a `Command`.

    Raises:
        LocalProtocolError: it is too long.
    """
    try:
        text = client_to_job.CODEC.encode(message)
    except ValueError as why:
        raise LocalProtocolError(str(why)) from None
    return _HEADER.pack(VERSION, COMMAND, 0, 0, 0, 0, 0, len(text), 0) + text


def encode_job_message(message: JobMessage) -> bytes:
    """Return the one frame of a `JobMessage`.

    Raises:
        LocalProtocolError: something is too long, or a number out of range.
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
    """Whether a message whose first frame this is may have further ones; for transports that ask for each of them."""
    return len(first) > 2 and bool(first[2] & OUT_OF_BAND)


def header_of(first: Buffer) -> tuple[int, int, int, int]:
    """Return kind, generation, number of the first block and number of blocks, from the first frame of a message."""
    _, kind, _, _, _, generation, sqn, count, _ = _HEADER.unpack_from(first)
    return kind, generation, sqn, count


def decode(frames: Sequence[Buffer]) -> Message:
    """Return the message that the frames are.

    Raises:
        RemoteProtocolError: they are none.
    """
    if not frames:
        raise RemoteProtocolError("a message has at least one frame; got none")
    first = frames[0]
    if len(frames) == 1 and len(first) >= _ONE_BLOCK:
        # one small block, the commonest message of a link that is not busy: the general way below does the same
        version, kind, flags, pipe, incarnation, generation, sqn, count, extra, length = _unpack_one_block(first)
        whole = length == len(first) - _ONE_BLOCK
        if kind == DATA and version == VERSION and count == 1 and not flags and not extra and 1 <= sqn < CLOSED and whole:
            return _make_tuple(Data, (pipe, incarnation, generation, sqn, [first[_ONE_BLOCK:]], None))
    if len(first) < _HEADER.size:
        raise RemoteProtocolError(f"a message starts with a header of {_HEADER.size} bytes; got {len(first)}")
    version, kind, flags, pipe, incarnation, generation, sqn, count, extra = _HEADER.unpack_from(first)
    if version != VERSION:
        raise RemoteProtocolError(f"the version must be {VERSION}; got {version}: do all machines have the same FISSION?")
    if sqn > CLOSED or extra > CLOSED:
        raise RemoteProtocolError(f"sequence numbers go up to {CLOSED}; got {sqn} and {extra}")
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
    raise RemoteProtocolError(f"the kind must be one of 1 to 7; got {kind}")


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


def _decode_parts(frames: Sequence[Buffer], position: int, count: int, extra: int, *, shared: bool) -> list[list[Any]]:
    """The blocks of a message whose blocks have buffers: [payload, buffer or descriptor, ...] each."""
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
    """What stands behind all numbers, from where pieces of these lengths are read: many small ones in a third of the time of slices."""
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
