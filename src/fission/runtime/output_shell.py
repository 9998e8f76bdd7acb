"""What a job's loop puts the blocks of one output into."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Protocol

from fission.protocol.endpoint import Endpoint
from fission.protocol.joined import encode_value
from fission.protocol.large_blocks import LentBuffer
from fission.protocol.output import Output
from fission.protocol.pacing import CIRCLE_POLL_S, COALESCE_BYTES, PRESS_S


class OutputOwner(Protocol):
    """The shell of the job's endpoint, as an output sees it.

    Attributes:
        endpoint: the endpoint.
        lock: lock of the endpoint.
        changed: condition of the lock, notified when there may be room.
        clock: function that returns the time in seconds.
        waits: whether `OutputShell.put` may wait for room.
        pump: whether inputs must be taken while an output waits for room.
    """

    endpoint: Endpoint
    lock: threading.Lock
    changed: threading.Condition
    clock: Callable[[], float]
    waits: bool
    pump: bool

    def perform(self) -> None:
        """Perform the endpoint's effects, with the lock held."""
        ...

    def send(self, pipe: int, message: list[Any]) -> None:
        """Send a message of an output that is not among the effects, with the lock held."""
        ...

    def drain_inputs(self) -> None:
        """Take every message that has arrived."""
        ...


class OutputShell:
    """One output. All calls belong to one thread: that of the job's loop, or of an executable's pipe.

    Attributes:
        machine: state machine that decides. Any thread may read its attributes.
        pipe: id of the pipe.
        joins: whether `put_value` may be called.
    """

    joins = True

    def __init__(self, index: int, owner: OutputOwner) -> None:
        """Prepare.

        Args:
            index: index of the output.
            owner: shell of the endpoint.
        """
        self.machine: Output = owner.endpoint.outputs[index]
        self.pipe = self.machine.pipe
        self._index = index
        self._owner = owner
        self._lock, self._changed, self._clock = owner.lock, owner.changed, owner.clock

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
        if type(payload) is bytes and not head and not machine.pending and len(payload) < COALESCE_BYTES and machine.alone(self._clock()):
            self._send_alone(payload, wait)
            return
        if type(payload) is bytes and not head and machine.heads is None and not machine.joins:
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
                self._owner.endpoint.arm_if(machine.look(self._clock()))
                self._after_put(wait)
            return
        with self._lock:
            self._owner.endpoint.put(self._index, payload, head, self._clock())
            self._after_put(wait)

    def put_value(self, value: Any, *, wait: bool = True) -> None:
        """Do as `put` with a value that may be encoded together with others: see `codec.frozen`.

        Args:
            value: value without a head, to which only FISSION refers.
            wait: as in `put`.
        """
        machine = self.machine
        if not machine.pending and machine.alone(self._clock()):
            self._send_alone(encode_value(value), wait)
            return
        if machine.joins:  # without the lock, as in `put`; values are so small that their bytes need no count
            pending = machine.pending
            pending.append(value)
            if 1 < len(pending) < machine.allow and (machine.behind or self._clock() < machine.hold_until):
                return
            with self._lock:
                self._owner.endpoint.arm_if(machine.look(self._clock()))
                self._after_put(wait)
            return
        if machine.pending:
            self.put(encode_value(value), wait=wait)
            return
        with self._lock:
            self._owner.endpoint.put_value(self._index, value, self._clock())
            self._after_put(wait)

    def put_packed(self, data: memoryview, size: int) -> None:
        """Do as `put` with each of several blocks of one length, and send all of them at once.

        Args:
            data: the blocks, one after the other.
            size: length of each block, in bytes.
        """
        machine, most = self.machine, max(1, COALESCE_BYTES // size) * size
        with self._lock:
            machine.put_at = self._clock()
            while data and not machine.closed:
                machine.flush()  # these blocks come first
                self._after_put(wait=True)
                some = data[: min(most, max(1, machine.allow) * size)]
                data = data[len(some) :]
                self._owner.endpoint.put_packed(self._index, some, size)
                self._after_put(wait=True)

    def put_leased(self, lease: LentBuffer, size: int) -> None:
        """Do as `put_packed` with blocks in shared memory, no more than there is room for.

        Args:
            lease: lease of the memory.
            size: length of each block, in bytes.
        """
        with self._lock:
            self.machine.put_at = self._clock()
            self._owner.endpoint.put_packed(self._index, lease, size)
            self._after_put(wait=True)

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
                self._owner.perform()

    def flush(self) -> None:
        """Send the blocks held back."""
        if self.machine.pending:
            with self._lock:
                self.machine.flush()
                self._owner.perform()

    def press(self) -> None:
        """Notify the consumer that this job waits for room."""
        with self._lock:
            self.machine.press()
            self._owner.perform()

    def continue_after(self, had: int, given: int) -> None:
        """Do as `ReplayBuffer.continue_after`."""
        with self._lock:
            self.machine.continue_after(had, given)

    @property
    def closed(self) -> bool:
        """Whether the consumer needs nothing further."""
        return self.machine.closed

    def _send_alone(self, payload: bytes, wait: bool) -> None:
        machine, owner = self.machine, self._owner
        with self._lock:
            message = machine.send_alone(payload)
            if owner.endpoint.effects:
                owner.perform()  # its stamp
            owner.send(self.pipe, message)
            machine.sent_alone(self._clock())
            if not machine.allow and wait:
                self._wait_for_room()

    # with the lock held

    def _after_put(self, wait: bool) -> None:
        self._owner.perform()
        if wait and not self.machine.allow:
            self._wait_for_room()

    def _wait_for_room(self) -> None:
        machine = self.machine
        if self._may_continue():
            return
        started = pressed = self._clock()
        machine.blocked(started)
        self._owner.endpoint.room_wait.begin(started)
        while not self._may_continue():
            if not self._owner.pump:
                if not self._changed.wait(PRESS_S):
                    self._say_open()
            elif not self._changed.wait(CIRCLE_POLL_S):
                self._lock.release()
                try:
                    self._owner.drain_inputs()
                finally:
                    self._lock.acquire()
                if self._clock() - pressed >= PRESS_S:
                    pressed = self._clock()
                    self._say_open()
        ended = self._clock()
        machine.unblocked(ended)
        self._owner.endpoint.room_wait.end(ended)

    def _may_continue(self) -> bool:
        return self.machine.may_continue or not self._owner.waits

    def _say_open(self) -> None:
        self.machine.say_open()
        self._owner.perform()


class DroppingOutputShell(OutputShell):
    """An output whose consumer has a MAX_QUEUE, which coalesces no blocks."""

    joins = False

    def put(self, payload: bytes | list[Any], head: int = 0, *, wait: bool = True) -> None:
        """Number a block and send it if its consumer keeps up. Never blocks.

        The arguments are those of `OutputShell.put`.
        """
        with self._lock:
            self._owner.endpoint.put(self._index, payload, head, self._clock())
            self._owner.perform()
