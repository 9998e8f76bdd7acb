"""All pipes of one job, as used by the job's loop."""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from fission.core.base import BaseJob
from fission.core.jobs import ExecutableJob
from fission.ports import JobBundle, Lease, Links, SharedReader, SharedWriter
from fission.protocol import frames
from fission.protocol.dropping import DroppingOutput
from fission.protocol.endpoint_inputs import Inputs
from fission.protocol.link_messages import JobMessage
from fission.protocol.messages.job_to_client import JobHello, JobToClient, JobWarning, LinesTaken, WorkDone
from fission.protocol.output import Output
from fission.protocol.pacing import IDLE_S, PRESS_S
from fission.protocol.unbounded_outputs import UnboundedOutputs
from fission.protocol.window import NO_LIMIT, SendWindow
from fission.runtime.checkpointer import make_checkpointer
from fission.runtime.console import Console
from fission.runtime.control import NEVER, Control
from fission.runtime.counts import Counter
from fission.runtime.inputs_shell import InputsShell
from fission.runtime.optional_inputs import OptionalInputs
from fission.runtime.output_shell import DroppingOutputShell, OutputShell
from fission.runtime.sink_position import SinkSync
from fission.runtime.specs import input_spec, optional_spec
from fission.runtime.surroundings import PROCESS, Surroundings


class JobPipes(ABC):
    """The pipes of one job, except for the handling of control messages and time.

    Attributes:
        outputs: shells in the order of the job's outputs.
        machines: state machine of each output.
        inputs: shell around all inputs.
        console: lines typed for this job.
        checkpointer: manager of the job's snapshots; None without CHECKPOINT.
        stored: retained values of the ASYNC inputs.
        counter: statistics of this incarnation.
        begun: whether the job's loop has begun with its first compute block.
        finishing: whether all the job's work is done.
        reset_to: generation in which the client wants a source to number.
        pressed: whether a producer, direct or further upstream, waits for a release that a snapshot
            of this job may hold back; cleared by the loop.
        starved_s: seconds spent waiting for blocks, without the current wait.
        starved_since: moment of ``clock`` at which the current wait began; 0 if there is none.
        rule: release rule of the inputs.
        clock: function that returns the time in seconds.
        noted: event set when the client has recorded that all the job's work is done.
        pump: function called while an output waits for room, for jobs whose inputs must not wait
            meanwhile; None for others.
    """

    def __init__(
        self,
        job: BaseJob,
        bundle: JobBundle,
        links: Links,
        lender: SharedWriter | None = None,
        viewer: SharedReader | None = None,
        surroundings: Surroundings = PROCESS,
    ) -> None:
        """Prepare; nothing is sent before `start`.

        Args:
            job: job that owns the pipes.
            bundle: settings of the job.
            links: connections of the job; `close` closes them.
            lender: shared memory for large outgoing buffers, with the outputs as its readers, in
                their order; None if there is none.
            viewer: reader of large incoming buffers.
            surroundings: services of the process.
        """
        self._surroundings = surroundings
        self.clock = surroundings.clock
        self.lender = lender
        self._viewer = viewer
        self._refusals_told = False
        self._links = links
        self._bundle = bundle
        self._woken = self._idle = False
        self.pressed = False
        self._pressed_at, self._pressed_behind = -PRESS_S, 0
        self.noted = threading.Event()
        self._ended_with: WorkDone | None = None
        self._abandoned = False
        self._is_source = job._fission_is_source
        self.begun = self.finishing = False
        self.reset_to = bundle.generation
        self.console = Console(lambda lines: self.say(LinesTaken(lines=lines)))
        self.starved_s = self.starved_since = 0.0
        self._sink: SinkSync | None = None
        self.checkpointer = make_checkpointer(job, bundle, self.say, surroundings)
        inputs = Inputs(
            [input_spec(pipe, job.MAX_QUEUE) for pipe in job.inputs if not pipe.ASYNC],
            [optional_spec(pipe, bundle) for pipe in job.inputs if pipe.ASYNC],
            incarnation=bundle.incarnation,
            head_size=bundle.head_size,
            window_blocks=bundle.window_blocks,
            window_bytes=bundle.window_bytes,
        )
        self.inputs = InputsShell(inputs, links, viewer)
        self.rule = self.inputs.rule
        self.rule.snapshots = self.checkpointer
        self.stored = OptionalInputs(self.inputs.optional, self.say if bundle.wiring.client else None)
        self.control: Control = surroundings.control(links, self)
        # an executable's outputs have threads of their own, and inputs belong to the main thread
        self.pump = self.drain_inputs if bundle.feedback and not isinstance(job, ExecutableJob) else None
        self.crowds = UnboundedOutputs(job)
        self._needed = {pipe.id: bundle.needed.get(pipe.id, pipe.BLOCK_COUNT) for pipe in job.outputs}
        self.outputs = [self._make_output(pipe, index) for index, pipe in enumerate(job.outputs)]
        self.machines = [output.machine for output in self.outputs]
        self.rule.outputs = self.machines
        self.counter = Counter(self.inputs, self.machines, lender, numbers_itself=job._fission_is_source)
        self._by_pipe = {output.pipe: output for output in self.outputs}
        # for each ASYNC output, the blocks that its consumer may retain after taking them: a group, and the beginning of the next one
        self._async = {pipe.id: 2 * pipe.BLOCK_COUNT - 1 if pipe.OPTIONAL_STORE else 0 for pipe in job.outputs if pipe.ASYNC}

    def _make_output(self, pipe: Any, index: int) -> OutputShell:
        bundle = self._bundle
        place: Any = pipe.id, bundle.incarnation, self._window(pipe.id)
        max_queue = bundle.max_queues.get(pipe.id, 0)
        kind = OutputShell
        if max_queue and not pipe.ASYNC:
            kind = DroppingOutputShell
            machine: Output = DroppingOutput(*place, reader=index, max_queue=max_queue, needed=pipe.BLOCK_COUNT)
        else:
            machine = Output(*place, reader=index, repeats=pipe.ASYNC)
        machine.lift(bundle.generation)
        # if the consumer's address is not known yet, the command that brings it also says whether the consumer is near
        machine.near = bool(bundle.wiring.outputs[pipe.id]) and not bundle.wiring.outputs[pipe.id].startswith("tcp:")
        if pipe.id in bundle.closed:
            machine.close()
        return kind(machine, self._links, arm=self.control.arm, pump=self.pump, clock=self.clock, waits=self._surroundings.waits)

    def _window(self, pipe: int) -> SendWindow[list[frames.Buffer]]:
        if pipe in self.crowds.pipes:
            # waiting blocks must stay here until they are taken, for a new incarnation of the consumer: memory is the only limit
            return SendWindow(NO_LIMIT, NO_LIMIT)
        return SendWindow(self._bundle.window_blocks, self._bundle.window_bytes, needed=self._needed[pipe])

    def start(self) -> None:
        """Open all links, start the control thread and send the hello: now the job runs."""
        for output in self.outputs:
            output.open(self._bundle.generation if self._is_source else 0)
        if self._is_source:
            self.inputs.switch(self._bundle.generation, keeps=False)
        self.control.arm(self.stored.start(self.clock()))
        self.control.start()
        self.say_hello()

    def say_hello(self) -> None:
        """Any thread: report to the client that the job runs, and where other machines reach it."""
        self.say(JobHello(process=os.getpid(), addresses=dict(self._links.addresses)))

    def begin(self, first: int, first_output: int = 0) -> None:
        """Begin the job's loop with compute block ``first``; all earlier blocks are finished.

        Args:
            first: number of the first compute block.
            first_output: number of the outputs' first block; 0 if it is the same as ``first``.
        """
        self.begun = True
        self.rule.done = first - 1
        for output in self.outputs:
            output.begin(first_output or first)
        self.inputs.say_had()
        self.release(force=True)

    def switch(self, generation: int) -> None:
        """Continue the job's loop in a new generation; its outputs number from 1 again."""
        self.counter.switch()
        for output in self.outputs:
            output.restart(generation, self._window(output.pipe))
        self.inputs.switch(generation, keeps=not self._is_source)  # last: the outputs know only now which older blocks they keep

    def flush(self) -> None:
        """Send the blocks held back, because the job is about to wait."""
        for output in self.outputs:
            output.flush()

    def receive(self) -> bool:
        """Take the next message of any input.

        If there is none, flush and block. Returns False if the job was woken up instead.
        """
        # if the job waited for the last message, it will wait for this one too: skipping the poll frees the CPU for the transport sooner
        message = None if self._idle else self._links.receive(wait=False)
        if message is None:
            self.flush()
            self.release()  # also blocks that belong to no compute block: blocks without partners, and duplicates
            # the poll above may have consumed the wake-up, which comes only once
            if not self._woken:
                self.starved_since = self.clock()
                message = self._links.receive()
                waited = self.clock() - self.starved_since
                self._idle = waited > IDLE_S
                self.starved_s += waited
                self.starved_since = 0.0
            if message is None:
                self._woken = False
                return False
        self._feed(message)
        return True

    def poll(self) -> bool:
        """Do as `receive`, but without waiting; return whether a message or a wake-up arrived."""
        self.flush()
        self.release(force=True)
        message = self._links.receive(wait=False)
        woken, self._woken = self._woken, False
        if message is not None:
            self._feed(message)
        return message is not None or woken

    def serve(self) -> bool:
        """Take every control message where no control thread runs; return whether any came."""
        found = False
        while (message := self._links.control(0)) is not None:
            found = True
            self.on_message(message)
        return found

    def answer_pressed(self, done: int) -> None:
        """Report the progress of this job, and of all jobs after it, to waiting producers.

        Args:
            done: last compute block that this job itself has processed.
        """
        self.pressed = False
        behind = (self.worked_off(output) for output in self.machines if not output.closed)
        self.inputs.say_starved(min([done, *behind]), done)

    def worked_off(self, output: Output) -> int:
        """Return the last block of an output that is reported as processed.

        The reports come from its consumer and from all jobs after it.
        """
        keeps = self._async.get(output.pipe)
        return output.through if keeps is None else min(output.released + keeps, output.last[1])

    def _feed(self, message: list[frames.Buffer]) -> None:
        self.inputs.feed(message)
        if self.inputs.machine.pressed:
            # jobs further downstream may hold back releases for a snapshot too; the request arrives on many paths, and is passed on
            # once after each block
            self.inputs.machine.pressed, self.pressed = False, True
            now, sent = self.clock(), sum(output.sent for output in self.machines)
            if now - self._pressed_at >= PRESS_S / 2 or sent != self._pressed_behind:
                self._pressed_at, self._pressed_behind = now, sent
                for output in self.outputs:
                    output.press()

    def advance(self, number: int) -> None:
        """Record compute blocks up to ``number`` as processed by this job; release its inputs."""
        self.rule.done = number
        self.release()

    def release(self, *, force: bool = False) -> None:
        """Any thread: release the inputs of finished compute blocks.

        Args:
            force: whether to release at once, even if few blocks have accumulated.
        """
        inputs, rule = self.inputs, self.rule
        if inputs.optional:
            self.stored.hand_over()
        if self._sink is not None:
            self._arm_sync(self._sink)
        if not rule.worth_a_look(force=force):
            return  # for speed: the control thread releases a small remainder when it is due
        generation = rule.generation  # read before the number that belongs to it; see `ReleaseRule.switch`
        left = inputs.release(rule.finished_upto(), generation, force=force)
        self._release_older()
        # also for jobs with outputs: the release of an output may have arrived before this thread recorded the block as done
        if left:
            self.control.arm(rule.left(self.clock()))

    @property
    def sink(self) -> SinkSync | None:
        """The file of the sink; None for a job without one."""
        return self._sink

    @sink.setter
    def sink(self, sink: SinkSync | None) -> None:
        self._sink = self.rule.device = sink

    def _arm_sync(self, sink: SinkSync) -> None:
        """Have the control thread sync the sink's file, at once if blocks may fill a window."""
        due = sink.due(self.clock(), hurry=self.rule.device_hurries)
        if due < NEVER:
            self.control.arm(due)

    def _release_older(self) -> None:
        if self.rule.older:
            for generation in self.rule.older_released():
                self.inputs.release_generation(generation)

    @property
    def unwanted(self) -> bool:
        """Whether the job has outputs and no consumer needs any of them any longer."""
        for output in self.machines:  # a loop, not a generator: this runs before each wait
            if not output.closed:
                return False
        return bool(self.outputs)

    def finish(self, *, tell: bool) -> None:
        """End the job's pipes, and block until their ends have arrived.

        The order is: end the outputs, wait until every block is released, close the inputs, and
        wait until the ends have arrived.

        Args:
            tell: whether to send the ends of the outputs.
        """
        self.finishing = True
        self.end(tell=tell)
        for output in self.outputs:
            output.wait_released()
        if self._abandoned:
            return  # the job was stopped, it has not ended
        if self._bundle.wiring.client:
            # if this process dies from now on, the job still counts as ended: the inputs are gone, so no new incarnation could begin
            self.say_ended(tell=tell)
            self.noted.wait()
        for output in self.outputs:
            output.finalize()
        # close the inputs now, even if this job did not take all blocks: the ends below may wait for jobs that its producers also feed
        self.inputs.close()
        for output in self.outputs:
            output.wait_closed()

    def say_ended(self, *, tell: bool) -> None:
        """Report to the client that all the job's work is done, and the last block of each output.

        `finish` continues when the client has recorded this.
        """
        ends = {output.pipe: output.last for output in self.machines if tell and not output.closed}
        self._ended_with = WorkDone(ends=ends, counts=self.counter.counts())
        self.say(self._ended_with)

    def end(self, *, tell: bool) -> None:
        """End the outputs (if ``tell``), because the job computes nothing further."""
        # in a cycle of jobs, the job that must release our outputs may itself wait for us to take the blocks that it sends
        self.inputs.close_optional()
        if tell:
            self.end_outputs()

    def end_outputs(self, *, more: bool = False) -> None:
        """Notify all consumers that nothing follows, or (``more``) only a new generation.

        Idempotent.
        """
        for output in self.outputs:
            output.end(more=more)

    def abandon(self) -> None:
        """Any thread, in any state: send nothing further, and let the loop see unwanted outputs."""
        self._abandoned = True
        for output in self.machines:
            output.closed = True

    def close(self, linger: float) -> None:
        """Stop the control thread and close the links."""
        self.control.stop()
        self._links.close(linger)

    def wake(self) -> None:
        """Make the `receive` that waits, or the next one that would wait, return False."""
        self._woken = True
        self._links.wake()

    def say(self, message: JobToClient, payload: bytes = b"") -> None:
        """Any thread: send a message to the client."""
        self._links.tell(frames.encode_job_message(JobMessage(self._bundle.job_id, self._bundle.incarnation, message, payload)))

    def lend(self, buffer: Any, readers: Sequence[int] | None = None) -> Lease | None:
        """Put a large buffer into shared memory; return None if it must travel another way.

        The buffer is copied, unless the job received it for this compute block and returns it
        unchanged.

        Args:
            buffer: buffer to lend.
            readers: indices of the outputs that send it; by default all.
        """
        near = [one for one in (range(len(self.outputs)) if readers is None else readers) if self.machines[one].near]
        if not near:
            return None  # no consumer is on this machine
        handed_on = self._handed_on(buffer, near) if self._bundle.handed_on and self._viewer is not None else None
        if handed_on is not None:
            return handed_on
        lease = self.lender.lend(buffer, near) if self.lender is not None else None
        if lease is None and self.lender is not None and self.lender.refused and not self._refusals_told:
            self._refusals_told = True
            self.say(JobWarning(text="shared memory is full; large blocks use sockets until space frees up"))
        return lease

    def _handed_on(self, buffer: memoryview, outputs: Sequence[int]) -> Lease | None:
        taken = self._viewer.taken(buffer) if self._viewer is not None else None
        numbers = self._bundle.handed_on.get(taken.producer) if taken is not None else None
        if taken is None or numbers is None or not all(one in numbers for one in outputs):
            return None
        # only a buffer that is not released before this block's outputs are: until then, its producer does not reuse the slot
        return taken.lease({one: numbers[one] for one in outputs}) if self.inputs.machine.works_on(taken.taken_for) else None

    def drain_inputs(self) -> None:
        """Take every message that has arrived, and release all finished blocks."""
        message = self._links.receive(wait=False)
        while message is not None:
            self._feed(message)
            message = self._links.receive(wait=False)
        self.release(force=True)

    # called by the control thread

    @abstractmethod
    def tick(self, now: float) -> float:
        """Do what is due; return the moment of the next call, infinity if there is none."""

    @abstractmethod
    def on_message(self, message_frames: list[frames.Buffer]) -> None:
        """Take one control message."""
