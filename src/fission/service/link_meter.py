"""Measures the links to the other nodes of a run: sealed UDP probes, and batctl if installed.

`fission.protocol.link_quality` decides whether and when to probe. Probes and their echoes
(`fission.protocol.messages.node_to_node`) are bound to the run and to the lease of the receiver.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence

from fission.adapters import batman
from fission.adapters.datagrams import Datagrams, Sealing
from fission.protocol.link_quality import LinkProber, NodeLink, Peer, merged
from fission.protocol.messages.client_to_node import PeerNode
from fission.protocol.messages.node_to_node import PROBES, LinkProbe, LinkProbeEcho, ProbeMessage
from fission.protocol.replay import probe_context

#: Seconds between two reports or batctl calls; arbitrary. Longer beyond `REPORTED_PER_S` peers.
REPORT_S = 1.0
REPORTED_PER_S = 20
#: Shorter interval for new peers while not all are measured, and its maximum duration; arbitrary.
HURRIED_S, HURRY_S = 0.1, 3.0
#: Seconds between checks for peers while there are none; arbitrary.
IDLE_S = 0.5


class LinkMeter:
    """The links of one node's service."""

    def __init__(self, service: bytes, sealing: Sealing, report: Callable[[dict[str, NodeLink]], None], mesh: batman.Batman | None) -> None:
        """Prepare.

        Args:
            service: unique name of this service in datagrams.
            sealing: creates and opens datagrams.
            report: called with the measured links, by names of nodes, about once a second.
            mesh: runs batctl; None: batctl is not installed.
        """
        self._report_links, self._mesh = report, mesh
        self._datagrams = Datagrams(sealing, PROBES, PROBES, self._on_message, service, lambda: self._context)
        self._prober = LinkProber()
        self._addresses: dict[str, tuple[str, tuple[str, int]]] = {}  # by lease: name and address
        self._run, self._lease, self._context = "", "", b""
        self._qualities: Mapping[str, int] = {}
        self._asked: asyncio.Future[Mapping[str, int]] | None = None
        self._report_at = self._hurry_until = 0.0
        self.port = 0

    async def open(self, ip: str) -> None:
        """Listen at an address of this machine and set `port`.

        Raises:
            EngineError: the address is not available.
        """
        self.port = await self._datagrams.open(ip)

    def close(self) -> None:
        """Close the socket. Idempotent."""
        self.port = 0
        self._datagrams.close()

    def serve(self, run: str, lease: str) -> None:
        """Serve a run with this lease; "" means none. A new lease starts without peers."""
        if (run, lease) != (self._run, self._lease):
            self._run, self._lease = run, lease
            self._context = probe_context(run, lease) if run else b""
            self.set_peers(())

    def set_peers(self, peers: Sequence[PeerNode]) -> None:
        """Set the other nodes of the run."""
        self._addresses = {peer.lease: (peer.name, (peer.ip, peer.port)) for peer in peers}
        self._prober.set_peers(Peer(name, lease) for lease, (name, _) in self._addresses.items())
        self._report_at, self._hurry_until = 0.0, time.monotonic() + HURRY_S

    async def run(self) -> None:
        """Probe and report until cancelled."""
        while True:
            if not self._addresses:
                await asyncio.sleep(IDLE_S)
                continue
            now = time.monotonic()
            due = self._prober.probe(now)
            if due is not None:
                peer, number = due
                probe = LinkProbe(lease=self._lease, number=number)
                self._datagrams.send(probe, self._addresses[peer.lease][1], probe_context(self._run, peer.lease))
            self._report(now)
            await asyncio.sleep(self._prober.wait_s(time.monotonic()))

    def _report(self, now: float) -> None:
        if now < self._report_at:
            return
        self._ask_mesh()
        links = merged(self._prober.links(now), self._of_mesh())
        hurried = len(links) < len(self._addresses) and now < self._hurry_until
        self._report_at = now + (HURRIED_S if hurried else max(REPORT_S, len(self._addresses) / REPORTED_PER_S))
        if links:
            self._report_links(links)

    def _ask_mesh(self) -> None:
        if self._mesh is None or (self._asked is not None and not self._asked.done()):
            return
        if self._asked is not None and not self._asked.cancelled():
            self._qualities = self._asked.result()
        ips = [address[0] for _, address in self._addresses.values()]
        self._asked = asyncio.ensure_future(asyncio.to_thread(self._mesh.qualities, ips))

    def _of_mesh(self) -> dict[str, int]:
        return {name: self._qualities[ip] for name, (ip, _) in self._addresses.values() if ip in self._qualities}

    def _on_message(self, message: ProbeMessage, source: tuple[str, int], sender: bytes) -> None:
        if message.lease.partition(".")[0] != sender.hex():
            return  # its sender uses the lease of another service
        if isinstance(message, LinkProbe):
            echo = LinkProbeEcho(lease=self._lease, number=message.number)
            self._datagrams.send(echo, source, probe_context(self._run, message.lease))
        else:
            self._prober.answer(message.lease, message.number, time.monotonic())
