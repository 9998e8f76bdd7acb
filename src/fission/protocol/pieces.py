"""Messages between machines in small pieces, so that a listener can refuse every frame that is larger: who has not shown the network's
keys yet cannot make a receiver hold more than one piece.

A message whose frames all fit travels as it is. Otherwise its first part is a header as of `fission.protocol.frames`, of the kind PIECES,
with ``count`` frames and ``extra`` bytes in all; the further parts are the frames' lengths (u64 each) and then the frames' bytes,
`PIECE_BYTES` in each, the last one of each shorter. The header has the flag of messages with further frames.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

from fission.protocol.frames import MAX_BUFFERS, OUT_OF_BAND, VERSION, Buffer

#: Bytes of a part: the memory that a stranger can take with one connection. Arbitrary: to encrypt it costs ten times what its way costs.
PIECE_BYTES = 16 << 10
#: Largest frame that is taken from another machine; encryption adds some bytes.
MAX_PART_BYTES = PIECE_BYTES + 1024
PIECES = 8
_HEADER = struct.Struct("<BBHIIIQIQ")
#: Frames of one message: what is in front of all buffers, and they.
MAX_FRAMES = MAX_BUFFERS + 1


def split(frames: Sequence[Buffer]) -> list[Buffer]:
    """Return the parts of a message: its frames themselves, if all are small."""
    views = [memoryview(frame).cast("B") for frame in frames]
    if all(len(view) <= PIECE_BYTES for view in views):
        return list(frames)
    lengths = struct.pack(f"<{len(views)}Q", *map(len, views))
    header = _HEADER.pack(VERSION, PIECES, OUT_OF_BAND, 0, 0, 0, 0, len(views), sum(map(len, views)))
    all_views = [memoryview(lengths), *views]
    return [header, *(view[start : start + PIECE_BYTES] for view in all_views for start in range(0, len(view), PIECE_BYTES))]


def is_split(first: Buffer) -> bool:
    """Whether a message whose first part this is has to be joined."""
    return len(first) == _HEADER.size and first[1] == PIECES and first[0] == VERSION


def joined(parts: Sequence[Buffer]) -> list[Buffer]:
    """Return the frames of a message that came in parts.

    One that was not split is returned as it is; so are parts that do not add up, which `fission.protocol.frames.decode` refuses.
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
    """The next frame, of so many bytes; None if the parts end elsewhere."""
    found, rest = [], length
    while rest > 0:
        part = next(parts, b"")
        if not part or len(part) > rest:
            return None
        found.append(part)
        rest -= len(part)
    return b"".join(found)
