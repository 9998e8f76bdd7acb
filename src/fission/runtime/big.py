"""Messages with big blocks: their buffers travel out of band, or stay in shared memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fission.ports import Lease
from fission.protocol import frames
from fission.protocol.frames import Buffer


class Leased(list[Buffer]):
    """A message whose buffers are in shared memory, for as long as this object keeps their leases."""

    def __init__(self, message: list[Buffer], leases: list[Lease], again: Callable[[], list[Buffer]]) -> None:
        super().__init__(message)
        self._leases = leases
        self._again = again

    def for_afar(self) -> list[Buffer]:
        """The same message for a consumer on another machine."""
        return Leased(self._again(), self._leases, self._again)


def big_message(place: tuple[int, int, int, int], reader: int | None, parts: list[Any], head: int) -> tuple[list[Buffer], int]:
    """Return (message, bytes of the block).

    Args:
        place: pipe, incarnation, generation and number of the block.
        reader: number of the consumer among the readers of this job's shared memory; None: it is on another machine.
        parts: [payload, buffer, ...] or [payload, lease, ...].
        head: of the block.
    """
    if len(parts) < 2 or not hasattr(parts[1], "pack"):
        return frames.encode_big(*place, parts, head), sum(memoryview(part).nbytes for part in parts)
    payload, *leases = parts

    def far() -> list[Buffer]:
        return frames.encode_big(*place, [payload, *(lease.view() for lease in leases)], head)

    # who came near since the buffers were lent is no reader of them
    if reader is not None and all(reader in lease.readers for lease in leases):
        message: list[Buffer] = [frames.encode_shared(*place, payload, [lease.pack(reader) for lease in leases], head)]
    else:
        message = far()
    return Leased(message, leases, far), len(payload) + sum(lease.nbytes for lease in leases)
