"""The shell around a job's `Endpoint`: its lock, its links, its clock, and waiting.

`fission.protocol.endpoint.Endpoint` decides; the shell hands it what arrives and performs its
effects with the lock held, so that messages leave in the order of the decisions.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol, TypeVar

from fission.core.base import BaseJob
from fission.core.jobs import ExecutableJob
from fission.errors import RemoteProtocolError
from fission.ports import JobBundle, Links, SharedReader, SharedWriter
from fission.protocol import frames
from fission.protocol.batches import Batch
from fission.protocol.endpoint import Endpoint
from fission.protocol.endpoint_effects import (
    Arm,
    ConnectClient,
    Effect,
    ForgetReader,
    Redirect,
    Retained,
    RetainGroup,
    SayHello,
    SendControl,
    SendData,
    TellClient,
    Wake,
)
from fission.protocol.endpoint_spec import EndpointSpec
from fission.protocol.link_messages import Command, Data, JobMessage
from fission.protocol.messages.client_to_job import ClientToJob, EndOfInput, InputLine
from fission.protocol.messages.job_to_client import JobCounts, JobHello, JobToClient, LinesTaken, RetainValue
from fission.protocol.pacing import IDLE_S
from fission.protocol.shared_blocks import BlockGone
from fission.runtime.console import Console
from fission.runtime.control import NEVER
from fission.runtime.lending import Lending
from fission.runtime.output_shell import DroppingOutputShell, OutputShell
from fission.runtime.sink_position import SinkSync
from fission.runtime.specs import endpoint_spec, packed_group
from fission.runtime.surroundings import PROCESS, Surroundings

log = logging.getLogger("fission.runtime")
Result = TypeVar("Result")


def make_shell(
    job: BaseJob,
    bundle: JobBundle,
    links: Links,
    lender: SharedWriter | None = None,
    viewer: SharedReader | None = None,
    surroundings: Surroundings = PROCESS,
) -> EndpointShell:
    """Return the shell of a job's pipes; the arguments are those of `EndpointShell`.

    Args:
        job: job that owns the pipes.
        bundle: settings of the job.
        links: as in `EndpointShell`.
        lender: as in `EndpointShell`.
        viewer: as in `EndpointShell`.
        surroundings: as in `EndpointShell`.
    """
    return EndpointShell(
        endpoint_spec(job, bundle),
        links,
        job=bundle.job_id,
        lender=lender,
        viewer=viewer,
        handed_on=bundle.handed_on,
        # an executable's outputs have threads of their own, and inputs belong to the main thread
        pump=bool(bundle.feedback) and not isinstance(job, ExecutableJob),
        surroundings=surroundings,
    )


class Watcher(Protocol):
    """Observes a shell; its control thread makes all calls."""

    def tick(self, now: float) -> float:
        """Do what is due; return the time of the next call, infinity if there is none."""
        ...

    def control_received(self) -> None:
        """Look again: a control message has arrived."""
        ...

    def close(self) -> None:
        """Send the last observations: the links are about to be closed."""
        ...


class EndpointShell:
    """The pipes of one job, as its loop uses them.

    One lock protects the endpoint. These calls may run while another thread holds it: `accept` and
    `take` of the endpoint in the job's thread, which own the blocks that have arrived;
    `OutputShell.put` of a small block that joins others, and its question whether one is sent
    alone; the checks of `flush`, `release` and `OutputShell.seek` whether there is anything to do;
    and `abandon`, which a signal handler calls.

    Attributes:
        endpoint: the endpoint. Any thread may read its attributes.
        inputs: its inputs.
        rule: its release rule.
        outputs: what the job's loop puts blocks into, in the order of the job's outputs.
        console: lines typed for this job.
        sink: the file of the sink; None for a job without one.
        commands: handlers of commands that do not concern the pipes, by class; called by the
            control thread without the lock.
        watcher: observer of this shell; None if there is none.
        program_waits: returns whether the program of the job has read all its blocks; None: the job
            has no program.
        control: the control thread.
        lending: puts large buffers into shared memory; None if there is none.
        pump: whether inputs must be taken while an output waits for room.
        lock: held while the endpoint works and its effects are performed.
        changed: condition notified after each control message.
        surroundings: services of the process.
        clock: function that returns the time in seconds.
        waits: whether `OutputShell.put` may wait for room; otherwise the caller checks first.
    """

    def __init__(
        self,
        spec: EndpointSpec,
        links: Links,
        *,
        job: int = 0,
        lender: SharedWriter | None = None,
        viewer: SharedReader | None = None,
        handed_on: Mapping[int, Mapping[int, int]] | None = None,
        pump: bool = False,
        surroundings: Surroundings = PROCESS,
    ) -> None:
        """Prepare; nothing is sent before `start`.

        Args:
            spec: description of the job's pipes.
            links: connections of the job; `close` closes them.
            job: id of the job.
            lender: shared memory for large outgoing buffers, with the outputs as its readers, in
                their order; None if there is none.
            viewer: reader of large incoming buffers.
            handed_on: as in `JobBundle`.
            pump: whether inputs must be taken while an output waits for room.
            surroundings: services of the process.
        """
        self.endpoint = Endpoint(spec, None if viewer is None else viewer.get)
        self.endpoint.times.fresh = surroundings.block_time
        self.inputs = self.endpoint.inputs
        self.rule = self.endpoint.rule
        self.surroundings = surroundings
        self.clock = surroundings.clock
        self.waits = surroundings.waits
        self.pump = pump
        self.lock = threading.Lock()
        self.changed = threading.Condition(self.lock)
        self.console = Console(lambda lines: self.say(LinesTaken(lines=lines)))
        self.watcher: Watcher | None = None
        self.program_waits: Callable[[], bool] | None = None
        self.commands: dict[type[ClientToJob], Callable[[Any], None]] = {
            InputLine: lambda message: self.console.add_piece(message.line, first=message.first, last=message.last),
            EndOfInput: lambda message: self.console.add(None),
        }
        self._links = links
        self._job = job
        self.lending = None if lender is None else Lending(self, lender, viewer, handed_on or {})
        if self.lending is not None:
            for index, output in enumerate(self.endpoint.outputs):
                output.lend = partial(self.lending.lend_blocks, index)
        self._malformed = surroundings.malformed
        self._sink: SinkSync | None = None
        self._woken = self._idle = False
        self._looked = False  # whether `release` was called since the last message
        self._watchers: dict[int, tuple[Callable[[Any], None], ...]] = {}  # by output pipe
        self._when_retained: dict[int, Callable[[], None]] = {}  # by output pipe
        self._after_unlock: list[Callable[[], None]] = []
        self._perform_one: dict[type[Effect], Callable[[Any], None]] = {
            TellClient: lambda effect: self.say(effect.message, effect.payload),
            RetainGroup: lambda effect: self.say(RetainValue(pipe=effect.pipe, number=effect.number), packed_group(effect.group)),
            Retained: lambda effect: self._after_unlock.append(self._when_retained[effect.pipe]),
            SayHello: lambda effect: self.say(JobHello(process=os.getpid(), addresses=dict(links.addresses))),
            Redirect: lambda effect: links.redirect(effect.pipe, effect.address),
            ConnectClient: lambda effect: links.reach_client(effect.address),
            ForgetReader: lambda effect: None if lender is None else lender.forget_reader(effect.output, effect.incarnation),
            Wake: lambda effect: self.wake(),
            Arm: lambda effect: self.control.arm(effect.at),
        }
        self.control: Any = surroundings.control(links, self)
        self.outputs = [
            (DroppingOutputShell if one.max_queue and not one.asynchronous else OutputShell)(index, self)
            for index, one in enumerate(spec.outputs)
        ]

    # the job's loop

    def start(self) -> None:
        """Open all links, start the control thread and send the hello: now the job runs."""
        with self.lock:
            self.endpoint.start(self.clock())
            self.perform()
        self.control.start()

    def begin(self, first: int, first_output: int = 0) -> None:
        """Do as `Endpoint.begin`."""
        with self.lock:
            self.endpoint.begin(first, first_output)
            self.perform()

    def switch(self, generation: int) -> None:
        """Do as `Endpoint.switch`."""
        with self.lock:
            self.endpoint.switch(generation)
            self.perform()

    def take(self) -> Batch | None:
        """Do as `Endpoint.take`."""
        if not self.inputs.eager:
            return self.inputs.take()
        with self.lock:
            batch = self.inputs.take()
            self.perform()
            return batch

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
            for output in self.outputs:  # as `flush`
                if output.machine.pending:
                    output.flush()
            if not self._looked:
                self.release()  # also blocks that belong to no compute block: blocks without partners, and duplicates
            # the poll above may have consumed the wake-up, which comes only once
            if not self._woken:
                endpoint = self.endpoint
                settling = endpoint.settling
                endpoint.starved_since = self.clock()
                message = self._links.receive()
                waited = self.clock() - endpoint.starved_since
                self._idle = waited > IDLE_S
                if not settling:
                    endpoint.starved_s += waited
                endpoint.starved_since = 0.0
            if message is None:
                self._woken = self._looked = False
                return False
        self.feed(message)
        return True

    def poll(self) -> bool:
        """Do as `receive`, but without waiting; return whether a message or a wake-up arrived."""
        self.flush()
        self.release(force=True)
        message = self._links.receive(wait=False)
        woken, self._woken = self._woken, False
        if message is not None:
            self.feed(message)
        return message is not None or woken

    def drain_inputs(self) -> None:
        """Take every message that has arrived, and release all finished blocks."""
        message = self._links.receive(wait=False)
        while message is not None:
            self.feed(message)
            message = self._links.receive(wait=False)
        self.release(force=True)

    def feed(self, message_frames: list[frames.Buffer]) -> None:
        """Take one data message; malformed ones are counted, logged and dropped.

        Raises:
            MemoryGone: blocks that this job needs can no longer be read.
        """
        endpoint = self.endpoint
        self._looked = False
        try:
            message = frames.decode(message_frames)
            if type(message) is Data and endpoint.accept(message):
                return
            with self.lock:
                endpoint.settle(message, self.clock())
                self.perform()
        except BlockGone as why:
            log.debug("dropped a block that was there before: %s", why)
        except RemoteProtocolError as why:
            endpoint.counter.malformed += 1
            log.warning("dropped a malformed message: %s", why)

    def advance(self, number: int) -> None:
        """Do as `Endpoint.done`."""
        self.rule.done = number
        self.release()

    def release(self, *, force: bool = False) -> None:
        """Any thread: release the inputs of finished compute blocks.

        Args:
            force: whether to release at once, even if few blocks have accumulated.
        """
        self._looked = True
        if self._sink is not None:
            due = self._sink.due(self.clock(), hurry=self.rule.device_hurries)
            if due < NEVER:
                self.control.arm(due)
        if self.endpoint.stamps.waiting:
            with self.lock:
                self.endpoint.stamps.done(self.rule.done, self.clock())
        # for speed: the control thread releases a small remainder when it is due
        if self.endpoint.worth_releasing(force=force):
            with self.lock:
                self.endpoint.release(self.clock(), force=force)
                self.perform()

    @property
    def sink(self) -> SinkSync | None:
        """The file of the sink; None for a job without one."""
        return self._sink

    @sink.setter
    def sink(self, sink: SinkSync | None) -> None:
        self._sink = self.rule.device = sink

    def answer_pressed(self, done: int) -> None:
        """Do as `Endpoint.answer_pressed`."""
        with self.lock:
            self.endpoint.answer_pressed(done)
            self.perform()

    def report_progress(self, through: int, done: int) -> None:
        """Do as `Endpoint.report_progress`."""
        with self.lock:
            self.endpoint.report_progress(through, done)
            self.perform()

    def remember(self, pipe: int, content: bytes, then: Callable[[], None]) -> None:
        """Any thread: do as `Endpoint.remember`.

        Args:
            pipe: as in `Endpoint.remember`.
            content: as in `Endpoint.remember`.
            then: called when the client retains it, without the lock, perhaps more than once.
        """
        self._when_retained[pipe] = then
        with self.lock:
            self.endpoint.remember(pipe, content)
            self.perform()
        self._call_back()

    def end_outputs(self, *, more: bool = False) -> None:
        """Do as `Endpoint.end_outputs`."""
        with self.lock:
            self.endpoint.end_outputs(more=more)
            self.perform()

    def end(self, *, sends_ends: bool) -> None:
        """Do as `Endpoint.end`."""
        with self.lock:
            self.endpoint.end(sends_ends=sends_ends)
            self.perform()

    def finish(self, *, sends_ends: bool) -> None:
        """End the job and block until its end is over. See `Endpoint.end`."""
        ending = self.endpoint.ending
        if ending.over:
            return  # the job was stopped
        self.end(sends_ends=sends_ends)
        with self.changed:
            while not ending.over:
                self.changed.wait()

    # any thread

    def wake(self) -> None:
        """Make the `receive` that waits, or the next one that would wait, return False."""
        self._woken = True
        self._links.wake()

    def say(self, message: JobToClient, payload: bytes = b"") -> None:
        """Send a message to the client."""
        self._links.tell(frames.encode_job_message(JobMessage(self._job, self.endpoint.spec.incarnation, message, payload)))

    def abandon(self) -> None:
        """Send nothing further, and let the loop see unwanted outputs. Takes no lock."""
        self.endpoint.abandon()

    def notify(self) -> None:
        """Make all waiting threads check their conditions again."""
        with self.changed:
            self.changed.notify_all()

    def watch(self, pipe: int, watcher: Callable[[Any], None]) -> None:
        """Call ``watcher`` with every message sent by an output from now on, with the lock held."""
        with self.lock:
            self._watchers[pipe] = (*self._watchers.get(pipe, ()), watcher)

    def unwatch(self, pipe: int, watcher: Callable[[Any], None]) -> None:
        """Undo `watch`."""
        with self.lock:
            left = tuple(known for known in self._watchers.pop(pipe, ()) if known != watcher)
            if left:
                self._watchers[pipe] = left

    def watched(self, pipe: int) -> bool:
        """Whether an output has a watcher."""
        return pipe in self._watchers

    def counts(self) -> JobCounts:
        """Return the statistics of this incarnation; takes no lock."""
        return self.endpoint.counter.counts()

    # the control thread

    def tick(self, now: float) -> float:
        """Do what is due; return the time of the next call, infinity if there is none."""
        synced, sync_at = False, NEVER
        if self._sink is not None:
            synced, sync_at = self._sink.tick(now)  # without the lock: a device is slow
        with self.lock:
            due = min(sync_at, self.endpoint.tick(now, typing=self.console.waiting, synced=synced))
            self.perform()
        return due if self.watcher is None else min(due, self.watcher.tick(now))

    def on_message(self, message_frames: list[frames.Buffer]) -> None:
        """Take one control message; malformed ones are logged and dropped."""
        try:
            message = frames.decode(message_frames)
            if isinstance(message, Command) and type(message.message) in self.commands:
                self.commands[type(message.message)](message.message)
                return
            with self.changed:
                self.endpoint.handle(message, self.clock())
                self.perform()
                self.changed.notify_all()
        except (RemoteProtocolError, LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as why:
            self._malformed(str(why))
        if self._after_unlock:
            self._call_back()
        if self.watcher is not None:
            self.watcher.control_received()

    def serve(self) -> bool:
        """Take every control message where no control thread runs; return whether any came."""
        found = False
        while (message := self._links.control(0)) is not None:
            found = True
            self.on_message(message)
        return found

    def close(self, linger: float) -> None:
        """Stop the control thread and close the links."""
        self.control.stop()
        if self.watcher is not None:
            self.watcher.close()
        self._links.close(linger)

    def do(self, act: Callable[[], Result]) -> Result:
        """Call a function with the lock held, then perform the effects; return its result.

        This is not a context manager: an exception of a signal handler between the entry and the body of
        a generator's context would leave the lock held.
        """
        with self.lock:
            result = act()
            self.perform()
            return result

    # with the lock held

    def perform(self) -> None:
        """Perform the effects of the endpoint, in order."""
        effects, links, watchers = self.endpoint.effects, self._links, self._watchers
        while effects:
            sends = False
            for effect in effects:
                if type(effect) is SendData:
                    sends = True
                    links.send(effect.pipe, effect.message)
                    if watchers:
                        for watcher in watchers.get(effect.pipe, ()):
                            watcher(effect.message)
                elif type(effect) is SendControl:
                    links.answer(effect.pipe, effect.message)
                else:
                    self._perform_one[type(effect)](effect)
            effects.clear()
            if sends:
                self.endpoint.performed(self.clock())

    def send(self, pipe: int, message: list[frames.Buffer]) -> None:
        """Send a message of an output that is not among the effects; there are none now."""
        self._links.send(pipe, message)
        if self._watchers:
            for watcher in self._watchers.get(pipe, ()):
                watcher(message)

    def _call_back(self) -> None:
        while self._after_unlock:
            self._after_unlock.pop(0)()
