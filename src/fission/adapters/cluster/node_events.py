"""What nodes send to the client of a run, as events: pulses over UDP, reports over ZeroMQ."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from fission.adapters.cluster.members import Member, RunParameters
from fission.adapters.cluster.register import Register
from fission.adapters.cluster.report_receiver import ReportReceiver
from fission.ports import EngineEvent, EngineNotice, JobExited, JobOutput, LinksMeasured, NodeGone, NodePulse
from fission.protocol.link_quality import NodeLink
from fission.protocol.messages.client_to_node import ECHOES, PulseEcho
from fission.protocol.messages.node_to_client import PULSES, ExitReport, LeasePulse, LinksReport, NoticeReport, OutputReport, Report
from fission.protocol.replay import echo_context, pulse_context

#: Echoes that a node may miss before its pulses are ignored: a node that sends but does not receive cannot work.
#: The node itself may miss as many (`liveness.MISSES`), plus one in transit.
DEAF_PULSES = 6


class NodeEvents:
    """Receives what the nodes of one run send."""

    def __init__(
        self,
        parameters: RunParameters,
        client: str,
        register: Register,
        emit: Callable[[EngineEvent], None],
        guard: Callable[[Any], Any] | None,
        pulses: Any,
    ) -> None:
        """Prepare; `open` listens.

        Args:
            parameters: description of the run.
            client: identity of the client's process, in hexadecimal.
            register: knows the leases of the nodes.
            emit: called with each event.
            guard: returns the encryption for a ZeroMQ context's sockets; None disables encryption.
            pulses: creates the pulse socket, as for `DaskEngine`.
        """
        self._parameters, self._client, self._register, self._emit = parameters, client, register, emit
        context = pulse_context(parameters.run, client)
        self._datagrams = pulses(PULSES, ECHOES, self._on_pulse, bytes.fromhex(client), lambda: context)
        self._reports = ReportReceiver(parameters.report_address, parameters.run, guard, self._on_report)

    async def open(self) -> None:
        """Listen.

        Raises:
            EngineError: an address cannot be used.
        """
        await self._datagrams.open(*self._parameters.pulse_address)
        self._reports.open()

    async def receive(self) -> None:
        """Receive reports until cancelled."""
        await self._reports.receive()

    async def close(self) -> None:
        """Close the sockets."""
        self._datagrams.close()
        await asyncio.sleep(0)  # asyncio releases its sockets in the loop's next iteration; then the port is free
        self._reports.close()

    def _on_pulse(self, pulse: LeasePulse, source: tuple[str, int], sender: bytes) -> None:
        reached = time.monotonic()
        if pulse.lease.partition(".")[0] != sender.hex():
            return  # the sender's identity does not match the lease
        member = self._register.of_lease(pulse.lease)
        if member is not None and pulse.leaving:
            self._on_leaving(member)
            return
        known = member is not None and bool(member.worker)
        echo = PulseEcho(
            number=pulse.number,
            acknowledged=member.acknowledged if member is not None else 0,
            connected=known,
            reached=reached,
            answered=time.monotonic(),
        )
        self._datagrams.send(echo, source, echo_context(self._parameters.run, self._client, pulse.lease))
        if member is not None and pulse.number > member.pulse:
            member.pulse, member.pulse_at = pulse.number, time.monotonic()
            deaf = pulse.number - pulse.echoed > DEAF_PULSES
            if known and not deaf and self._register.newest(member.name) is member:
                self._emit(NodePulse(member.name, member.incarnation, pulse.means))

    def _on_leaving(self, member: Member) -> None:
        """Report a node whose service was stopped on purpose."""
        if not member.gone:
            member.waiting.clear()
            member.gone = True
            self._emit(NodeGone(member.name, "its service was stopped", member.incarnation, on_purpose=True))

    def _on_report(self, report: Report) -> None:
        member = self._register.of_lease(report.lease)
        if isinstance(report, NoticeReport):
            self._emit(EngineNotice(f"node {member.name if member is not None else report.name}: {report.text}"))
        elif member is None:
            return
        elif isinstance(report, OutputReport):
            self._emit(JobOutput(report.job, report.stream, report.lines))
        elif isinstance(report, LinksReport):
            if self._register.newest(member.name) is member:
                links = {name: NodeLink(link.quality, link.rtt_s) for name, link in report.links.items()}
                self._emit(LinksMeasured(member.name, links))
        else:
            self._on_exit(member, report)

    def _on_exit(self, member: Member, report: ExitReport) -> None:
        if report.number != member.acknowledged + 1:
            return  # a duplicate; or the report before it is missing: both are sent again
        member.acknowledged = report.number
        member.jobs.discard((report.job, report.incarnation))
        self._emit(JobExited(report.job, report.incarnation, report.code, report.report))
