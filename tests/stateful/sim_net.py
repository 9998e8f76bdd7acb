"""Time and transport of the simulated cluster: ordered events, wires with delays and losses."""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any


class Timeline:
    """The manual clock: future events by time."""

    def __init__(self) -> None:
        self.now = 0.0
        self.done = 0
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def clock(self) -> float:
        """Replace `time.monotonic` and `time.perf_counter`."""
        return self.now

    def at(self, moment: float, what: Callable[[], None]) -> None:
        """Call a function at a time; at the same time, in the order of the calls."""
        self._count += 1
        heapq.heappush(self._heap, (max(moment, self.now), self._count, what))

    def after(self, seconds: float, what: Callable[[], None]) -> None:
        """Call a function after a delay."""
        self.at(self.now + seconds, what)

    def step(self) -> bool:
        """Run the next event; return False if there is none."""
        if not self._heap:
            return False
        self.now, _, what = heapq.heappop(self._heap)
        self.done += 1
        what()
        return True


class Wire:
    """The messages from one incarnation (or the client) to one address: in order, with delays.

    A loss affects all messages from some point on.
    """

    def __init__(self, net: Net, sender: Any, address: str) -> None:
        self._net, self.sender, self.address = net, sender, address
        self.in_transit: deque[Any] = deque()
        self._last = 0.0
        self.dead = False
        self.held = False

    def send(self, message: Any) -> None:
        """Send a message."""
        if self.dead:
            return
        net = self._net
        self.in_transit.append(message)
        self._last = max(self._last, net.time.now + net.delay())
        net.time.at(self._last, self.arrive)

    def arrive(self) -> None:
        """Deliver the oldest message, if a receiver is there."""
        if not self.in_transit or self.dead:
            return
        receiver = self._net.receivers.get(self.address)
        if self.address in self._net.gone:
            self.dead = True
            self.in_transit.clear()
        elif receiver is None or self._net.is_cut_between(self.sender, receiver):
            self.held = True  # until the receiver listens, or the cut is over
        else:
            receiver.take(self.address, self.in_transit.popleft())

    def resume(self) -> None:
        """Deliver the messages that were held."""
        if self.held:
            self.held = False
            for _ in range(len(self.in_transit)):
                self._net.time.after(0, self.arrive)

    def lose(self, rng: random.Random) -> None:
        """Lose messages: the sender is dead, or a cut has lasted too long.

        Some messages in transit still arrive, unless the sender still held them.
        """
        keep = 0 if self.held else rng.randint(0, len(self.in_transit))
        while len(self.in_transit) > keep:
            self.in_transit.pop()
        if not keep:
            self.dead = True
        self.send = lambda message: None  # type: ignore[method-assign]


class Net:
    """All wires of the cluster."""

    def __init__(self, time: Timeline, rng: random.Random) -> None:
        self.time, self._rng = time, rng
        self.receivers: dict[str, Any] = {}
        self.gone: set[str] = set()
        self.cut: set[str] = set()
        self.wires: dict[tuple[Any, str], Wire] = {}
        self._slow = rng.choice([0.0005, 0.003, 0.01])

    def delay(self) -> float:
        """Return the delay of one message in seconds."""
        if self._rng.random() < 0.01:
            return self._rng.uniform(0, 0.1)
        return self._rng.uniform(0, self._slow)

    def wire(self, sender: Any, address: str) -> Wire:
        """Return the wire from a sender to an address, always the same one."""
        key = (sender, address)
        if key not in self.wires:
            self.wires[key] = Wire(self, sender, address)
        return self.wires[key]

    def is_cut_between(self, sender: Any, receiver: Any) -> bool:
        """Return whether a cut is between the two."""
        return sender.node != receiver.node and (sender.node in self.cut or receiver.node in self.cut)

    def listen(self, address: str, receiver: Any) -> None:
        """Register a receiver at an address."""
        self.receivers[address] = receiver
        for wire in list(self.wires.values()):
            if wire.address == address:
                wire.resume()

    def leave(self, address: str) -> None:
        """Close an address for good."""
        self.receivers.pop(address, None)
        self.gone.add(address)

    def of(self, sender: Any) -> list[Wire]:
        """Return all wires of a sender."""
        return [wire for (who, _), wire in self.wires.items() if who is sender]

    def to(self, address: str) -> list[Wire]:
        """Return all wires to an address."""
        return [wire for (_, where), wire in self.wires.items() if where == address]

    def heal(self) -> None:
        """End a cut."""
        for wire in list(self.wires.values()):
            wire.resume()


class SimLinks:
    """`fission.ports.Links` of one incarnation."""

    def __init__(self, wiring: Any, net: Net, process: Any) -> None:
        self.wiring, self._net, self.process = wiring, net, process
        self._out, self._back = dict(wiring.outputs), dict(wiring.inputs)
        self.box: deque[list[Any]] = deque()
        self.woken = False

    def send(self, pipe: int, frames: Sequence[Any]) -> None:
        message = [bytes(frame) for frame in frames]
        self.process.record_sent(pipe, message)
        self._net.wire(self.process, self._out[pipe]).send(message)
        self.process.interrupt(inside=True)

    def receive(self, *, wait: bool = True) -> list[Any] | None:
        if self.box:
            return self.box.popleft()
        self.woken = False
        return None

    def wake(self) -> None:
        self.woken = True
        self.process.schedule_step()

    def answer(self, pipe: int, frame: Any) -> None:
        self._net.wire(self.process, self._back[pipe]).send([bytes(frame)])

    def tell(self, frame: Any) -> None:
        self._net.wire(self.process, self.wiring.client).send([bytes(frame)])

    def control(self, timeout: float | None) -> list[Any] | None:
        raise AssertionError("there is no control thread")

    def wake_control(self) -> None:
        pass

    @property
    def addresses(self) -> dict[str, str]:
        return {}

    def redirect(self, pipe: int, address: str) -> None:
        side = self._out if pipe in self._out else self._back
        old = self._net.wire(self.process, side[pipe])
        if side[pipe] != address:
            old.in_transit.clear()  # the socket is closed at once
        side[pipe] = address

    def close(self, linger: float) -> None:
        pass
