"""All pipes of one job, and the control thread that serves them while the job's main thread computes.

The control thread takes releases and commands from others, sends what was held too long and releases what is done with. No
user code runs in it.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from time import perf_counter
from typing import Any

from fission.core.base import BaseJob
from fission.core.base_pipe import dummy_fault
from fission.core.jobs import ExecutableJob
from fission.errors import BlockError, RemoteProtocolError
from fission.ports import JobBundle, Links
from fission.protocol import frames
from fission.protocol.frames import CLOSED, Command, Release
from fission.protocol.inputs import InputSpec
from fission.protocol.optional import OptionalSpec
from fission.protocol.window import SendWindow
from fission.runtime.inlet import RELEASE_AFTER_S, Inlets
from fission.runtime.outlet import DroppingOutlet, Outlet

log = logging.getLogger("fission.runtime")

_NEVER = float("inf")
#: Seconds that the control thread may take to end. Arbitrary; it only fails to where a stop has torn the main thread out of a lock.
STOP_S = 0.5


class Console:
    """Lines that the client sends to a job that waits for them."""

    def __init__(self) -> None:
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def readline(self) -> str | None:
        """Block until there is a line; None when the console has ended."""
        return self._lines.get()

    def add(self, line: str | None) -> None:
        """Hand over a line; None ends the console."""
        self._lines.put(line)


class Exchange:
    """The pipes of one job.

    Attributes:
        outlets: in the order of the job's outputs.
        inlets: all its inputs.
        console: lines that were typed for this job.
        most_held: inputs of so many compute blocks are held back at most while the outputs are not released; infinite for a
            job whose every compute block gives one block to every output, which an executable need not do.
    """

    most_held: float = float("inf")

    def __init__(self, job: BaseJob, bundle: JobBundle, links: Links) -> None:
        """Prepare; nothing is sent before `start`.

        Args:
            job: whose pipes.
            bundle: its settings.
            links: its wires; `close` closes them.
        """
        self._links = links
        self._woken = False
        self.console = Console()
        self.inlets = Inlets(
            [_input_spec(pipe, job.MAX_QUEUE) for pipe in job.inputs if not pipe.ASYNC],
            [_optional_spec(pipe, bundle.feedback) for pipe in job.inputs if pipe.ASYNC],
            links,
            head_size=bundle.head_size,
            window_blocks=bundle.window_blocks,
            window_bytes=bundle.window_bytes,
        )
        self.control = _Control(self)
        # an executable's outputs have threads of their own, and inputs belong to the main thread
        pump = self._drain_inputs if bundle.feedback and not isinstance(job, ExecutableJob) else None
        self.outlets: list[Outlet] = []
        for pipe in job.outputs:
            needed = pipe.BLOCK_COUNT
            window: SendWindow[list[frames.Buffer]] = SendWindow(bundle.window_blocks, bundle.window_bytes, needed=needed)
            common: dict[str, Any] = {"arm": self.control.arm, "pump": pump}
            if bundle.max_queues.get(pipe.id) and not pipe.ASYNC:
                dropping = {"max_queue": bundle.max_queues[pipe.id], "needed": needed}
                self.outlets.append(DroppingOutlet(pipe.id, bundle.incarnation, links, window, **common, **dropping))
            else:
                self.outlets.append(Outlet(pipe.id, bundle.incarnation, links, window, **common))
        self._by_pipe = {outlet.pipe: outlet for outlet in self.outlets}

    def start(self) -> None:
        """Open all links and start the control thread."""
        for outlet in self.outlets:
            outlet.open()
        self.control.start()

    def flush(self) -> None:
        """Send what is held: the job is about to wait."""
        for outlet in self.outlets:
            outlet.flush()

    def receive(self) -> bool:
        """Take the next message of any input. Blocks, after a flush, if there is none; False if it was woken up instead."""
        message = self._links.receive(wait=False)
        if message is None:
            self.flush()
            self._release()  # what needs no compute block too: blocks without partners, or that were there before
            # the look above may have met the wake-up instead of a message, and it comes only once
            if not self._woken:
                message = self._links.receive()
            if message is None:
                self._woken = False
                return False
        self.inlets.feed(message)
        return True

    def advance(self, number: int) -> None:
        """Compute blocks up to ``number`` are done with, as far as this job's work goes; release what can be."""
        self.inlets.done = number
        self._release()

    def _release(self) -> None:
        upto = self.finished_upto()
        self.inlets.release(upto)
        # also with outputs: their release may have come before this thread had said that it is done
        if self.inlets.pending_release(upto):
            self.control.arm(perf_counter() + RELEASE_AFTER_S)

    def finished_upto(self) -> int:
        """The compute block up to which this job's work is done and its outputs are released: its inputs may go."""
        done = self.inlets.done
        if not self.outlets:
            return done
        upto = min(done, *(outlet.released for outlet in self.outlets))
        return upto if done - upto <= self.most_held else int(done - self.most_held)

    @property
    def unwanted(self) -> bool:
        """Whether the job has outputs and nobody needs any of them any more."""
        return bool(self.outlets) and all(outlet.closed for outlet in self.outlets)

    def finish(self, *, tell: bool) -> None:
        """End the outputs (if ``tell``), block until everything was released, and let go of the inputs."""
        # in a circle of jobs, the one that is to release our outputs may itself wait for us to take what it sends
        self.inlets.close_optional()
        if tell:
            self.end_outputs()
        for outlet in self.outlets:
            outlet.wait_released()
        # now, also what this job did not take: the ends below may wait for jobs that its producers feed too
        self.inlets.close()
        for outlet in self.outlets:
            outlet.wait_closed()

    def end_outputs(self) -> None:
        """Tell all consumers that nothing follows. Calling it twice is right."""
        for outlet in self.outlets:
            outlet.end()

    def abandon(self) -> None:
        """Any thread, in any state: nothing goes out any more, and the job's loop finds that nobody wants its outputs."""
        for outlet in self.outlets:
            outlet.closed = True

    def close(self, linger: float) -> None:
        """Stop the control thread and give the links back."""
        self.control.stop()
        self._links.close(linger)

    def wake(self) -> None:
        """Make a `receive` that waits, or the next one that would, return False."""
        self._woken = True
        self._links.wake()

    def _drain_inputs(self) -> None:
        message = self._links.receive(wait=False)
        while message is not None:
            self.inlets.feed(message)
            message = self._links.receive(wait=False)
        self.inlets.release(self.finished_upto(), force=True)

    # called by the control thread

    def on_message(self, message_frames: list[frames.Buffer]) -> None:
        """Take one control message; malformed ones are logged and dropped."""
        try:
            message = frames.decode(message_frames)
            if isinstance(message, Release):
                self._on_release(message)
            elif isinstance(message, Command):
                self._on_command(message)
            else:
                raise RemoteProtocolError(f"a {type(message).__name__} does not belong on a control link")
        except RemoteProtocolError as why:
            log.warning("dropped a control message that is none: %s", why)

    def _on_release(self, message: Release) -> None:
        outlet = self._by_pipe.get(message.pipe)
        if outlet is None:
            raise RemoteProtocolError(f"pipe {message.pipe} is no output of this job")
        outlet.on_release(message)
        if message.released == CLOSED and self.unwanted:
            self.wake()
        # whoever released this has gathered enough: pass it on at once
        self.inlets.release(self.finished_upto(), force=True)

    def _on_command(self, command: Command) -> None:
        if command.body["do"] == "input":
            self.console.add(str(command.body.get("line", "")))
        elif command.body["do"] == "input-end":
            self.console.add(None)
        else:
            raise RemoteProtocolError(f"unknown command {command.body['do']!r}")


class _Control(threading.Thread):
    """The control thread."""

    def __init__(self, exchange: Exchange) -> None:
        super().__init__(name="fission-control", daemon=True)
        self._exchange = exchange
        self._stopping = False
        self._release_at = _NEVER
        self._wakes_at = 0.0  # the moment until which it sleeps; 0 while it is awake

    def arm(self, moment: float) -> None:
        """Any thread: `run` is to look again at this moment at the latest."""
        if moment < self._wakes_at:
            self._wakes_at = moment
            self._exchange._links.wake_control()

    def stop(self) -> None:
        """Any other thread: end it and wait for its end."""
        self._stopping = True
        if self.is_alive():
            self._exchange._links.wake_control()
            self.join(STOP_S)

    def run(self) -> None:
        links = self._exchange._links
        while not self._stopping:
            # "asleep" must be visible before the due moments are looked at: what is held after the look arms us then
            self._wakes_at = _NEVER
            due = self._tick(perf_counter())
            self._wakes_at = min(due, self._wakes_at)
            message = links.control(None if due == _NEVER else max(0.0, due - perf_counter()))
            self._wakes_at = 0.0
            while message is not None:
                self._exchange.on_message(message)
                message = links.control(0)

    def _tick(self, now: float) -> float:
        due = min((outlet.tick(now) for outlet in self._exchange.outlets), default=_NEVER)
        inlets, upto = self._exchange.inlets, self._exchange.finished_upto()
        if inlets.pending_release(upto):
            if self._release_at == _NEVER:
                self._release_at = now + RELEASE_AFTER_S
            elif now >= self._release_at:
                self._release_at = _NEVER
                inlets.release(upto, force=True)
                return due
            return min(due, self._release_at)
        self._release_at = _NEVER
        return due


def _input_spec(pipe: Any, max_queue: int) -> InputSpec:
    dummy: Callable[[], Any] | None = getattr(pipe, "get_dummy", None)
    if dummy is not None:
        return InputSpec(pipe.id, pipe.BLOCK_COUNT, max_queue, _checked_dummy(pipe, dummy))
    if isinstance(pipe.BLOCK_SIZE, int):
        zeros = bytes(pipe.BLOCK_SIZE)
        return InputSpec(pipe.id, pipe.BLOCK_COUNT, max_queue, lambda: zeros)
    return InputSpec(pipe.id, pipe.BLOCK_COUNT, max_queue)


def _checked_dummy(pipe: Any, dummy: Callable[[], Any]) -> Callable[[], bytes]:
    def make() -> bytes:
        try:
            payload = dummy()
        except Exception as why:  # get_dummy is the user's
            text = f"{pipe}: a block is lost, and get_dummy, which stands for it, failed: {type(why).__name__}: {why}"
            raise BlockError(text) from why
        fault = dummy_fault(pipe, payload)
        if fault:
            raise BlockError(f"{pipe}: a block is lost; {fault}")
        return bytes(payload)

    return make


def _optional_spec(pipe: Any, feedback: frozenset[int]) -> OptionalSpec:
    return OptionalSpec(
        pipe.id,
        pipe.BLOCK_COUNT,
        pipe.OPTIONAL_STORE,
        pipe.OPTIONAL_BUFFER_SIZE,
        pipe.OPTIONAL_DELETE_MODE,
        pipe.id in feedback,
    )
