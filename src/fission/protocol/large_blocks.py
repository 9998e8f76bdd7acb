"""Messages with large blocks: their buffers are sent out of band, or stay in shared memory."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Protocol

from fission.protocol import frames
from fission.protocol.frames import Buffer


class LentBuffer(Protocol):
    """Interface that messages need of a buffer in shared memory; `fission.ports.Lease` has it.

    Attributes:
        nbytes: size of the buffer, in bytes.
        readers: outputs that the buffer was lent for.
    """

    nbytes: int
    readers: Collection[int]

    @property
    def handed_on(self) -> bool:
        """Whether it is in the memory of another job, from which this one has received it."""
        ...

    def view(self) -> memoryview:
        """Return the buffer itself."""
        ...

    def pack(self, reader: int) -> bytes:
        """Return the descriptor that is sent to a reader instead of the buffer."""
        ...


class Leased(list[Buffer]):
    """Message whose buffers are in shared memory; this object keeps their leases.

    Attributes:
        leases: leases of its buffers.
        handed_on: whether one of the buffers is in another job's memory, which may be gone when a
            new incarnation of the consumer needs it.
    """

    def __init__(self, message: list[Buffer], leases: list[LentBuffer], again: Callable[[], list[Buffer]]) -> None:
        super().__init__(message)
        self.leases = leases
        self._again = again
        self.handed_on = any(lease.handed_on for lease in leases)

    def for_afar(self) -> list[Buffer]:
        """Return the same message for a consumer on another machine."""
        return Leased(self._again(), self.leases, self._again)

    def add_times(self, times: bytes) -> None:
        """Add the times of the blocks, also to the message for afar."""
        again = self._again

        def timed() -> list[Buffer]:
            message = again()
            message[0] = frames.add_times(message[0], times)
            return message

        self[0] = frames.add_times(self[0], times)
        self._again = timed


def add_times(message: list[Buffer], times: bytes) -> None:
    """Add the times of its blocks to a message that is about to be sent."""
    if isinstance(message, Leased):
        message.add_times(times)
    else:
        message[0] = frames.add_times(message[0], times)


def is_leased(payload: Any) -> bool:
    """Whether the buffers of a payload, as the codec returns it, are in shared memory."""
    return type(payload) is list and len(payload) > 1 and hasattr(payload[1], "pack")


def big_message(
    place: tuple[int, int, int, int], reader: int | None, blocks: list[list[Any]], heads: list[int] | None
) -> tuple[list[Buffer], int]:
    """Return the message of large blocks, and the size of the blocks in bytes.

    Args:
        place: pipe, incarnation, generation, and sqn of the first block.
        reader: number of the consumer among the readers of this job's shared memory; None if the
            consumer is on another machine.
        blocks: one [payload, buffer, ...] or [payload, lease, ...] per block.
        heads: heads of the blocks; None if all are 0.
    """
    if not is_leased(blocks[0]):
        return frames.encode_big(*place, blocks, heads), sum(memoryview(part).nbytes for block in blocks for part in block)
    leases = [lease for _, *own in blocks for lease in own]

    def far() -> list[Buffer]:
        return frames.encode_big(*place, [[payload, *(lease.view() for lease in own)] for payload, *own in blocks], heads)

    # a consumer that moved to this machine after the buffers were lent cannot read them
    if reader is not None and all(reader in lease.readers for lease in leases):
        packed = [[payload, *(lease.pack(reader) for lease in own)] for payload, *own in blocks]
        message: list[Buffer] = [frames.encode_shared(*place, packed, heads)]
    else:
        message = far()
    return Leased(message, leases, far), sum(len(block[0]) for block in blocks) + sum(lease.nbytes for lease in leases)


def packed_message(place: tuple[int, int, int, int], reader: int | None, lease: LentBuffer, size: int) -> list[Buffer]:
    """Return the message of blocks of one length that are in shared memory, one after the other.

    Args:
        place: as in `big_message`.
        reader: as in `big_message`.
        lease: lease of their memory.
        size: length of each block, in bytes.
    """

    def far() -> list[Buffer]:
        return [frames.encode_packed(*place, size, lease.nbytes, [lease.view()])]

    if reader is None or reader not in lease.readers:
        return Leased(far(), [lease], far)
    return Leased([frames.encode_packed_shared(*place, size, lease.nbytes, lease.pack(reader))], [lease], far)
