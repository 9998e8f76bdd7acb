"""Where jobs run: what the client requests from an engine, and the events that it receives."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeAlias

from fission.ports.bundle import JobBundle
from fission.ports.names import JobId, NodeName, Seconds
from fission.protocol.link_quality import NodeLink
from fission.protocol.messages.process_to_engine import ProcessReport


@dataclass(frozen=True, slots=True)
class EngineNode:
    """A node as its engine knows it."""

    name: NodeName
    ip: str = ""
    jobs: frozenset[JobId] = frozenset()


#: Outcome in the report of a `JobExited` that the node caused and not the job: its disk is full,
#: the job's folder cannot be prepared, no process can be forked there. The report's ``error`` is
#: the cause in words, without the node's name. Such a job is placed on another node at once,
#: without counting against its RESTARTS, and the node is avoided for a while.
NODE_FAULT: Final = "node fault"


@dataclass(frozen=True, slots=True)
class JobOutput:
    """A job has written lines to its standard output or error.

    Attributes:
        stream: "stdout" or "stderr".
        lines: the lines without their newlines.
    """

    job_id: JobId
    stream: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class JobExited:
    """A job's process has ended; all its output was reported before.

    Attributes:
        code: its exit code; negative: the signal that killed it.
        report: what the job's process reported at its end; None: it could not. An engine whose node
            cannot start or keep the job reports the outcome `NODE_FAULT`, with the cause as error.
    """

    job_id: JobId
    incarnation: int
    code: int
    report: ProcessReport | None = None

    @property
    def node_fault(self) -> str:
        """The cause in words, if the node caused the exit; otherwise empty."""
        if self.report is None or self.report.outcome != NODE_FAULT:
            return ""
        return self.report.error or "no cause given"


@dataclass(frozen=True, slots=True)
class NodePulse:
    """A node is alive.

    Attributes:
        incarnation: incarnation of the node, from 1; it grows with each lease of its service.
        means: values of `core.nodes.NodeInfo` that the node has measured, by field name; may be
            empty.
    """

    name: NodeName
    incarnation: int = 1
    means: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LinksMeasured:
    """A node has measured its links to other nodes.

    Attributes:
        name: name of the node that has measured.
        links: measurements by name of the node at the other end.
    """

    name: NodeName
    links: Mapping[str, NodeLink]


@dataclass(frozen=True, slots=True)
class NodeJoined:
    """A node has joined that the client did not know, or a known one with other properties.

    Its first pulse follows.

    Attributes:
        running: (job, incarnation) of each process of this run that still runs there.
    """

    name: NodeName
    ip: str
    groups: tuple[str, ...]
    max_jobs: int
    incarnation: int = 1
    running: tuple[tuple[JobId, int], ...] = ()


@dataclass(frozen=True, slots=True)
class EngineNotice:
    """Information for the user."""

    text: str


@dataclass(frozen=True, slots=True)
class NodeGone:
    """A node's service has ended, or the transport has detected the end of its connection.

    Its jobs are dead or will stop by themselves.

    Attributes:
        reason: reason for this judgement.
        on_purpose: whether its service was stopped in order; such a node has left and is not lost.
    """

    name: NodeName
    reason: str
    incarnation: int = 1
    on_purpose: bool = False


EngineEvent: TypeAlias = "JobOutput | JobExited | NodeJoined | NodePulse | LinksMeasured | NodeGone | EngineNotice"


class Engine(Protocol):
    """Hosts job processes on nodes. All calls come from one asyncio loop.

    Another kind of cluster needs one class with these methods that passes
    ``tests/conformance/engine.py``; the client never checks the class of an engine. Every method
    that takes the name of a node raises InternalError if that node never existed.
    """

    async def open(self) -> None:
        """Start the engine; afterwards `nodes` has entries.

        Raises:
            EngineError: the engine cannot start.
        """
        ...

    def nodes(self) -> Mapping[NodeName, EngineNode]:
        """Return the nodes that are up."""
        ...

    def events(self) -> AsyncIterator[EngineEvent]:
        """Yield events in order until `close`. There must be only one caller."""
        ...

    async def launch(self, job: JobBundle, node: NodeName) -> None:
        """Order a node to start a job; return when the order is given.

        The job's end is an event, even if it could not start.

        Raises:
            EngineError: the node is gone.
        """
        ...

    async def bring(self, job: JobId, incarnation: int, node: NodeName, name: str, pieces: Iterator[bytes]) -> None:
        """Send a snapshot to the incarnation that requested it; return before it has arrived.

        It appears as a file in the incarnation's `Place.snapshot_folder`. An incarnation that does
        not get it asks again, also if its node has not joined a resumed client yet.

        Args:
            job: id of the job.
            incarnation: incarnation that requested it.
            node: node where the incarnation runs.
            name: name of the file.
            pieces: the file's content in pieces; an exception that the iterator raises is reported
                to the job, which then cannot continue.
        """
        ...

    async def stop(self, job: JobId, incarnation: int, node: NodeName, *, grace: Seconds) -> None:
        """Ask an incarnation of a job to stop, and kill it after a while. Its end is an event.

        The job's ``finally`` blocks run. Nothing happens if the incarnation does not run there, or
        if the node has not joined a resumed client yet.

        Args:
            job: id of the job.
            incarnation: incarnation that must stop.
            node: node where it runs.
            grace: seconds until it is killed.
        """
        ...

    def stopped(self, node: NodeName) -> bool | None:
        """Return whether the kernel has stopped the node's process.

        None: it runs on another machine, so only its pulses can tell.
        """
        ...

    def absence(self, node: NodeName) -> str:
        """Return what to do about a node that is not up, in one line. May block.

        Empty: the user has already been notified.
        """
        ...

    async def look(self, job: JobId, incarnation: int, node: NodeName) -> str:
        """Return why the kernel does not let a job's process run, as "stopped by a signal".

        Empty: it lets it run, or the reason is unknown.
        """
        ...

    async def lost(self, node: NodeName) -> None:
        """Drop the orders that wait for a node that the client has judged dead."""
        ...

    async def follow(self, on: bool) -> None:
        """Start or stop reporting the output of jobs on other machines as `JobOutput`.

        The output of jobs on this machine is always reported.
        """
        ...

    async def logs(self, network: str) -> Mapping[NodeName, str]:
        """Return the log of a network's jobs from each node that keeps its own.

        For a node that fails, the value is its error.
        """
        ...

    async def dismiss(self) -> None:
        """End the run on all reachable nodes. Idempotent.

        The nodes stop whatever is left of the run, and are then free for other networks. Only
        `close` may follow.
        """
        ...

    async def close(self) -> None:
        """Kill everything that still runs and free all resources. Idempotent.

        No process of this engine remains.
        """
        ...
