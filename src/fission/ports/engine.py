"""Where jobs run: what the client asks of an engine, and what it hears."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from fission.ports.bundle import JobBundle
from fission.ports.names import JobId, NodeName, Seconds
from fission.protocol.link_quality import NodeLink


@dataclass(frozen=True, slots=True)
class EngineNode:
    """A node as its engine sees it."""

    name: NodeName
    ip: str = ""
    jobs: frozenset[JobId] = frozenset()


#: Outcome in the report of a `JobExited` whose cause is the node's and not the job's: its disk is full, the job's folder cannot be
#: prepared, no process can be forked there. Its ``error`` is the cause in words, without the node's name. Such a job is placed on
#: another node at once, which counts for none of its RESTARTS, and the node is left out for a while.
NODE_FAULT = "node fault"


@dataclass(frozen=True, slots=True)
class JobOutput:
    """A job wrote lines to its standard output or error.

    Attributes:
        stream: "stdout" or "stderr".
        lines: without their newlines.
    """

    job_id: JobId
    stream: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class JobExited:
    """A job's process has ended; all its output was reported before.

    Attributes:
        code: its exit code; negative: the signal that killed it.
        report: what the job's process wrote at its end (see `fission.runtime.report`); empty if it could not. An engine whose node
            cannot start the job, or cannot keep it, reports ``{"outcome": NODE_FAULT, "error": cause}``.
    """

    job_id: JobId
    incarnation: int
    code: int
    report: Mapping[str, Any] = field(default_factory=dict)

    @property
    def node_fault(self) -> str:
        """The cause in words, if it is the node's; else empty."""
        return str(self.report.get("error") or "no cause given") if self.report.get("outcome") == NODE_FAULT else ""


@dataclass(frozen=True, slots=True)
class NodePulse:
    """A node is alive.

    Attributes:
        incarnation: of the node, from 1: it grows with each lease of its service.
        means: what of `core.nodes.NodeInfo` it has measured, by the names there; may be empty.
    """

    name: NodeName
    incarnation: int = 1
    means: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LinksMeasured:
    """A node has measured its links to other nodes.

    Attributes:
        name: of the node that has measured.
        links: by the name of the node at the other end.
    """

    name: NodeName
    links: Mapping[str, NodeLink]


@dataclass(frozen=True, slots=True)
class NodeJoined:
    """A node that the client did not know is there, or a known one with other properties; its first pulse follows.

    Attributes:
        lives: (job, incarnation) of what still runs there of this run of the network.
    """

    name: NodeName
    ip: str
    groups: tuple[str, ...]
    max_jobs: int
    incarnation: int = 1
    lives: tuple[tuple[JobId, int], ...] = ()


@dataclass(frozen=True, slots=True)
class EngineNotice:
    """Something that the user should know."""

    text: str


@dataclass(frozen=True, slots=True)
class NodeGone:
    """A node's service has ended, or what carried its connection saw it end; its jobs are dead or will stop by themselves.

    Attributes:
        reason: why it was judged so.
        on_purpose: whether its service was stopped in order: such a node has left, and is not lost.
    """

    name: NodeName
    reason: str
    incarnation: int = 1
    on_purpose: bool = False


EngineEvent: TypeAlias = "JobOutput | JobExited | NodeJoined | NodePulse | LinksMeasured | NodeGone | EngineNotice"


class Engine(Protocol):
    """Hosts job processes on nodes. All calls come from one asyncio loop.

    A second kind of cluster needs one class with these methods, held to ``tests/conformance/engine.py``; the client asks no engine for
    its class. Every method that names a node raises InternalError if there never was such a node.
    """

    async def open(self) -> None:
        """Start what is needed; afterwards `nodes` has entries. Raises EngineError."""
        ...

    def nodes(self) -> Mapping[NodeName, EngineNode]:
        """Return the nodes that are up."""
        ...

    def events(self) -> AsyncIterator[EngineEvent]:
        """Yield what happens, in order, until `close`. Only one caller."""
        ...

    async def launch(self, job: JobBundle, node: NodeName) -> None:
        """Order a node to start a job; return when the order is given. Its end is an event, even if it could not start.

        Raises:
            EngineError: the node is gone.
        """
        ...

    async def bring(self, job: JobId, incarnation: int, node: NodeName, name: str, pieces: Iterator[bytes]) -> None:
        """Bring a snapshot to an incarnation that asked for it, as a file in its `Place.snapshot_folder`; return before it is there.

        Args:
            job: its id.
            incarnation: that asked.
            node: where it runs.
            name: of the file.
            pieces: of the file's content; an exception that it raises is reported to the job, which cannot continue then.
        """
        ...

    async def stop(self, job: JobId, incarnation: int, node: NodeName, *, grace: Seconds) -> None:
        """Ask an incarnation of a job to stop (its ``finally`` blocks run); kill it after ``grace`` seconds. Its end is an event."""
        ...

    def stopped(self, node: NodeName) -> bool | None:
        """Return whether the kernel has stopped the node's process; None: it runs on another machine, so only its pulses can say."""
        ...

    def absence(self, node: NodeName) -> str:
        """Return what to do about a node that is not up, in one line; empty: the user has been notified already. May block."""
        ...

    async def look(self, job: JobId, incarnation: int, node: NodeName) -> str:
        """Return why the kernel does not let a job's process run, as "stopped by a signal"; empty: it does, or that is unknown."""
        ...

    async def lost(self, node: NodeName) -> None:
        """Drop the orders that wait for a node: the client has judged it dead."""
        ...

    async def follow(self, on: bool) -> None:
        """Begin or cease to report what jobs write on other machines as `JobOutput`; what they write on this one always is."""
        ...

    async def logs(self, network: str) -> Mapping[NodeName, str]:
        """Return the log of a network's jobs from each node that keeps one of its own; instead of it the error of a node that fails."""
        ...

    async def dismiss(self) -> None:
        """End the run on all nodes that can be reached: they stop what is left of it, and are free for other networks.

        Idempotent. Only `close` may follow.
        """
        ...

    async def close(self) -> None:
        """Kill what still runs and free everything: no process of this engine is left. Idempotent."""
        ...
