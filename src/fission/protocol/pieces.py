"""Messages between machines in small pieces, so that a listener can refuse every larger frame.

A peer that has not yet proved that it holds the network's keys therefore cannot make a receiver
hold more than one piece.

A message whose frames are all small enough is sent unchanged. Otherwise its first part is a header
as in `fission.protocol.frames`, of the kind PIECES, with ``count`` frames and ``extra`` bytes in
total. The further parts are the lengths of the frames (u64 each) and then the bytes of the frames,
`PIECE_BYTES` in each part; the last part of each is shorter. The header has the flag of messages
with further frames.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

from fission.protocol.frames import MAX_BUFFERS, OUT_OF_BAND, VERSION, Buffer

#: Bytes of a part: the memory that an unauthenticated peer can occupy with one connection. Measured
#: with encryption: ZeroMQ hands parts to the system 8 KiB at a time until the rest of one is all that
#: is left, so parts of 16 KiB cost 40 % more CPU time than whole messages of 64 KiB, parts of 64 KiB
#: nothing that can be measured.
PIECE_BYTES = 64 << 10
#: Largest frame in bytes that is accepted from another machine; encryption adds some bytes.
MAX_PART_BYTES = PIECE_BYTES + 1024
PIECES = 8
_HEADER = struct.Struct("<BBHIIIQIQ")
#: Maximum number of frames in one message: the one before all buffers, and the buffers.
MAX_FRAMES = MAX_BUFFERS + 1


def split(frames: Sequence[Buffer]) -> list[Buffer]:
    """Return the parts of a message; if all its frames are small, the frames themselves."""
    views = [memoryview(frame).cast("B") for frame in frames]
    if all(len(view) <= PIECE_BYTES for view in views):
        return list(frames)
    lengths = struct.pack(f"<{len(views)}Q", *map(len, views))
    header = _HEADER.pack(VERSION, PIECES, OUT_OF_BAND, 0, 0, 0, 0, len(views), sum(map(len, views)))
    all_views = [memoryview(lengths), *views]
    return [header, *(view[start : start + PIECE_BYTES] for view in all_views for start in range(0, len(view), PIECE_BYTES))]


def is_split(first: Buffer) -> bool:
    """Whether the message that begins with this part must be joined."""
    return len(first) == _HEADER.size and first[1] == PIECES and first[0] == VERSION


def joined(parts: Sequence[Buffer]) -> list[Buffer]:
    """Return the frames of a message from its parts.

    A message that was not split is returned unchanged. So are parts that do not add up;
    `fission.protocol.frames.decode` refuses them.
    """
    if not parts or not is_split(parts[0]):
        return list(parts)
    *_, count, total = _HEADER.unpack(parts[0])
    if not 0 < count <= MAX_FRAMES or sum(map(len, parts)) != _HEADER.size + 8 * count + total:
        return list(parts)
    taking = iter(parts[1:])
    lengths = struct.unpack(f"<{count}Q", _take(taking, 8 * count) or bytes(8 * count))
    frames = [_take(taking, length) for length in lengths]
    found = [frame for frame in frames if frame is not None]
    return list(found) if len(found) == count and not any(taking) and sum(lengths) == total else list(parts)


def _take(parts: Iterator[Buffer], length: int) -> bytes | None:
    """Return the next frame, of ``length`` bytes; None if the parts end elsewhere."""
    found, rest = [], length
    while rest > 0:
        part = next(parts, b"")
        if not part or len(part) > rest:
            return None
        found.append(part)
        rest -= len(part)
    return b"".join(found)
