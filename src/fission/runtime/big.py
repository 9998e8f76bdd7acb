"""Messages with big blocks: their buffers travel out of band, or stay in shared memory."""

from __future__ import annotations

from typing import Any

from fission.ports import Lease
from fission.protocol import frames
from fission.protocol.frames import Buffer


class _Shared(list[Buffer]):
    """A message whose buffers are in shared memory, for as long as this object keeps their leases."""

    def __init__(self, message: bytes, leases: list[Lease]) -> None:
        super().__init__([message])
        self._leases = leases


def big_message(place: tuple[int, int, int, int], reader: int, parts: list[Any], head: int) -> tuple[list[Buffer], int]:
    """Return (message, bytes of the block).

    Args:
        place: pipe, incarnation, generation and number of the block.
        reader: number of the consumer among the readers of this job's shared memory.
        parts: [payload, buffer, ...] or [payload, lease, ...].
        head: of the block.
    """
    if len(parts) > 1 and hasattr(parts[1], "pack"):
        payload, *leases = parts
        message = frames.encode_shared(*place, payload, [lease.pack(reader) for lease in leases], head)
        return _Shared(message, leases), len(payload) + sum(lease.nbytes for lease in leases)
    return frames.encode_big(*place, parts, head), sum(memoryview(part).nbytes for part in parts)
