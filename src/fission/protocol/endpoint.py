"""One job's ends of all its pipes: what arrives, what is sent, what is kept and what is released.

`Endpoint` is to a job what a connection is to a protocol library: events go in, effects come out,
and it has no lock, thread, socket or clock. docs/endpoint.md explains it. The parts that it
consists of can be read alone:

    inputs              `endpoint_inputs`, with `align`, `optional`, `release`
    outputs             `output` and `dropping`, with `replay_buffer`, `window`, `joined`, `pacing`
    checkpoints         `checkpointing`, with `checkpoint`
    retained values     `retained_values`
    the end             `ending`
    commands            `endpoint_commands`
    statistics          `counts`, `unbounded_outputs`
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fission.errors import LocalProtocolError, RemoteProtocolError
from fission.protocol import frames
from fission.protocol.activity import WaitClock
from fission.protocol.batches import Batch
from fission.protocol.block_times import LOOK_AT, BlockTimes
from fission.protocol.checkpointing import Checkpointing
from fission.protocol.counts import Counter
from fission.protocol.dropping import DroppingOutput
from fission.protocol.ending import EndStage, JobEnd
from fission.protocol.endpoint_commands import EndpointCommands
from fission.protocol.endpoint_effects import Arm, Effect, SayHello, TellClient, Wake
from fission.protocol.endpoint_inputs import Inputs
from fission.protocol.endpoint_spec import EndpointSpec, OutputSpec
from fission.protocol.frames import Buffer
from fission.protocol.large_blocks import LentBuffer
from fission.protocol.link_messages import Command, Data, Message, Release, Stamp, Starved, Times
from fission.protocol.messages.job_to_client import JobWarning, LatencySample, WorkDone
from fission.protocol.output import Output
from fission.protocol.pacing import PRESS_S
from fission.protocol.progress import Doing
from fission.protocol.release import NEVER
from fission.protocol.retained_values import RetainedValues
from fission.protocol.shared_arrivals import SharedArrivals, View
from fission.protocol.shared_blocks import Descriptor
from fission.protocol.stamps import OutputStamps, Stamps
from fission.protocol.unbounded_outputs import UnboundedOutputs
from fission.protocol.window import NO_LIMIT, SendWindow


class Endpoint:
    """All pipes of one incarnation of a job.

    After each call, perform `effects` in order, remove them, and call `performed`. An illegal call
    raises LocalProtocolError, an illegal message RemoteProtocolError; both change nothing.

    Calls need the caller's lock, except for those marked *job's thread*: only the thread of the
    job's loop makes them, while another thread may make any call that needs the lock. Any thread
    may read attributes.

    Attributes:
        effects: actions for the caller, in order; see `fission.protocol.endpoint_effects`.
        spec: what was known from the beginning.
        inputs: all inputs.
        outputs: outputs, in the order of the job.
        by_pipe: outputs, by pipe.
        stamps: stamps that have arrived.
        times: times of the job's blocks.
        rule: release rule of the inputs.
        checkpoints: decisions about snapshots; None without CHECKPOINT.
        retained: retained values of the ASYNC inputs.
        counter: statistics.
        ending: the end of the job.
        begun: whether the job's loop has begun with its first compute block.
        finishing: whether all the job's work is done.
        reset_to: generation in which the client wants a source to number.
        pressed: whether a producer, direct or further upstream, waits for a release that a snapshot
            of this job may hold back; cleared by `answer_pressed`.
        starved_s: time spent waiting for blocks, in seconds, without the current wait.
        starved_since: time at which the current wait for a message began, in seconds; 0 if there is
            none.
        room_wait: time in which an output, or several, waited for room.
        next_deadline: time of the next `tick`, in seconds; infinity if there is none.
    """

    def __init__(self, spec: EndpointSpec, view: View | None = None) -> None:
        """Prepare; `start` opens the pipes.

        Args:
            spec: description of the pipes.
            view: returns the shared memory of a descriptor; None if this process has none.
        """
        self.spec = spec
        self.effects: list[Effect] = []
        self.inputs = Inputs(
            spec.inputs,
            spec.optional,
            incarnation=spec.incarnation,
            head_size=spec.head_size,
            window_blocks=spec.window_blocks,
            window_bytes=spec.window_bytes,
            effects=self.effects,
        )
        self.rule = self.inputs.rule
        self.outputs = [self._make_output(output, index) for index, output in enumerate(spec.outputs)]
        self.stamps = Stamps({one.pipe: one.block_count for one in spec.inputs}, measured=spec.measured, ratio=spec.ratio)
        self.times = BlockTimes(
            {one.pipe: one.block_count for one in spec.inputs},
            own=spec.is_source,
            ratio=spec.ratio,
            used=self._used_times,
            asked_on={one.pipe: max(2 * spec.window_blocks, LOOK_AT) for one in spec.inputs if one.asked},
        )
        for output, one in zip(self.outputs, spec.outputs, strict=True):
            output.times = self.times if one.timed else None
            output.asks = one.timed and one.asks
        self.inputs.times = self.times
        self.by_pipe = {output.pipe: output for output in self.outputs}
        self.rule.outputs = self.outputs
        self.checkpoints = None if spec.checkpoint is None else Checkpointing(spec.checkpoint, self.effects)
        self.rule.snapshots = self.checkpoints
        self.retained = RetainedValues(self.inputs.optional, client=spec.client, effects=self.effects)
        self.counter = Counter(self.inputs, self.outputs, numbers_itself=spec.is_source, judged=spec.judged)
        self.ending = JobEnd(self.outputs, self.inputs, self._report_end if spec.client else None)
        self.begun = self.finishing = False
        self.reset_to = spec.generation
        self.pressed = False
        self.starved_s = self.starved_since = 0.0
        self.room_wait = WaitClock()
        self.next_deadline = NEVER
        self._arrivals = SharedArrivals(self.inputs, view)
        self._unbounded = UnboundedOutputs({output.pipe: output.unbounded for output in spec.outputs if output.unbounded})
        # for each ASYNC output, the number of blocks that its consumer may retain after taking them
        self._retained = {output.pipe: output.retained for output in spec.outputs if output.asynchronous}
        self._commands = EndpointCommands(self)
        self._pressed_at, self._sent_then = -PRESS_S, 0
        # of a compute block, the share that a block is
        self._share = 1 / max(1, sum(one.block_count for one in spec.inputs))

    def _make_output(self, spec: OutputSpec, index: int) -> Output:
        place: Any = spec.pipe, self.spec.incarnation, self._window(spec)
        if spec.max_queue and not spec.asynchronous:
            output: Output = DroppingOutput(*place, reader=index, effects=self.effects, max_queue=spec.max_queue, needed=spec.block_count)
        else:
            output = Output(*place, reader=index, repeats=spec.asynchronous, effects=self.effects)
        output.lift(self.spec.generation)
        output.near, output.packs = spec.near, spec.packs
        if self.spec.is_source and self.spec.job and not spec.asynchronous:
            output.stamps = OutputStamps((self.spec.job, self.spec.incarnation))
        if spec.closed:
            output.close()
        return output

    def _window(self, spec: OutputSpec) -> SendWindow[list[Buffer]]:
        if spec.unbounded:
            # waiting blocks must stay here until they are taken, for a new incarnation of the consumer: memory is the only limit
            return SendWindow(NO_LIMIT, NO_LIMIT)
        return SendWindow(self.spec.window_blocks, self.spec.window_bytes, needed=spec.needed or spec.block_count)

    def _used_times(self) -> tuple[float, float]:
        """Return up to which compute block, and which output block, times are not needed any longer."""
        sent = (output.window.next - 1 for output in self.outputs if output.times is not None and not output.closed)
        return self.rule.done, min(sent, default=NEVER)

    @property
    def asks_times(self) -> bool:
        """Whether a source must wait before it makes blocks again: a consumer has not reported the times that they had."""
        return any(output.asks and not output.closed for output in self.outputs)

    @property
    def settling(self) -> bool:
        """Whether the job waits, not for blocks, but until the client has stored its state."""
        return self.retained.settling or (self.checkpoints is not None and self.checkpoints.settling)

    # the job's loop

    def start(self, now: float) -> None:
        """Open all outputs and report to the client that the job runs."""
        source = self.spec.is_source
        for output in self.outputs:
            output.open(self.spec.generation if source else 0)
        if source:
            self.inputs.switch(self.spec.generation, keeps=False)
        self._arm(self.retained.start(now))
        self.effects.append(SayHello())

    def begin(self, first: int, first_output: int = 0) -> None:
        """Begin the job's loop with compute block ``first``; all earlier blocks are finished.

        A job with non-ASYNC inputs begins at `Aligner.beginning` or later, and again whenever that
        is a number.

        Args:
            first: number of the first compute block.
            first_output: number of the outputs' first block; 0 if it is the same as ``first``.

        Raises:
            LocalProtocolError: the inputs cannot begin there, or the job has ended.
        """
        if first < 1 or self.finishing:
            raise LocalProtocolError(f"a job begins with a compute block from 1 on, before its end; got {first}")
        if self.inputs.aligner is not None:
            self.inputs.aligner.begin(first)
        self.begun = True
        self.rule.done = first - 1
        for output in self.outputs:
            output.begin(first_output or first)
        self.inputs.say_had()
        self.pass_releases()

    def switch(self, generation: int) -> None:
        """Continue the job's loop in a new generation; its outputs number from 1 again.

        Raises:
            LocalProtocolError: the generation is not newer than the current one, or the job has
                ended.
        """
        if generation <= self.rule.generation or self.finishing:
            raise LocalProtocolError(f"a newer generation follows {self.rule.generation}, before the end of the job; got {generation}")
        self._switch(generation)

    def _switch(self, generation: int) -> None:
        self.counter.switch()
        for output, spec in zip(self.outputs, self.spec.outputs, strict=True):
            output.restart(generation, self._window(spec))
            output.asks = False
        self.times.switch(generation)
        # last: the outputs know only now which older blocks they keep
        self.inputs.switch(generation, keeps=not self.spec.is_source)
        for number, origins in self.stamps.switch(generation).items():
            for output, spec in zip(self.outputs, self.spec.outputs, strict=True):
                if not spec.asynchronous:
                    output.stamps.expect(number, origins)

    def reset(self, generation: int) -> None:
        """Take the client's order to number from 1 again in a new generation.

        The job's loop calls `switch` when it comes to it. A source whose loop has ended has no
        blocks in the new generation; its consumers, which wait for one, must learn this.
        """
        for output in self.outputs:
            output.lift(generation)
        self.reset_to = max(self.reset_to, generation)
        if self.ending.stage is EndStage.RELEASING:
            self._enter_ended()
            if self.ending.sends_ends and not self.ending.late:
                self.end_outputs()

    def _enter_ended(self) -> None:
        if self.spec.is_source and self.reset_to > self.rule.generation:
            self._switch(self.reset_to)
            self.ending.late = self.checkpoints is not None

    def take(self) -> Batch | None:
        """Return the complete compute blocks, for the job to process; None if there are none.

        *Job's thread*, unless an input has a MAX_QUEUE (`Inputs.eager`): then it needs the lock.
        """
        return self.inputs.take()

    def put(self, index: int, payload: bytes | list[Any], head: int, now: float) -> None:
        """Number a block and send it, now or together with later ones.

        The caller waits before the next block of this output until `Output.may_continue` is true.

        Args:
            index: index of the output.
            payload: the block, or [payload, buffer, ...], or [payload, lease, ...].
            head: head of the block, as a number.
            now: current time, in seconds.

        Raises:
            LocalProtocolError: the job has ended.
        """
        if self.finishing:
            raise LocalProtocolError("no block follows the end of a job")
        self.arm_if(self.outputs[index].add(payload, head, now))

    def put_packed(self, index: int, data: memoryview | LentBuffer, size: int) -> None:
        """Do as `put` with each of several blocks of one length, and send them at once.

        Args:
            index: index of the output, whose `Output.packs` is true.
            data: the blocks, one after the other, or their lease; no more than `Output.allow`.
            size: length of each block, in bytes.

        Raises:
            LocalProtocolError: the job has ended.
        """
        if self.finishing:
            raise LocalProtocolError("no block follows the end of a job")
        self.outputs[index].send_packed(data, size)

    def put_value(self, index: int, value: Any, now: float) -> None:
        """Do as `put` with a value that may be joined with others; see `Output.add_value`.

        Raises:
            LocalProtocolError: the job has ended.
        """
        if self.finishing:
            raise LocalProtocolError("no block follows the end of a job")
        self.arm_if(self.outputs[index].add_value(value, now))

    def flush(self) -> None:
        """Send the blocks held back, because the job is about to wait."""
        for output in self.outputs:
            output.flush()

    def done(self, number: int, now: float) -> None:
        """Record compute blocks up to ``number`` as processed by this job; release its inputs."""
        self.rule.done = number
        self.release(now)

    def worth_releasing(self, *, force: bool = False) -> bool:
        """Whether `release` may find something. *Job's thread.*"""
        return self.rule.worth_a_look(force=force) or (bool(self.inputs.optional) and self.retained.unasked)

    def release(self, now: float, *, force: bool = False) -> None:
        """Release the inputs of finished compute blocks.

        Args:
            now: current time, in seconds.
            force: whether to release at once, even if few blocks have accumulated.
        """
        if self.inputs.optional:
            self.retained.hand_over()
        if self.rule.worth_a_look(force=force) and self.pass_releases(force=force):
            # also for jobs with outputs: the release of an output may have arrived before the job recorded the block as done
            if self.rule.rested(now):
                self.pass_releases()
            else:
                self._arm(self.rule.left(now))

    def pass_releases(self, *, force: bool = True) -> bool:
        """Release what may be released; return whether something is left. See `release`."""
        if force and self.inputs.optional:
            self.retained.hand_over()
        left = self.inputs.release(self.rule.finished_upto(), self.rule.generation, force=force)
        if self.rule.older:
            for generation in self.rule.older_released():
                self.inputs.release_generation(generation)
        return left

    def answer_pressed(self, done: int) -> None:
        """Report the progress of this job, and of all jobs after it, to waiting producers.

        Args:
            done: last compute block that this job itself has processed.
        """
        behind = (self.worked_off(output) for output in self.outputs if not output.closed)
        self.report_progress(min([done, *behind]), done)

    def report_progress(self, through: int, done: int) -> None:
        """Do as `answer_pressed`, with the progress of the jobs after this one given.

        Args:
            through: last compute block that this job and all jobs after it have processed.
            done: last compute block that this job has processed.
        """
        self.pressed = False
        self.inputs.say_starved(through, done)

    def worked_off(self, output: Output) -> int:
        """Return the last block of an output that its consumer and all jobs after it have processed.

        As far as they have reported it.
        """
        retained = self._retained.get(output.pipe)
        return output.through if retained is None else min(output.released + retained, output.last[1])

    @property
    def unwanted(self) -> bool:
        """Whether the job has outputs and no consumer needs any of them, or the job is stopped."""
        for output in self.outputs:  # a loop, not a generator: this runs before each wait
            if not output.closed:
                return False
        return bool(self.outputs) or self.ending.over

    def end_outputs(self, *, more: bool = False) -> None:
        """Notify all consumers that nothing follows, or (``more``) only a new generation.

        Idempotent.
        """
        for output in self.outputs:
            output.end(more=more)

    def end(self, *, sends_ends: bool = True) -> None:
        """End the job: `ending` has its stage from now on, until `EndStage.OVER`.

        Args:
            sends_ends: whether the consumers are notified that nothing follows.

        Raises:
            LocalProtocolError: the job has ended before.
        """
        self._enter_ended()  # if the order came after the last block
        self.ending.begin(sends_ends=sends_ends)
        self.finishing = True
        self.ending.step()

    def abandon(self) -> None:
        """Any thread, in any state, with or without the lock: stop; nothing further is sent."""
        self.ending.abandon()
        for output in self.outputs:
            output.closed = True

    def remember(self, pipe: int, content: bytes) -> None:
        """Have the client retain data for new incarnations; see `RetainedValues.remember`."""
        self.retained.remember(pipe, content)

    # messages of other jobs and of the client

    def data_received(self, message_frames: Sequence[Buffer], now: float) -> None:
        """Take a message of a producer.

        Raises:
            RemoteProtocolError: the message is malformed, or its pipe is not an input.
            MemoryGone: blocks that this job needs can no longer be read.
        """
        message = frames.decode(message_frames)
        if not (type(message) is Data and self.accept(message)):
            self.settle(message, now)

    def accept(self, message: Data) -> bool:
        """Take the blocks of a message. *Job's thread.*

        Returns:
            Whether nothing is left to do; otherwise the message must also be given to `settle`.

        Raises:
            RemoteProtocolError: as `data_received`.
            MemoryGone: as `data_received`.
        """
        payloads = message.payloads
        if type(payloads[0]) is tuple:
            payload = payloads[0][0].payload
            size = self._arrivals.look_up_packed(message, payloads[0][0]) if type(payload) is Descriptor else len(payload)
        elif type(payloads[0]) is list:
            size = self._arrivals.look_up(message)
        else:
            size = len(payloads[0]) if len(payloads) == 1 else sum(map(len, payloads))
        times = message.times
        if times is not None:
            self.times.offer(message)
        new = self.inputs.data(message, size)
        if times is not None:
            self.times.arrived(message, new)
        if self.checkpoints is not None:
            self.checkpoints.arrived(size, new * self._share)
        return new > 0

    def settle(self, message: Message, now: float) -> None:
        """Take a message that has no new blocks: it repeats some, or opens or ends a pipe.

        Raises:
            RemoteProtocolError: as `data_received`.
        """
        if isinstance(message, Data):
            self.inputs.repeated(message.pipe)
        elif isinstance(message, Stamp):
            self._on_stamp(message)
        elif self.inputs.opened_or_ended(message):
            self._pass_pressure(now)

    def _on_stamp(self, message: Stamp) -> None:
        if message.pipe not in self.inputs.pipes:
            raise RemoteProtocolError(f"pipe {message.pipe} is not an input of this job")
        rule, place = self.rule, (message.pipe, message.sqn, message.generation)
        number, origins = self.stamps.arrived(*place, rule.generation, rule.done, message.origins)
        if number:
            for output, spec in zip(self.outputs, self.spec.outputs, strict=True):
                if not spec.asynchronous:
                    output.stamps.expect(number, origins)

    def _pass_pressure(self, now: float) -> None:
        # jobs further downstream may hold back releases for a snapshot too; the request arrives on many paths, and is passed on
        # once after each block
        self.pressed = True
        sent = sum(output.sent for output in self.outputs)
        if now - self._pressed_at >= PRESS_S / 2 or sent != self._sent_then:
            self._pressed_at, self._sent_then = now, sent
            for output in self.outputs:
                output.press()

    def control_received(self, message_frames: Sequence[Buffer], now: float) -> None:
        """Take a message of a consumer or of the client.

        Raises:
            RemoteProtocolError: the message is malformed or does not belong to this job.
        """
        self.handle(frames.decode(message_frames), now)

    def handle(self, message: Message, now: float) -> None:
        """Take a decoded message of a consumer or of the client.

        Raises:
            RemoteProtocolError: it does not belong to this job.
        """
        if isinstance(message, Release):
            output = self.output(message.pipe)
            output.on_release(message)
            # the job's loop may wait for this answer, and no further data message may follow to wake it
            if message.had or (output.closed and self.unwanted):
                self.effects.append(Wake())
            # the consumer has already accumulated enough releases: pass them on at once
            self.pass_releases()
        elif isinstance(message, Starved):
            self.output(message.pipe).on_starved(message)
        elif isinstance(message, Times):
            self._on_times(self.output(message.pipe), message)
        elif isinstance(message, Command):
            self._commands.handle(message.message)
        else:
            raise RemoteProtocolError(f"a {type(message).__name__} does not belong on a control link")
        if self.finishing:
            self.ending.step()

    def _on_times(self, output: Output, message: Times) -> None:
        if output.asks and message.incarnation >= output.consumer:
            output.asks = False
            if message.generation == output.generation:  # a consumer in another one has had none of these blocks
                self.times.remember(message.sqn, message.times)
            self.effects.append(Wake())

    def output(self, pipe: int) -> Output:
        """Return the output of a pipe.

        Raises:
            RemoteProtocolError: the pipe is not an output of this job.
        """
        try:
            return self.by_pipe[pipe]
        except KeyError:
            raise RemoteProtocolError(f"pipe {pipe} is not an output of this job; its outputs are {sorted(self.by_pipe)}") from None

    def _report_end(self) -> None:
        ends = {output.pipe: output.last for output in self.outputs if self.ending.sends_ends and not output.closed}
        self.effects.append(TellClient(WorkDone(ends=ends, counts=self.counter.counts())))

    # time

    def tick(self, now: float, *, typing: bool = False, synced: bool = False) -> float:
        """Do what is due; return `next_deadline`.

        Args:
            now: current time, in seconds.
            typing: whether the job's loop waits for a typed line.
            synced: whether the device of a sink has more of its file since the last call.
        """
        if self.retained.tick(now):
            self.effects.append(Wake())
        due = min((output.tick(now) for output in self.outputs), default=NEVER)
        if self.counter.tick(now):
            latencies = tuple(LatencySample(*sample) for sample in self.stamps.take())
            self.effects.append(TellClient(self.counter.report(now, self._doing(typing=typing), latencies)))
            self.effects += [TellClient(JobWarning(text=text)) for text in self._unbounded.look(self.outputs)]
        rule = self.rule
        rule.begin_tick()
        if synced:
            self.pass_releases()
        if rule.tick(now, pending=self.inputs.pending_release(rule.finished_upto(), rule.generation)):
            self.pass_releases()
        self.next_deadline = min(due, self.retained.due, self.counter.due, rule.next_deadline)
        if self.finishing:
            self.ending.step()
        return self.next_deadline

    def performed(self, now: float) -> None:
        """Record that all effects were performed; there may be new ones."""
        for output in self.outputs:
            if output.busy:
                self.arm_if(output.after_send(now))

    def arm_if(self, due: float) -> None:
        """Ask for a `tick` at a time; not if it is 0."""
        if due:
            self._arm(due)

    def _arm(self, due: float) -> None:
        self.next_deadline = min(self.next_deadline, due)
        self.effects.append(Arm(due))

    def _doing(self, *, typing: bool) -> Doing:
        """Return what the job's loop is doing."""
        if self.finishing:
            return Doing.END
        if self.starved_since or typing:
            return Doing.INPUT
        return Doing.ROOM if any(output.blocked_since for output in self.outputs) else Doing.RUN
