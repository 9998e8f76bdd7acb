"""Measures the ways to the other nodes of a run: probes over UDP, sealed as pulses are, and batctl where it is installed.

Whether and when is `fission.protocol.link_quality`'s to decide. A probe says ``{"probe": number}``, its answer ``{"answer": number}``, both
with the life of who sends it; they are bound to the run and to the life of the receiver.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fission.adapters import batman
from fission.adapters.datagrams import Datagrams, Sealing
from fission.protocol.link_quality import LinkProber, NodeLink, Peer, merged
from fission.protocol.replay import probe_context

#: Seconds between two reports, and between two looks at batctl; arbitrary. With more than `REPORTED_PER_S` peers longer.
REPORT_S = 1.0
REPORTED_PER_S = 20
#: The same right after the peers were named, while not all are measured, and how long that goes on at most; arbitrary.
HURRIED_S, HURRY_S = 0.1, 3.0
#: Seconds until it is looked again whether there are peers; arbitrary.
IDLE_S = 0.5


class LinkMeter:
    """The links of one node's service."""

    def __init__(self, service: bytes, sealing: Sealing, say: Callable[[dict[str, NodeLink]], None], mesh: batman.Batman | None) -> None:
        """Prepare.

        Args:
            service: unique name of this service in datagrams.
            sealing: makes and opens datagrams.
            say: called with what is measured, by names of nodes, about once a second.
            mesh: asks batctl; None: it is not installed.
        """
        self._say, self._mesh = say, mesh
        self._datagrams = Datagrams(self._on_message, sealing, service, lambda: self._context)
        self._prober = LinkProber()
        self._addresses: dict[str, tuple[str, tuple[str, int]]] = {}  # by life: name and address
        self._run, self._life, self._context = "", "", b""
        self._qualities: Mapping[str, int] = {}
        self._asked: asyncio.Future[Mapping[str, int]] | None = None
        self._report_at = self._hurry_until = 0.0
        self.port = 0

    async def open(self, ip: str) -> None:
        """Listen at an address of this machine, `port` is then set. Raises EngineError: the address cannot be had."""
        self.port = await self._datagrams.open(ip)

    def close(self) -> None:
        """Give the socket back. Idempotent."""
        self.port = 0
        self._datagrams.close()

    def serve(self, run: str, life: str) -> None:
        """This service is in a run now, with this life. In another one than before it has no peers yet; "": in none."""
        if (run, life) != (self._run, self._life):
            self._run, self._life = run, life
            self._context = probe_context(run, life) if run else b""
            self.set_peers(())

    def set_peers(self, peers: Sequence[Sequence[Any]]) -> None:
        """The other nodes: name, address, UDP port and life of each. Raises ValueError or TypeError: it is malformed."""
        found = {str(life): (str(name), (str(ip), int(port))) for name, ip, port, life in peers}
        self._addresses = found
        self._prober.set_peers(Peer(name, life) for life, (name, _) in found.items())
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
                self._datagrams.send(
                    {"probe": number, "life": self._life}, self._addresses[peer.life][1], probe_context(self._run, peer.life)
                )
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
            self._say(links)

    def _ask_mesh(self) -> None:
        if self._mesh is None or (self._asked is not None and not self._asked.done()):
            return
        if self._asked is not None and not self._asked.cancelled():
            self._qualities = self._asked.result()
        ips = [address[0] for _, address in self._addresses.values()]
        self._asked = asyncio.ensure_future(asyncio.to_thread(self._mesh.qualities, ips))

    def _of_mesh(self) -> dict[str, int]:
        return {name: self._qualities[ip] for name, (ip, _) in self._addresses.values() if ip in self._qualities}

    def _on_message(self, message: dict[str, Any], source: tuple[str, int], sender: bytes) -> None:
        life = message.get("life")
        if not isinstance(life, str) or life.partition(".")[0] != sender.hex():
            return  # its sender speaks for another service
        if type(message.get("probe")) is int:
            answer = {"answer": message["probe"], "life": self._life}
            self._datagrams.send(answer, source, probe_context(self._run, life))
        else:
            self._prober.answer(life, message.get("answer"), time.monotonic())
