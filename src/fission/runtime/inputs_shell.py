"""The shell around all inputs of a job: their lock, their links, and shared memory of large blocks.

`fission.protocol.endpoint_inputs.Inputs` decides what is taken, released and answered. The shell
decodes messages as they arrive, and sends the answers with the lock held, so that they leave in the
order of the decisions.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from fission.errors import RemoteProtocolError
from fission.ports import Links, SharedReader
from fission.protocol import frames
from fission.protocol.batches import Batch
from fission.protocol.endpoint_inputs import Inputs
from fission.protocol.link_messages import Data
from fission.protocol.shared_blocks import BlockGone, Descriptor

log = logging.getLogger("fission.runtime")


class MemoryGone(Exception):
    """A block that this job needs was in shared memory that is gone.

    Its sender replays it only to a new incarnation of this job.
    """


class InputsShell:
    """All inputs of one job.

    `feed` and `take` belong to the job's main thread; any thread may call `release`.

    Attributes:
        machine: state machine that decides.
        aligner: aligner of the machine.
        optional: ASYNC inputs of the machine.
        rule: release rule of the machine.
        malformed: number of messages dropped because they cannot be read.
    """

    def __init__(self, machine: Inputs, links: Links, viewer: SharedReader | None = None) -> None:
        """Prepare.

        Args:
            machine: new state machine.
            links: connections that messages arrive on and answers leave by.
            viewer: reader of large buffers in shared memory; None if this process has none.
        """
        self.machine = machine
        self.aligner, self.optional, self.rule = machine.aligner, machine.optional, machine.rule
        self.malformed = 0
        self._links = links
        self._viewer = viewer
        self._lock = threading.Lock()

    def feed(self, message_frames: Sequence[frames.Buffer]) -> None:
        """Take one data message.

        Malformed messages, and those of pipes that are not inputs, are counted, logged and dropped.

        Raises:
            MemoryGone: the message has blocks that this job needs but cannot read.
        """
        machine = self.machine
        try:
            message = frames.decode(message_frames)
            if type(message) is not Data:
                self._locked(lambda: machine.opened_or_ended(message))
                return
            payloads = message.payloads
            if type(payloads[0]) is list:
                size = self._look_up(message)
            else:
                size = len(payloads[0]) if len(payloads) == 1 else sum(map(len, payloads))
            if not machine.data(message, size):
                self._locked(lambda: machine.repeated(message.pipe))
        except BlockGone as why:
            log.debug("dropped a block that was there before: %s", why)
        except RemoteProtocolError as why:
            self.malformed += 1
            log.warning("dropped a malformed message: %s", why)

    def _look_up(self, message: Data) -> int:
        """Replace descriptors of shared memory by the memory itself; return the size in bytes.

        This comes before all else, so that a block whose memory is gone counts as never received.
        """
        size = 0
        for sqn, parts in enumerate(message.payloads, message.sqn):
            if len(parts) > 1 and isinstance(parts[1], Descriptor):
                if self._viewer is None:
                    raise RemoteProtocolError("a block in shared memory, and this process has none")
                taken_for = self.machine.compute_block_of(message, sqn)
                try:
                    for index in range(1, len(parts)):
                        size += parts[index].length
                        parts[index] = self._viewer.get(parts[index], taken_for)
                except BlockGone as why:
                    self._check_gone(message, parts[index], why)
                    raise
                size += len(parts[0])
            else:
                size += sum(memoryview(part).nbytes for part in parts)
        return size

    def _check_gone(self, message: Data, descriptor: Descriptor, why: BlockGone) -> None:
        """Raise MemoryGone if this job needs the message and its producer will not replay it.

        A new incarnation of a producer replays its own blocks. Memory that the producer handed on
        from another job is replayed only to a new incarnation of this job.
        """
        if descriptor.handed_on and self.machine.lacks(message):
            raise MemoryGone(f"blocks from {message.sqn} on of pipe {message.pipe} cannot be read any more: {why}") from None

    def take(self) -> Batch | None:
        """Return the next batch, as `Inputs.take` does."""
        if not self.machine.eager:
            return self.machine.take()
        with self._lock:
            batch = self.machine.take()
            self._perform()
            return batch

    @property
    def finished(self) -> bool:
        """The value of `Inputs.finished`."""
        return self.machine.finished

    @property
    def final(self) -> bool:
        """The value of `Inputs.final`."""
        return self.machine.final

    @property
    def exhausted(self) -> bool:
        """The value of `Inputs.exhausted`."""
        return self.machine.exhausted

    def switch(self, generation: int, *, keeps: bool) -> None:
        """Call `Inputs.switch` with the lock held, and send its answers."""
        self._locked(lambda: self.machine.switch(generation, keeps=keeps))

    def wire(self, pipe: int, address: str, incarnation: int) -> None:
        """Send answers to this address from now on. See `Inputs.wire`."""
        with self._lock:
            self.machine.check(pipe)
            self._links.redirect(pipe, address)
            self.machine.wire(pipe, incarnation)
            self._perform()

    def release(self, done: int, generation: int, *, force: bool = False) -> bool:
        """Call `Inputs.release` with the lock held, and send its answers."""
        with self._lock:
            left = self.machine.release(done, generation, force=force)
            if self.machine.answers:
                self._perform()
            return left

    def pending_release(self, done: int, generation: int) -> bool:
        """Return the result of `Inputs.pending_release`, without taking the lock."""
        return self.machine.pending_release(done, generation)

    def release_generation(self, generation: int) -> None:
        """Call `Inputs.release_generation` with the lock held, and send its answers."""
        self._locked(lambda: self.machine.release_generation(generation))

    def close(self) -> None:
        """Call `Inputs.close` with the lock held, and send its answers."""
        self._locked(self.machine.close)

    def close_optional(self) -> None:
        """Call `Inputs.close_optional` with the lock held, and send its answers."""
        self._locked(self.machine.close_optional)

    def say_starved(self, through: int, done: int) -> None:
        """Call `Inputs.say_starved` with the lock held, and send its answers."""
        self._locked(lambda: self.machine.say_starved(through, done))

    def say_had(self) -> None:
        """Call `Inputs.say_had` with the lock held, and send its answers."""
        self._locked(self.machine.say_had)

    def _locked(self, act: Callable[[], None]) -> None:
        with self._lock:
            act()
            self._perform()

    def _perform(self) -> None:
        answers = self.machine.answers
        for pipe, message in answers:
            self._links.answer(pipe, message)
        answers.clear()
