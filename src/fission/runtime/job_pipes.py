"""All pipes of one job, as its loop uses them."""

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
from fission.protocol.frames import JobMessage
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
    """The pipes of one job, but for what others say of them.

    Attributes:
        outputs: in the order of the job's outputs.
        machines: what decides for each of them.
        inputs: all its inputs.
        console: lines that were typed for this job.
        keeper: of its snapshots; None without CHECKPOINT.
        stored: by its ASYNC inputs.
        counter: of what happened.
        begun: whether the job's loop has begun with its first compute block.
        finishing: whether all its work is done.
        reset_to: the generation that the client wants a source to number in.
        pressed: a producer, or one before it, waits for a release that a snapshot of this job may hold back. Set back by the loop.
        starved_s: seconds spent waiting for blocks, without the wait that goes on since ``starved_since`` (of ``clock``; 0: none).
        rule: decides when inputs are released.
        clock: gives the time in seconds.
        noted: set when the client has noted that all the job's work is done.
        pump: called while an output waits for room, where the inputs must not wait meanwhile; None elsewhere.
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
            job: whose pipes.
            bundle: its settings.
            links: its wires; `close` closes them.
            lender: shared memory for big buffers that go out, its readers being the outputs in their order; None: there is none.
            viewer: of big buffers that come in.
            surroundings: what is taken from the process.
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
        # of each ASYNC output, the blocks that its consumer may keep although it has taken them: a group, and the beginning of the next
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
        # where the consumer's address is not known yet, the command that gives it says whether it is near
        machine.near = bool(bundle.wiring.outputs[pipe.id]) and not bundle.wiring.outputs[pipe.id].startswith("tcp:")
        if pipe.id in bundle.closed:
            machine.close()
        return kind(machine, self._links, arm=self.control.arm, pump=self.pump, clock=self.clock, waits=self._surroundings.waits)

    def _window(self, pipe: int) -> SendWindow[list[frames.Buffer]]:
        if pipe in self.crowds.pipes:
            # what waits must be kept here until it is taken, for a new life of the consumer: memory is the only limit
            return SendWindow(NO_LIMIT, NO_LIMIT)
        return SendWindow(self._bundle.window_blocks, self._bundle.window_bytes, needed=self._needed[pipe])

    def start(self) -> None:
        """Open all links, start the control thread and say hello: from here on, the job runs."""
        for output in self.outputs:
            output.open(self._bundle.generation if self._is_source else 0)
        if self._is_source:
            self.inputs.switch(self._bundle.generation, keeps=False)
        self.control.arm(self.stored.start(self.clock()))
        self.control.start()
        self.say_hello()

    def say_hello(self) -> None:
        """Any thread: tell the client that the job lives, and where other machines reach it."""
        self.say(JobHello(process=os.getpid(), addresses=dict(self._links.addresses)))

    def begin(self, first: int, first_output: int = 0) -> None:
        """The job's loop begins with compute block ``first``; what is before it is finished.

        ``first_output``: the number of the outputs' first block, where it is another one.
        """
        self.begun = True
        self.rule.done = first - 1
        for output in self.outputs:
            output.begin(first_output or first)
        self.inputs.say_had()
        self.release(force=True)

    def switch(self, generation: int) -> None:
        """The job's loop goes on in a new generation: its outputs number from 1 again."""
        self.counter.switch()
        for output in self.outputs:
            output.restart(generation, self._window(output.pipe))
        self.inputs.switch(generation, keeps=not self._is_source)  # last: only now the outputs tell what they keep of the older one

    def flush(self) -> None:
        """Send what is held: the job is about to wait."""
        for output in self.outputs:
            output.flush()

    def receive(self) -> bool:
        """Take the next message of any input. Blocks, after a flush, if there is none; False if it was woken up instead."""
        # where the last message was waited for, this one will be too: without a look, the job's processor is free for the transport sooner
        message = None if self._idle else self._links.receive(wait=False)
        if message is None:
            self.flush()
            self.release()  # what needs no compute block too: blocks without partners, or that were there before
            # the look above may have met the wake-up instead of a message, and it comes only once
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
        """As `receive`, but without waiting; return whether there was a message, or the job was woken up."""
        self.flush()
        self.release(force=True)
        message = self._links.receive(wait=False)
        woken, self._woken = self._woken, False
        if message is not None:
            self._feed(message)
        return message is not None or woken

    def serve(self) -> bool:
        """Do the control thread's work where there is none: take every control message; return whether there was one."""
        found = False
        while (message := self._links.control(0)) is not None:
            found = True
            self.on_message(message)
        return found

    def answer_pressed(self, done: int) -> None:
        """Tell the producers that wait how far this job and all behind it have worked off what they sent; ``done``: this job itself."""
        self.pressed = False
        behind = (self.worked_off(output) for output in self.machines if not output.closed)
        self.inputs.say_starved(min([done, *behind]), done)

    def worked_off(self, output: Output) -> int:
        """The number up to which an output's consumer, and all after it, have worked off its blocks, as far as they have said."""
        keeps = self._async.get(output.pipe)
        return output.through if keeps is None else min(output.released + keeps, output.last[1])

    def _feed(self, message: list[frames.Buffer]) -> None:
        self.inputs.feed(message)
        if self.inputs.machine.pressed:
            # those further on may hold snapshots back too; it comes on many ways, and is told once behind each block
            self.inputs.machine.pressed, self.pressed = False, True
            now, sent = self.clock(), sum(output.sent for output in self.machines)
            if now - self._pressed_at >= PRESS_S / 2 or sent != self._pressed_behind:
                self._pressed_at, self._pressed_behind = now, sent
                for output in self.outputs:
                    output.press()

    def advance(self, number: int) -> None:
        """Compute blocks up to ``number`` are done with, as far as this job's work goes; release what can be."""
        self.rule.done = number
        self.release()

    def release(self, *, force: bool = False) -> None:
        """Any thread: release the inputs of what is done with, where enough has gathered or ``force`` says so."""
        inputs, rule = self.inputs, self.rule
        if inputs.optional:
            self.stored.hand_over()
        if self._sink is not None:
            self._arm_sync(self._sink)
        if not rule.worth_a_look(force=force):
            return  # for speed: what little there is, the control thread releases when its time has come
        generation = rule.generation  # before the number that counts in it; see `ReleaseRule.switch`
        left = inputs.release(rule.finished_upto(), generation, force=force)
        self._release_older()
        # also with outputs: their release may have come before this thread had said that it is done
        if left:
            self.control.arm(rule.left(self.clock()))

    @property
    def sink(self) -> SinkSync | None:
        """The file of a sink that has one."""
        return self._sink

    @sink.setter
    def sink(self, sink: SinkSync | None) -> None:
        self._sink = self.rule.device = sink

    def _arm_sync(self, sink: SinkSync) -> None:
        """Have the control thread sync what the sink has written: at once where a window may be full of it."""
        due = sink.due(self.clock(), hurry=self.rule.device_hurries)
        if due < NEVER:
            self.control.arm(due)

    def _release_older(self) -> None:
        if self.rule.older:
            for generation in self.rule.older_released():
                self.inputs.release_generation(generation)

    @property
    def unwanted(self) -> bool:
        """Whether the job has outputs and nobody needs any of them any more."""
        for output in self.machines:  # no generator: it is asked for before each wait
            if not output.closed:
                return False
        return bool(self.outputs)

    def finish(self, *, tell: bool) -> None:
        """End the outputs (if ``tell``), block until everything was released, let go of the inputs, block until the ends have arrived."""
        self.finishing = True
        self.end(tell=tell)
        for output in self.outputs:
            output.wait_released()
        if self._abandoned:
            return  # it has not ended, it was told to
        if self._bundle.wiring.client:
            # if this process dies from here on, the job has ended all the same: the inputs are gone, and nobody could begin again
            self.say_ended(tell=tell)
            self.noted.wait()
        for output in self.outputs:
            output.finalize()
        # now, also what this job did not take: the ends below may wait for jobs that its producers feed too
        self.inputs.close()
        for output in self.outputs:
            output.wait_closed()

    def say_ended(self, *, tell: bool) -> None:
        """Tell the client that all the job's work is done, and what its outputs end with; `finish` goes on when it has noted that."""
        ends = {output.pipe: output.last for output in self.machines if tell and not output.closed}
        self._ended_with = WorkDone(ends=ends, counts=self.counter.counts())
        self.say(self._ended_with)

    def end(self, *, tell: bool) -> None:
        """The job computes nothing any more: end the outputs (if ``tell``)."""
        # in a circle of jobs, the one that is to release our outputs may itself wait for us to take what it sends
        self.inputs.close_optional()
        if tell:
            self.end_outputs()

    def end_outputs(self, *, more: bool = False) -> None:
        """Tell all consumers that nothing follows, or (``more``) nothing but a new generation. Calling it twice is right."""
        for output in self.outputs:
            output.end(more=more)

    def abandon(self) -> None:
        """Any thread, in any state: nothing goes out any more, and the job's loop finds that nobody wants its outputs."""
        self._abandoned = True
        for output in self.machines:
            output.closed = True

    def close(self, linger: float) -> None:
        """Stop the control thread and give the links back."""
        self.control.stop()
        self._links.close(linger)

    def wake(self) -> None:
        """Make a `receive` that waits, or the next one that would, return False."""
        self._woken = True
        self._links.wake()

    def say(self, message: JobToClient, payload: bytes = b"") -> None:
        """Any thread: send a message to the client."""
        self._links.tell(frames.encode_job_message(JobMessage(self._bundle.job_id, self._bundle.incarnation, message, payload)))

    def lend(self, buffer: Any, readers: Sequence[int] | None = None) -> Lease | None:
        """Put a big buffer into shared memory for some outputs (by default all); None if it must go another way.

        It is copied, but for one that the job was given for this compute block and returns as it is.
        """
        near = [one for one in (range(len(self.outputs)) if readers is None else readers) if self.machines[one].near]
        if not near:
            return None  # nobody is on this machine
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
        # only what is not released before this block's outputs are: then its producer uses the slot for nothing else meanwhile
        return taken.lease({one: numbers[one] for one in outputs}) if self.inputs.machine.works_on(taken.taken_for) else None

    def drain_inputs(self) -> None:
        """Take every message that has arrived, and release what can be released."""
        message = self._links.receive(wait=False)
        while message is not None:
            self._feed(message)
            message = self._links.receive(wait=False)
        self.release(force=True)

    # called by the control thread

    @abstractmethod
    def tick(self, now: float) -> float:
        """Do what is due; return the moment of the next look, infinity if there is none."""

    @abstractmethod
    def on_message(self, message_frames: list[frames.Buffer]) -> None:
        """Take one control message."""
