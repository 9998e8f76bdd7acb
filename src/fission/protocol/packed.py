"""Blocks of one length that travel as one piece of memory, one after the other: those of a `BytesPipe`.

Neither end handles them one by one where it need not. A program gets the bytes of a whole message
in one write, and what it writes is sent on as it is.

Between `frames.decode` and the decoder of its pipe, a packed block is the tuple (`Packed`, index).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache
from itertools import repeat
from typing import Any, TypeAlias

PackedBlock: TypeAlias = "tuple[Packed, int]"


class Packed:
    """The blocks of one message.

    Attributes:
        payload: bytes of all blocks, or where they are in shared memory, until that is looked up.
        size: length of a block, in bytes.
        count: number of blocks.
    """

    __slots__ = ("count", "payload", "size")

    def __init__(self, payload: Any, size: int, count: int) -> None:
        self.payload = payload
        self.size = size
        self.count = count

    def blocks(self) -> list[PackedBlock]:
        """Return all blocks, in order."""
        return list(zip(repeat(self), range(self.count)))

    def take(self, index: int) -> bytes:
        """Return the bytes of one block."""
        return bytes(self.view(index))

    encoded = take

    def view(self, index: int, count: int = 1) -> memoryview:
        """Return the memory of consecutive blocks, read-only, from the one with this index on."""
        start = index * self.size
        return memoryview(self.payload)[start : start + count * self.size].toreadonly()

    def take_run(self, first: int, count: int) -> Sequence[Any]:
        """Return the bytes of each of some consecutive blocks.

        Args:
            first: index of the first block.
            count: number of blocks.
        """
        return _parts(self.size, count).unpack_from(self.payload, first * self.size)


def pack_into(memory: Any, blocks: Sequence[bytes]) -> None:
    """Write blocks of one length, one after the other, to memory that has room for them."""
    _parts(len(blocks[0]), len(blocks)).pack_into(memory, 0, *blocks)


@lru_cache(maxsize=64)
def _parts(size: int, count: int) -> struct.Struct:
    """Return what cuts memory into blocks; it takes a third of the time of slices."""
    return struct.Struct(f"{size}s" * count)


def pieces(payloads: Sequence[Any]) -> list[tuple[memoryview, int]] | None:
    """Return the memory of the payloads of a column, in as few pieces as possible.

    Each piece comes with the length of its blocks in bytes. None: some of them are not packed.
    """
    found: list[tuple[memoryview, int]] = []
    start = 0
    while start < len(payloads):
        block = payloads[start]
        if type(block) is not tuple or type(block[0]) is not Packed:
            return None
        packed, first = block
        count = min(packed.count - first, len(payloads) - start)
        # the ends tell: numbers in a column are consecutive, and a dummy, which repeats a block, comes between messages
        if payloads[start + count - 1] != (packed, first + count - 1):
            count = 1
        found.append((packed.view(first, count), packed.size))
        start += count
    return found
