"""Large outgoing buffers in shared memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from threading import get_ident, main_thread
from typing import Any, Protocol

from fission.core.new_arrays import give_away
from fission.ports import Lease, SharedReader, SharedWriter
from fission.protocol.endpoint import Endpoint
from fission.protocol.messages.job_to_client import JobToClient, JobWarning
from fission.protocol.packed import pack_into
from fission.protocol.shared_blocks import SMALLEST_BYTES


class Reporting(Protocol):
    """The shell of a job's endpoint, as far as `Lending` needs it.

    Attributes:
        endpoint: the endpoint.
    """

    endpoint: Endpoint

    def watched(self, pipe: int) -> bool:
        """Whether an output has a watcher."""
        ...

    def say(self, message: JobToClient, payload: bytes = b"") -> None:
        """Send a message to the client."""
        ...


class Lending:
    """Puts the large buffers of one job into shared memory.

    Attributes:
        lender: the shared memory.
    """

    def __init__(
        self, shell: Reporting, lender: SharedWriter, viewer: SharedReader | None, handed_on: Mapping[int, Mapping[int, int]]
    ) -> None:
        """Prepare.

        Args:
            shell: shell of the job's endpoint.
            lender: shared memory, with the outputs as its readers, in their order.
            viewer: reader of large incoming buffers; None without inputs.
            handed_on: as in `JobBundle`.
        """
        self.lender = lender
        self._shell, self._viewer, self._handed_on = shell, viewer, handed_on
        self._warned = False
        self._thread = main_thread().ident

    def allocate(self, size: int) -> Any:
        """Return shared memory for an array that the job may return; None if there is none for it.

        Call it in the thread that calls `lend`.

        Args:
            size: size of the array in bytes.
        """
        near = size >= SMALLEST_BYTES and any(output.near for output in self._shell.endpoint.outputs)
        return self.lender.allocate(size) if near else None

    def lend_blocks(self, index: int, blocks: list[bytes]) -> Lease | None:
        """Put blocks of one length into shared memory; return None if they must travel another way.

        Any thread may call it, but memory is taken only in the main one, as for `lend`.

        Args:
            index: index of the output that sends them.
            blocks: the blocks.
        """
        output = self._shell.endpoint.outputs[index]
        # a watcher of an output gets a limited share of what is in shared memory
        if get_ident() != self._thread or self._shell.watched(output.pipe):
            return None
        memory = self.lender.allocate(len(blocks) * len(blocks[0]))
        if memory is None:
            return None
        pack_into(memory, blocks)
        return self.lender.lend_memory(memory, (index,))

    def lend(self, buffer: Any, readers: Sequence[int] | None = None) -> Lease | None:
        """Put a large buffer into shared memory; return None if it must travel another way.

        The buffer is copied, unless it is an array of `PythonJob.new_array`, or the job received it
        for this compute block and returns it unchanged.

        Args:
            buffer: buffer to lend.
            readers: indices of the outputs that send it; by default all.
        """
        memory = give_away(buffer)
        outputs = self._shell.endpoint.outputs
        near = [one for one in (range(len(outputs)) if readers is None else readers) if outputs[one].near]
        if not near:
            return None  # no consumer is on this machine
        received = self._received(buffer, near) if self._handed_on and self._viewer is not None else None
        if received is not None:
            return received
        lease = None if memory is None else self.lender.lend_memory(memory, near)
        if lease is not None:
            return lease
        lease = self.lender.lend(buffer, near)
        if lease is None and self.lender.refused:
            self._shell.endpoint.counter.not_shared = self.lender.refused
            if not self._warned:
                self._warned = True
                self._shell.say(JobWarning(text="shared memory is full; large blocks use sockets until space frees up"))
        return lease

    def _received(self, buffer: memoryview, outputs: Sequence[int]) -> Lease | None:
        """Return the lease of a buffer that the job has received, and that may be handed on."""
        taken = self._viewer.taken(buffer) if self._viewer is not None else None
        numbers = self._handed_on.get(taken.producer) if taken is not None else None
        if taken is None or numbers is None or not all(one in numbers for one in outputs):
            return None
        # only a buffer that is not released before this block's outputs are: until then, its producer does not reuse the slot
        works_on = self._shell.endpoint.inputs.works_on(taken.taken_for)
        return taken.lease({one: numbers[one] for one in outputs}) if works_on else None
