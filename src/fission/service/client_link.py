"""Unrequested messages of a node's service to its client: pulses (UDP) and reports (ZeroMQ)."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, Literal

from fission.adapters.cluster.report_sender import ReportSender
from fission.adapters.datagrams import Datagrams, Sealing
from fission.adapters.machine import Means
from fission.adapters.wall_clock import wall_offset_s
from fission.ports import JobOutput
from fission.protocol.link_quality import NodeLink
from fission.protocol.messages.client_to_node import ECHOES, ClaimNode, PulseEcho
from fission.protocol.messages.node_to_client import PULSES, LeasePulse, LinksReport, MeasuredLink, NoticeReport, OutputReport, Report
from fission.protocol.node_lease import IncarnationToStop, LeaseState, NodeLease
from fission.protocol.replay import echo_context, pulse_context
from fission.service.pulses import Pulses

#: Notifications to the client that the service ends: datagrams may get lost. Arbitrary.
GOODBYES = 3
#: Consecutive pulses without an echo after which the client may be elsewhere: as many as make a node lost.
SILENT_PULSES = 5


class ClientLink:
    """The link to the present client; serves one client at a time. For one asyncio loop.

    Attributes:
        follow: whether the client wants the output of jobs.
    """

    def __init__(
        self,
        lease: NodeLease,
        means: Means,
        guard: Callable[[Any], Any] | None,
        sealing: Sealing,
        connected: Callable[[], bool],
        on_given_up: Callable[[], None],
    ) -> None:
        """Prepare; `open` begins.

        Args:
            lease: the node's lease, which names the client.
            means: measures the load of this machine.
            guard: returns the encryption of a ZeroMQ context's sockets; None: no encryption.
            sealing: creates and opens datagrams.
            connected: returns whether Dask has a connection to the client.
            on_given_up: called when the client reports no connection to this node, despite
                `connected`.
        """
        self._lease, self._means, self._guard = lease, means, guard
        self._connected, self._on_given_up = connected, on_given_up
        self._datagrams = Datagrams(sealing, ECHOES, PULSES, self._on_echo, bytes.fromhex(lease.service), self._echo_context)
        self._reports: ReportSender | None = None
        self._client = ""  # identity of the client's process
        self._pulse_address: tuple[str, int] = ("", 0)
        self._pulses = Pulses()
        self._interval_s = 1.0
        self._heard_at = math.inf
        self._claimed = asyncio.Event()
        self.follow = False

    async def open(self, ip: str) -> None:
        """Listen for echoes at an address of this machine.

        Raises:
            EngineError: the address is not available.
        """
        self._datagrams.close()
        await self._datagrams.open(ip)

    def close(self) -> None:
        """Close the sockets. Idempotent."""
        self._datagrams.close()
        self.hang_up()

    def hang_up(self) -> None:
        """Close the connection for reports; `claimed` opens another one."""
        if self._reports is not None:
            self._reports.close()
            self._reports = None

    def claimed(self, order: ClaimNode) -> None:
        """Note that a client has claimed the node."""
        self._pulses.claimed()
        self._heard_at = time.monotonic()
        self._client, self._pulse_address = order.client, order.pulse_address
        self._interval_s, self.follow = order.interval_s, order.follow
        if self._reports is None or self._reports.address != order.report_address:
            self.hang_up()
            self._reports = ReportSender(order.report_address, self._guard)
        self._claimed.set()

    def freed(self) -> None:
        """Note that no client has the node."""
        self._claimed.clear()

    @property
    def silent(self) -> bool:
        """Whether the client that has claimed this node does not answer: it may have another address."""
        return self._claimed.is_set() and time.monotonic() - self._heard_at > SILENT_PULSES * self._interval_s

    # reports

    def report(self, report: Report) -> None:
        """Send a report, unless the queue is full."""
        if self._reports is not None:
            self._reports.send(report)

    def report_output(self, output: JobOutput) -> None:
        """Report the output of a job, if the client wants it."""
        if self.follow:
            stream: Literal["stdout", "stderr"] = "stderr" if output.stream == "stderr" else "stdout"
            self.report(OutputReport(run=self._lease.run, lease=self._lease.id, job=output.job_id, stream=stream, lines=output.lines))

    def report_notice(self, text: str, name: str) -> None:
        """Report a sentence for the user from the node of this name."""
        self.report(NoticeReport(run=self._lease.run, lease=self._lease.id, name=name, text=text))

    def report_links(self, links: Mapping[str, NodeLink]) -> None:
        """Report measured links, by names of nodes."""
        measured = {name: MeasuredLink(quality=link.quality, rtt_s=link.rtt_s) for name, link in links.items()}
        self.report(LinksReport(run=self._lease.run, lease=self._lease.id, links=measured))

    # pulses

    async def run(self) -> list[IncarnationToStop]:
        """Send pulses and repeat exit reports until the client is silent for too long.

        Returns:
            The incarnations to stop.
        """
        while True:
            await self._claimed.wait()
            now = time.monotonic()
            self._means.sample(now)
            means = {
                **asdict(self._means.load()),
                **({} if self._pulses.rtt_s is None else {"rtt": self._pulses.rtt_s}),
                **self._pulses.clock(now),
                "clock_wall": wall_offset_s(),
            }
            self._send_pulse(now, {name: value for name, value in means.items() if math.isfinite(value)})
            again, stops = self._lease.tick(now)
            for report in again:
                self.report(report)
            if self._lease.state is LeaseState.FREE:
                return stops
            await asyncio.sleep(self._interval_s)

    def say_goodbye(self) -> None:
        """Notify the client that the service ends on purpose, so it need not wait for pulses."""
        if self._lease.state is LeaseState.SERVING and self._pulse_address[1]:
            for _ in range(GOODBYES):
                self._send_pulse(time.monotonic(), leaving=True)

    def _send_pulse(self, now: float, means: dict[str, int | float] | None = None, *, leaving: bool = False) -> None:
        number, echoed = self._pulses.next(now), self._pulses.echoed
        pulse = LeasePulse(lease=self._lease.id, number=number, echoed=echoed, means=means or {}, leaving=leaving)
        self._datagrams.send(pulse, self._pulse_address, pulse_context(self._lease.run, self._client))

    def _echo_context(self) -> bytes:
        """Return the context of the client's echoes to this service in this run; empty: none."""
        return echo_context(self._lease.run, self._client, self._lease.id) if self._lease.run else b""

    def _on_echo(self, echo: PulseEcho, source: tuple[str, int], sender: bytes) -> None:
        now = time.monotonic()
        if not self._pulses.echo(echo.number, now, echo.reached, echo.answered):
            return
        self._heard_at = now
        self._lease.heard(self._lease.run, now)
        self._lease.acknowledge(self._lease.run, echo.acknowledged)
        if self._pulses.cut_off(known=echo.connected, connected=self._connected()):
            self._on_given_up()
