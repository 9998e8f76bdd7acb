"""The shell around one output: its lock, its link, its clock, and waiting for room.

`fission.protocol.output.Output` decides what is sent and when. The shell sends it with the lock
held, so that messages leave in the order of the decisions.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import perf_counter
from typing import Any

from fission.ports import Links
from fission.protocol.link_messages import Release, Starved
from fission.protocol.output import Output
from fission.protocol.pacing import CIRCLE_POLL_S, COALESCE_BYTES, PRESS_S
from fission.protocol.window import SendWindow


class OutputShell:
    """The shell around one output.

    `put`, `seek`, `flush` and `end` belong to the job's thread; `tick` and the handlers of control
    messages belong to its control thread.

    Attributes:
        machine: state machine that decides. Any thread may read its attributes; only this class
            calls its methods.
        pipe: id of the pipe.
    """

    def __init__(
        self,
        machine: Output,
        links: Links,
        *,
        arm: Callable[[float], None],
        pump: Callable[[], None] | None = None,
        clock: Callable[[], float] = perf_counter,
        waits: bool = True,
    ) -> None:
        """Prepare; `open` sends the first message.

        Args:
            machine: new state machine.
            links: connections that send the messages.
            arm: function called with the latest moment of ``clock`` for the next `tick`.
            pump: function called repeatedly while `put` waits for room, for jobs whose inputs must
                not wait meanwhile.
            clock: function that returns the time in seconds.
            waits: whether `put` may wait for room.
        """
        self.machine = machine
        self.pipe = machine.pipe
        self._links = links
        self._arm = arm
        self._pump = pump
        self._clock = clock
        self._waits = waits
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._watchers: tuple[Callable[[Any], None], ...] = ()

    # the job's thread

    def put(self, payload: bytes | list[Any], head: int = 0, *, wait: bool = True) -> None:
        """Number a block and send it, now or together with later ones.

        Blocks while the window is full.

        Args:
            payload: block, or [payload, buffer, ...], or [payload, lease, ...].
            head: head of the block as a number.
            wait: whether to wait for room; if False, the caller must call `wait_for_room` after
                putting the other outputs of this compute block.
        """
        machine = self.machine
        if type(payload) is bytes and not head and machine.heads is None:
            # A block joins the blocks held back without taking the lock, which would be most of the cost of a small block. The list
            # grows only here, at its end, and shrinks only with the lock held, from its start; each is one step of the interpreter.
            pending = machine.pending
            pending.append(payload)
            machine.size += len(payload)
            if (
                1 < len(pending) < machine.allow
                and machine.size < COALESCE_BYTES
                and (machine.behind or self._clock() < machine.hold_until)
            ):
                return
            with self._lock:
                self._after(machine.look(self._clock()), wait)
            return
        with self._lock:
            self._after(machine.add(payload, head, self._clock()), wait)

    def wait_for_room(self) -> None:
        """Block while the window is full. Call it after a `put` that did not wait."""
        machine = self.machine
        if not machine.allow and not machine.closed:
            with self._lock:
                self._wait_for_room()

    def seek(self, number: int) -> None:
        """Give the next block this number; those in between do not exist."""
        if number - 1 != self.machine.last_number:
            with self._lock:
                self.machine.seek(number)
                self._perform()

    def flush(self) -> None:
        """Send the blocks held back."""
        if self.machine.pending:
            with self._lock:
                self.machine.flush()
                self._perform()

    def open(self, generation: int = 0) -> None:
        """Send the consumer the start of the numbering. Call it once, before the first `put`."""
        with self._lock:
            self.machine.open(generation)
            self._perform()

    def begin(self, number: int) -> None:
        """Call `ReplayBuffer.begin` with the lock held, and send its messages."""
        with self._lock:
            self.machine.begin(number)
            self._perform()

    def press(self) -> None:
        """Call `ReplayBuffer.press` with the lock held, and send its messages."""
        with self._lock:
            self.machine.press()
            self._perform()

    def restart(self, generation: int, window: SendWindow[Any]) -> None:
        """Call `ReplayBuffer.restart` with the lock held, and send its messages."""
        with self._lock:
            self.machine.restart(generation, window)
            self._perform()

    def go_on_after(self, had: int, given: int) -> None:
        """Call `ReplayBuffer.go_on_after` with the lock held."""
        with self._lock:
            self.machine.go_on_after(had, given)

    def end(self, *, more: bool = False) -> None:
        """Call `ReplayBuffer.end` with the lock held, and send its messages."""
        with self._lock:
            self.machine.end(more=more)
            self._perform()

    def finalize(self) -> None:
        """Call `ReplayBuffer.finalize` with the lock held, and send its messages."""
        with self._lock:
            self.machine.finalize()
            self._perform()

    def wait_released(self) -> None:
        """Block until every block is released."""
        with self._changed:
            self.machine.flush()
            self._perform()
            while not self.machine.all_released:
                self._changed.wait()

    def wait_closed(self) -> None:
        """Block until a consumer that was sent an end no longer needs this pipe.

        The end has arrived then.
        """
        with self._changed:
            while not self.machine.all_closed:
                self._changed.wait()

    # the control thread, or any

    def tick(self, now: float) -> float:
        """Send blocks held back too long; return the moment of the next call, or infinity."""
        machine = self.machine
        if not machine.pending:
            return machine.tick(now)  # without the lock: the job may hold it for a long time
        with self._lock:
            due = machine.tick(now)
            self._perform()
            return due

    def wire(self, address: str, incarnation: int, *, near: bool = True) -> int:
        """Send to this address from now on; return the number of blocks replayed.

        See `ReplayBuffer.wire`.
        """
        with self._changed:
            self._links.redirect(self.pipe, address)
            blocks = self.machine.wire(incarnation, near=near)
            self._perform()
            return blocks

    def on_release(self, message: Release) -> None:
        """Call `ReplayBuffer.on_release` with the lock held, send messages and wake waiters."""
        with self._changed:
            self.machine.on_release(message)
            self._perform()
            self._changed.notify_all()

    def on_starved(self, message: Starved) -> None:
        """Call `ReplayBuffer.on_starved` with the lock held, and wake waiting threads."""
        with self._changed:
            self.machine.on_starved(message)
            self._changed.notify_all()

    def on_closed(self) -> None:
        """Close the output: the client reports that the consumer needs nothing further."""
        with self._changed:
            self.machine.close()
            self._changed.notify_all()

    def lift(self, generation: int) -> None:
        """Call `ReplayBuffer.lift` with the lock held, and wake waiting threads."""
        with self._changed:
            self.machine.lift(generation)
            self._changed.notify_all()

    def watch(self, watcher: Callable[[Any], None]) -> None:
        """Call ``watcher`` with every message sent from now on, with the lock held."""
        with self._lock:
            self._watchers = (*self._watchers, watcher)

    def unwatch(self, watcher: Callable[[Any], None]) -> None:
        """Undo `watch`."""
        with self._lock:
            self._watchers = tuple(known for known in self._watchers if known != watcher)

    def notify(self) -> None:
        """Any thread: make all waiting threads check their conditions again."""
        with self._changed:
            self._changed.notify_all()

    @property
    def closed(self) -> bool:
        """Whether the consumer needs nothing further."""
        return self.machine.closed

    @property
    def watched(self) -> bool:
        """Whether there is a watcher."""
        return bool(self._watchers)

    @property
    def lock(self) -> threading.Lock:
        """The lock that is held while the machine works and its messages are sent."""
        return self._lock

    # with the lock held

    def _after(self, due: float, wait: bool) -> None:
        """Act on the result of a `put`: arm the control thread, or send and wait for room."""
        if due:
            self._arm(due)
            return
        self._perform()
        if wait and not self.machine.allow:
            self._wait_for_room()

    def _perform(self) -> None:
        """Send the machine's outgoing messages."""
        machine = self.machine
        outgoing = machine.outgoing
        if not outgoing:
            return
        send, pipe = self._links.send, self.pipe
        for message in outgoing:
            send(pipe, message)
            for watcher in self._watchers:
                watcher(message)
        outgoing.clear()
        due = machine.after_send(self._clock())
        if due:
            self._arm(due)

    def _wait_for_room(self) -> None:
        machine = self.machine
        if self._may_continue():
            return
        started = pressed = self._clock()
        machine.blocked(started)
        while not self._may_continue():
            if self._pump is None:
                if not self._changed.wait(PRESS_S):
                    self._say_open()
            elif not self._changed.wait(CIRCLE_POLL_S):
                self._lock.release()
                try:
                    self._pump()
                finally:
                    self._lock.acquire()
                if self._clock() - pressed >= PRESS_S:
                    pressed = self._clock()
                    self._say_open()
        machine.unblocked(self._clock())

    def _may_continue(self) -> bool:
        return self.machine.may_continue or not self._waits

    def _say_open(self) -> None:
        self.machine.say_open()
        self._perform()


class DroppingOutputShell(OutputShell):
    """The shell around a `fission.protocol.dropping.DroppingOutput`, which coalesces no blocks."""

    def put(self, payload: bytes | list[Any], head: int = 0, *, wait: bool = True) -> None:
        """Number a block and send it if its consumer keeps up. Never blocks.

        The arguments are those of `OutputShell.put`.
        """
        with self._lock:
            self.machine.add(payload, head, self._clock())
            self._perform()
