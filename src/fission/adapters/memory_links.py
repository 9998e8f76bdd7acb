"""A job's links inside one process: queues instead of sockets, for tests and small networks.

They give the same guarantees as ZeroMQ links and pass the same conformance suite.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping, Sequence

from fission.errors import EngineError, InternalError
from fission.ports import PipeId, Seconds, Wiring
from fission.protocol.frames import Buffer


class _Box:
    """A queue that one thread reads; an empty message wakes the reader."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._messages: deque[list[Buffer]] = deque()

    def put(self, message: list[Buffer]) -> None:
        with self._changed:
            self._messages.append(message)
            self._changed.notify()

    def get(self, timeout: Seconds | None) -> list[Buffer] | None:
        with self._changed:
            if not self._changed.wait_for(lambda: bool(self._messages), timeout):
                return None
            return self._messages.popleft() or None


class MemoryNetwork:
    """The network that connects `MemoryLinks`: mailboxes by address.

    Messages to an address may be sent before its owner listens.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._boxes: dict[str, _Box] = {}
        self.listening: set[str] = set()

    def box(self, address: str) -> _Box:
        """Return the mailbox of an address; the first use creates it."""
        with self._lock:
            return self._boxes.setdefault(address, _Box())

    def listen(self, address: str) -> _Box:
        """Claim an address and return its mailbox.

        Raises:
            EngineError: the address is in use.
        """
        with self._lock:
            if address in self.listening:
                raise EngineError(f"cannot listen at {address}: address already in use")
            self.listening.add(address)
        return self.box(address)

    def leave(self, address: str) -> None:
        """Release an address; its waiting messages are dropped."""
        with self._lock:
            self.listening.discard(address)
            self._boxes.pop(address, None)


class MemoryLinks:
    """`fission.ports.Links` over a `MemoryNetwork`; any text is an address."""

    def __init__(self, wiring: Wiring, network: MemoryNetwork) -> None:
        """Claim the addresses.

        Args:
            wiring: addresses of the links.
            network: network of these addresses.

        Raises:
            EngineError: an address is in use.
        """
        self._wiring = wiring
        self._network = network
        self._data = network.listen(wiring.data)
        try:
            self._control = network.listen(wiring.control)
        except EngineError:
            network.leave(wiring.data)
            raise
        self._out = dict(wiring.outputs)
        self._back = dict(wiring.inputs)
        self._closed = False

    def send(self, pipe: PipeId, frames: Sequence[Buffer]) -> None:
        # a copy, as on a wire: later writes of the sender into its buffers must not reach the receiver
        self._network.box(self._out[pipe]).put([bytes(frame) for frame in frames])

    def receive(self, *, wait: bool = True) -> list[Buffer] | None:
        return self._data.get(None if wait else 0)

    def wake(self) -> None:
        self._data.put([])

    def answer(self, pipe: PipeId, frame: Buffer) -> None:
        if not self._closed:
            self._network.box(self._back[pipe]).put([bytes(frame)])

    def tell(self, frame: Buffer) -> None:
        if self._wiring.client and not self._closed:
            self._network.box(self._wiring.client).put([bytes(frame)])

    def control(self, timeout: Seconds | None) -> list[Buffer] | None:
        return self._control.get(timeout)

    def wake_control(self) -> None:
        self._control.put([])

    def redirect(self, pipe: PipeId, address: str) -> None:
        side = self._out if pipe in self._out else self._back
        if pipe not in side:
            raise InternalError(f"pipe {pipe} is not one of {sorted(self._out)} or {sorted(self._back)}")
        side[pipe] = address or side[pipe]

    def reach_client(self, address: str) -> None:
        """Do nothing: the client is in this process and stays there."""

    @property
    def addresses(self) -> Mapping[str, str]:
        return {}

    def close(self, linger: Seconds) -> None:
        if not self._closed:
            self._closed = True
            self._network.leave(self._wiring.data)
            self._network.leave(self._wiring.control)
