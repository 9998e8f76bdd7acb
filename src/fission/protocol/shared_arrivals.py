"""Blocks that arrive as descriptors of shared memory.

Descriptors are replaced by the memory itself before all else, so that a block whose memory is gone
counts as never received.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from fission.errors import RemoteProtocolError
from fission.protocol.endpoint_inputs import Inputs
from fission.protocol.link_messages import Data
from fission.protocol.packed import Packed
from fission.protocol.shared_blocks import BlockGone, Descriptor

#: Returns the memory of a descriptor, given the (generation, compute block) that it is for, None
#: for an ASYNC input. Raises BlockGone.
View: TypeAlias = Callable[[Descriptor, "tuple[int, int] | None"], memoryview]


class MemoryGone(Exception):
    """A block that this job needs was in shared memory that is gone.

    Its sender replays it only to a new incarnation of this job.
    """


class SharedArrivals:
    """Looks up the memory of arriving blocks, for the inputs of one job."""

    def __init__(self, inputs: Inputs, view: View | None) -> None:
        """Prepare.

        Args:
            inputs: inputs of the job.
            view: returns the memory of a descriptor; None if this process has no shared memory.
        """
        self._inputs = inputs
        self._view = view

    def look_up(self, message: Data) -> int:
        """Replace descriptors by the memory; return the size of the message's blocks in bytes.

        Raises:
            BlockGone: the memory is gone, and its sender replays the blocks if they are needed.
            MemoryGone: the memory of blocks that this job needs is gone.
            RemoteProtocolError: this process has no shared memory.
        """
        size = 0
        for sqn, parts in enumerate(message.payloads, message.sqn):
            if len(parts) > 1 and isinstance(parts[1], Descriptor):
                if self._view is None:
                    raise RemoteProtocolError("a block in shared memory, and this process has none")
                taken_for = self._inputs.compute_block_of(message, sqn)
                try:
                    for index in range(1, len(parts)):
                        size += parts[index].length
                        parts[index] = self._view(parts[index], taken_for)
                except BlockGone as why:
                    self._check_gone(message, parts[index], why)
                    raise
                size += len(parts[0])
            else:
                size += sum(memoryview(part).nbytes for part in parts)
        return size

    def look_up_packed(self, message: Data, packed: Packed) -> int:
        """Do as `look_up` for packed blocks, which are in one piece of memory.

        Args:
            message: as in `look_up`.
            packed: its blocks.

        Raises:
            BlockGone, RemoteProtocolError: as `look_up`.
        """
        if self._view is None:
            raise RemoteProtocolError("a block in shared memory, and this process has none")
        try:
            # not for a compute block: only a whole buffer may be handed on
            packed.payload = self._view(packed.payload, None)
        except BlockGone as why:
            self._check_gone(message, packed.payload, why)
            raise
        return len(packed.payload)

    def _check_gone(self, message: Data, descriptor: Descriptor, why: BlockGone) -> None:
        """Raise MemoryGone if this job needs the message and its producer will not replay it.

        A new incarnation of a producer replays its own blocks. Memory that the producer handed on
        from another job is replayed only to a new incarnation of this job.
        """
        if descriptor.handed_on and self._inputs.lacks(message):
            raise MemoryGone(f"blocks from {message.sqn} on of pipe {message.pipe} can no longer be read: {why}") from None
