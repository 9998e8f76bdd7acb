"""What the service of a node sends to a client: answers to orders over Dask, reports over ZeroMQ,
and pulses over UDP.

`fission.protocol.messages.client_to_node` is the other direction.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec

from fission.protocol.link_quality import MAX_QUALITY
from fission.protocol.messages.client_to_node import MAX_DATAGRAM_BYTES, Duration, Port
from fission.protocol.messages.codec import Codec, Message, Part, Whole
from fission.protocol.messages.process_to_engine import ProcessReport

#: Bytes of an encoded answer; arbitrary. The largest one is a log of 8 MiB, each byte of which may be an escape of 6 bytes.
MAX_ANSWER_BYTES = 64 << 20
#: Bytes of an encoded report; arbitrary. An exit report has an error text of at most 40 kB, and counters of each pipe of the job.
MAX_REPORT_BYTES = 16 << 20


class OrderRefused(Message, frozen=True, tag="order_refused"):
    """The order was not carried out.

    Attributes:
        error: the reason, for the user.
        name: of the node; empty: unknown.
        ip: its address; empty: unknown.
    """

    error: str
    name: str = ""
    ip: str = ""


class OrderDone(Message, frozen=True, tag="order_done"):
    """The order was carried out, and there is nothing to add."""


class NodeClaimed(Message, frozen=True, tag="node_claimed"):
    """The node is leased to the run.

    Attributes:
        name: of the node, as its service was started.
        ip: its address.
        service: identity of the service's process.
        lease: identity of the lease; the service's jobs live as long as it does.
        max_jobs: how many jobs it takes.
        probe_port: UDP port at which it answers probes; 0: none.
        running: (job, incarnation) of what it runs of this run.
        acknowledged: number of the last exit report that a client has acknowledged in this lease.
        groups: groups that it is in by itself, beside those of NODES.
    """

    name: str
    ip: str
    service: str
    lease: str
    max_jobs: Whole
    probe_port: Port
    running: tuple[tuple[Whole, Whole], ...]
    acknowledged: Whole
    groups: tuple[str, ...] = ()


class NodeInspected(Message, frozen=True, tag="node_inspected"):
    """The node is free, or its client is silent: a run could have it.

    Attributes:
        name: of the node, as its service was started.
        ip: its address.
        max_jobs: how many jobs it takes.
        means: its load, by the names of `fission.core.nodes.NodeInfo`.
        groups: groups that it is in by itself, beside those of NODES.
    """

    name: str
    ip: str
    max_jobs: Whole
    means: dict[str, int | float]
    groups: tuple[str, ...] = ()


class ArchiveProgress(Message, frozen=True, tag="archive_progress"):
    """The piece of an archive is stored.

    Attributes:
        complete: whether the whole archive is there: no more pieces are needed.
    """

    complete: bool


class NetworkRemoved(Message, frozen=True, tag="network_removed"):
    """The files of a network are deleted.

    Attributes:
        size: of what was deleted, bytes.
    """

    size: Whole


class JobInspected(Message, frozen=True, tag="job_inspected"):
    """What the kernel says of a job's process.

    Attributes:
        standing: why it makes no progress, as "stopped by a signal"; empty: it may run, or its
            state is unknown.
    """

    standing: str


class LogTail(Message, frozen=True, tag="log_tail"):
    """The end of a network's log.

    Attributes:
        text: its last 8 MiB at most; empty: there is none.
    """

    text: str


class OutputReport(Message, frozen=True, tag="output_report"):
    """A job wrote lines. Sent once: a report that finds no room is lost.

    Attributes:
        run: identity of the run.
        lease: identity of the node's lease.
        job: its id.
        stream: on which it wrote.
        lines: without their newlines.
    """

    run: str
    lease: str
    job: Whole
    stream: Literal["stdout", "stderr"]
    lines: tuple[str, ...]


class ExitReport(Message, frozen=True, tag="exit_report"):
    """A job's process has ended. Sent again until a `PulseEcho` acknowledges its number.

    Attributes:
        run: identity of the run.
        lease: identity of the node's lease.
        number: counts the exit reports of the lease, from 1.
        job: its id.
        incarnation: from 1.
        code: exit code of its process; negative: the number of the signal that killed it.
        report: what the job's process reported at its end; None: it could not.
    """

    run: str
    lease: str
    number: Whole
    job: Whole
    incarnation: Whole
    code: Annotated[int, msgspec.Meta(ge=-(1 << 31), lt=1 << 31)]
    report: ProcessReport | None = None


class NoticeReport(Message, frozen=True, tag="notice_report"):
    """The node has something to say to the user. Sent once, possibly before the answer to the order
    that claims the node.

    Attributes:
        run: identity of the run.
        lease: identity of the node's lease.
        name: of the node, as its service was started.
        text: a sentence.
    """

    run: str
    lease: str
    name: str
    text: str


class MeasuredLink(Part, frozen=True):
    """The link from the reporting node to another one, as `LinksReport` has it.

    Attributes:
        quality: 0 to 255.
        rtt_s: smallest round trip of the last probes, seconds; None: none was answered lately.
    """

    quality: Annotated[int, msgspec.Meta(ge=0, le=MAX_QUALITY)]
    rtt_s: Duration | None = None


class LinksReport(Message, frozen=True, tag="links_report"):
    """The node has measured its links to other nodes.

    Attributes:
        run: identity of the run.
        lease: identity of the node's lease.
        links: by the name of the node at the other end.
    """

    run: str
    lease: str
    links: dict[str, MeasuredLink]


class LeasePulse(Message, frozen=True, tag="lease_pulse"):
    """The service is alive.

    Attributes:
        lease: identity of the node's lease.
        number: counts the pulses of the service, from 1.
        echoed: number of the last pulse that the client has answered.
        means: its load and "rtt", the last round trip to the client in seconds, by the names of
            `fission.core.nodes.NodeInfo`; "clock_offset", the seconds by which its clock is ahead
            of the client's, "clock_error", the largest error of that, and "clock_drift", the seconds
            per second by which it becomes more ahead (`fission.protocol.clock_offset`); "clock_wall",
            its time of day minus that clock, seconds.
        leaving: whether the service was stopped on purpose and ends now.
    """

    lease: str
    number: Whole
    echoed: Whole
    means: dict[str, int | float] = msgspec.field(default_factory=dict)
    leaving: bool = False


Answer: TypeAlias = "OrderRefused | OrderDone | NodeClaimed | NodeInspected | ArchiveProgress | NetworkRemoved | JobInspected | LogTail"
Report: TypeAlias = "OutputReport | ExitReport | NoticeReport | LinksReport"

ANSWERS: Codec[Answer] = Codec(
    "node to client, answers",
    OrderRefused,
    OrderDone,
    NodeClaimed,
    NodeInspected,
    ArchiveProgress,
    NetworkRemoved,
    JobInspected,
    LogTail,
    max_bytes=MAX_ANSWER_BYTES,
)
REPORTS: Codec[Report] = Codec("node to client, reports", OutputReport, ExitReport, NoticeReport, LinksReport, max_bytes=MAX_REPORT_BYTES)
PULSES: Codec[LeasePulse] = Codec("node to client, datagrams", LeasePulse, max_bytes=MAX_DATAGRAM_BYTES)
