"""How the client reaches its jobs: commands, wiring, and the ends of jobs whose processes are gone.

A launched incarnation may not be reachable yet. Messages to it, and whatever depends on its
address, wait for its `JobHello`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from fission.client.run.jobs.bundles import Addresses
from fission.core.network import Network
from fission.ports import JobBundle
from fission.protocol import frames, supervision
from fission.protocol.link_messages import End, Open
from fission.protocol.messages.client_to_job import ClientToJob, WirePipe
from fission.protocol.supervision import Supervisor


class JobTransport(Protocol):
    """Sends frames to addresses."""

    def send(self, address: str, frame: frames.Buffer) -> None:
        """Send a frame; never blocks."""

    def forget(self, address: str) -> None:
        """Drop an address where no job listens now."""


class JobChannel:
    """The client's channel to the jobs of one run.

    Attributes:
        ends: by ended job, whose process may be gone before its consumers note its end, and by
            output pipe: (incarnation, generation, last sqn).
    """

    def __init__(self, network: Network, supervisor: Supervisor, transport: JobTransport, addresses: Addresses) -> None:
        """Prepare the channel.

        Args:
            network: the running network.
            supervisor: knows the incarnations.
            transport: sends frames.
            addresses: where incarnations listen.
        """
        self._network, self._supervisor, self._transport, self._addresses = network, supervisor, transport, addresses
        # actions that wait until an incarnation is reachable, by job and incarnation
        self._waiting: dict[tuple[int, int], list[Callable[[], None]]] = {}
        self.ends: dict[int, dict[int, tuple[int, int, int]]] = {}

    def consumers(self, job: int) -> Mapping[int, int]:
        """Return the consumer of each output pipe of a job."""
        pipes = self._network.jobs[job].outputs
        return {pipe.id: consumer._fission_id for pipe in pipes if (consumer := self._network.consumer(pipe.id)) is not None}

    def producers(self, job: int) -> Mapping[int, int]:
        """Return the producer of each input pipe of a job."""
        pipes = self._network.jobs[job].inputs
        return {pipe.id: producer._fission_id for pipe in pipes if (producer := self._network.producer(pipe.id)) is not None}

    # incarnations

    def placed(self, job: int, incarnation: int, node: str) -> None:
        """Record that an incarnation was ordered to start on a node.

        Its predecessor gets no more messages.
        """
        self._addresses.placed(job, incarnation, node)
        if incarnation > 1:
            self._transport.forget(self._addresses.control(job, incarnation - 1))
            self._waiting.pop((job, incarnation - 1), None)

    def said_hello(self, job: int, incarnation: int, addresses: Mapping[str, str]) -> None:
        """Record the addresses that a started incarnation has reported.

        Whatever waited for them is sent.
        """
        self._addresses.reported(job, incarnation, addresses)
        for act in self._waiting.pop((job, incarnation), ()):
            act()

    # messages

    def command(self, job: int, message: ClientToJob) -> None:
        """Send a message to the newest incarnation of a job, at once or when it has started."""
        self._send(job, max(1, self._supervisor.newest(job)[0]), message)

    def wire(self, order: supervision.Wire) -> None:
        """Send a job the current peer of one of its pipes."""
        is_output = order.pipe in self.consumers(order.job)
        incarnation, node = self._supervisor.newest(order.job)

        def send() -> None:
            newest, peer_node = self._supervisor.newest(order.peer)
            if newest != order.incarnation:
                return  # a newer incarnation exists and gets an instruction of its own
            address = (self._addresses.data if is_output else self._addresses.control)(order.peer, order.incarnation, node)
            near = peer_node == node or not self._addresses.several
            message = WirePipe(pipe=order.pipe, address=address, near=near, peer=order.peer, incarnation=order.incarnation)
            self._send(order.job, incarnation, message)

        self._when_known(order.peer, order.incarnation, send)

    def wire_later(self, job: int, bundle: JobBundle) -> None:
        """Wire a starting job to the neighbours whose addresses its bundle lacks.

        Each is wired as soon as its address is known.
        """
        neighbours = {**self.consumers(job), **self.producers(job)}
        for pipe, address in {**bundle.wiring.outputs, **bundle.wiring.inputs}.items():
            peer, incarnation = neighbours[pipe], self._supervisor.newest(neighbours[pipe])[0]
            if not address and incarnation and self._supervisor.alive(peer):
                self.wire(supervision.Wire(job=job, pipe=pipe, peer=peer, incarnation=incarnation))

    def send_ends(self, producer: int) -> None:
        """Send the ends of a job's pipes to its consumers in its name.

        Its process is gone, and the consumers may not have noted its end.
        """
        for pipe, consumer in self.consumers(producer).items():
            self.send_end(producer, pipe, consumer)

    def send_end(self, producer: int, pipe: int, consumer: int) -> None:
        """Send the end of one pipe to its consumer; all blocks of the pipe were released."""
        last = self.ends.get(producer, {}).get(pipe)
        if last is None or not self._supervisor.alive(consumer):
            return
        incarnation = self._supervisor.newest(consumer)[0]

        def send() -> None:
            address = self._addresses.data(consumer, incarnation)
            for frame in (frames.encode_open(Open(pipe, *last)), frames.encode_end(End(pipe, *last, final=True))):
                self._transport.send(address, frame)

        self._when_known(consumer, incarnation, send)

    def _send(self, job: int, incarnation: int, message: ClientToJob) -> None:
        frame = frames.encode_command(message)
        self._when_known(job, incarnation, lambda: self._transport.send(self._addresses.control(job, incarnation), frame))

    def _when_known(self, job: int, incarnation: int, act: Callable[[], None]) -> None:
        if self._addresses.known(job, incarnation):
            act()
        else:
            self._waiting.setdefault((job, incarnation), []).append(act)
