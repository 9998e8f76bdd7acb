"""The pipes of one job, with the work of its control thread: due times and control messages."""

from __future__ import annotations

from fission.errors import RemoteProtocolError
from fission.protocol import frames
from fission.protocol.link_messages import Command, Release, Starved
from fission.protocol.messages.client_to_job import (
    AcknowledgeEnd,
    CheckpointStored,
    ClientToJob,
    CloseOutput,
    EndOfInput,
    InputLine,
    ReachClient,
    RepeatReports,
    ResetGeneration,
    RewirePipe,
    ValueStored,
    WirePipe,
)
from fission.protocol.messages.job_to_client import BlocksReplayed, CountsReport, JobWarning
from fission.runtime.control import NEVER
from fission.runtime.job_pipes import JobPipes


class Exchange(JobPipes):
    """The pipes of one job, including the handling of control messages and time."""

    def tick(self, now: float) -> float:
        """Send blocks and releases that waited too long; return the moment of the next call."""
        if self.stored.tick(now):
            self.wake()
        due = min((output.tick(now) for output in self.outputs), default=NEVER)
        if self.counter.tick(now):
            self.say(CountsReport(counts=self.counter.counts(), doing=self._doing()))
            for text in self.crowds.look(self.machines):
                self.say(JobWarning(text=text))
        due = min(due, self.stored.due, self.counter.due)
        rule = self.rule
        rule.begin_tick()
        synced = False
        if self.sink is not None:
            synced, at = self.sink.tick(now)
            due = min(due, at)
        generation = rule.generation
        upto = rule.finished_upto()
        if synced:
            self.inputs.release(upto, generation, force=True)
            self._release_older()
        if rule.tick(now, pending=self.inputs.pending_release(upto, generation)):
            self.inputs.release(upto, generation, force=True)
        return min(due, rule.next_deadline)

    def _doing(self) -> str:
        """Return what the job's loop is doing: the name of a `fission.protocol.progress.Doing`."""
        if self.finishing:
            return "END"
        if self.starved_since or self.console.waiting:
            return "INPUT"
        return "ROOM" if any(output.blocked_since for output in self.machines) else "RUN"

    def on_message(self, message_frames: list[frames.Buffer]) -> None:
        """Take one control message; malformed ones are logged and dropped."""
        try:
            message = frames.decode(message_frames)
            if isinstance(message, Release):
                self._on_release(message)
            elif isinstance(message, Starved):
                if message.pipe in self._by_pipe:
                    self._by_pipe[message.pipe].on_starved(message)
            elif isinstance(message, Command):
                self._on_command(message.message)
            else:
                raise RemoteProtocolError(f"a {type(message).__name__} does not belong on a control link")
        except (RemoteProtocolError, LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as why:
            self._surroundings.malformed(str(why))

    def _on_release(self, message: Release) -> None:
        output = self._by_pipe.get(message.pipe)
        if output is None:
            raise RemoteProtocolError(f"pipe {message.pipe} is no output of this job")
        output.on_release(message)
        # the job's loop may wait for this answer, and no further data message may follow to wake it
        if message.had or (output.closed and self.unwanted):
            self.wake()
        # the consumer has already accumulated enough releases: pass them on at once
        self.release(force=True)

    def _on_command(self, message: ClientToJob) -> None:
        match message:
            case InputLine():
                self.console.add_piece(message.line, first=message.first, last=message.last)
            case EndOfInput():
                self.console.add(None)
            case WirePipe():
                self._on_wire(message)
            case RewirePipe():
                self._on_rewire(message.pipe)
            case RepeatReports():
                self._say_again()
            case ReachClient():
                self._links.reach_client(message.address)
            case CloseOutput():
                self._by_pipe[message.pipe].on_closed()
                self.wake()
                self.release(force=True)
            case AcknowledgeEnd():
                self.noted.set()
            case ValueStored():
                self.stored.on_kept(message.pipe, message.number)
                self.release(force=True)
            case ResetGeneration():
                for output in self.outputs:
                    output.lift(message.generation)
                self.reset_to = max(self.reset_to, message.generation)
            case CheckpointStored() if self.checkpointer is not None:
                settled = self.checkpointer.settling
                self.checkpointer.on_stored(message.generation, message.block)
                if settled:
                    self.wake()
                self.release(force=True)
            case _:
                raise RemoteProtocolError(f"this job does not understand a {type(message).__name__}")

    def _on_wire(self, order: WirePipe) -> None:
        output = self._by_pipe.get(order.pipe)
        if output is None:
            self.inputs.wire(order.pipe, order.address, order.incarnation)
            self.release(force=True)
        else:
            if self.lender is not None:
                self.lender.forget_reader(self.outputs.index(output), order.incarnation)
            blocks = output.wire(order.address, order.incarnation, near=order.near)
            self.say(BlocksReplayed(job=order.peer, incarnation=order.incarnation, pipe=order.pipe, blocks=blocks))

    def _on_rewire(self, pipe: int) -> None:
        """Rewire a broken connection to the same incarnation; messages in transit are lost."""
        output = self._by_pipe.get(pipe)
        if output is None:
            self.inputs.wire(pipe, "", 0)
            self.release(force=True)
        else:
            output.wire("", output.machine.consumer, near=output.machine.near)

    def _say_again(self) -> None:
        """Repeat all reports, because the client was away and may have missed some."""
        self.say_hello()
        self.stored.say_again()
        if self.checkpointer is not None:
            self.checkpointer.say_again()
        if self._ended_with is not None and not self.noted.is_set():
            self.say(self._ended_with)
