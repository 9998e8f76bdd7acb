"""What the client knows of the nodes that answer, and what it sends them about the run."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from fission.ports import NodeName


@dataclass(frozen=True, slots=True)
class Identity:
    """What the client calls a node.

    Attributes:
        name: in messages and for placement.
        groups: it is part of these.
        max_jobs: how many it takes; None: as its service says.
        by_pattern: whether only its service gives it its name, so that there may be several of it.
    """

    name: NodeName
    groups: tuple[str, ...]
    max_jobs: int | None
    by_pattern: bool = False


class NodeDirectory(Protocol):
    """What the client knows of its nodes before they answer. Both may block."""

    def recognise(self, ip: str, name: str) -> Identity | str:
        """Return who the machine with this address is, whose service calls it ``name``; a text says why it is none of the nodes."""

    def absence(self, name: str) -> str:
        """Return why a node cannot be there; empty: no reason is known."""


@dataclass(frozen=True, slots=True)
class RunParameters:
    """What every node is sent about the run.

    Attributes:
        run: identity of the run.
        network: its name.
        pulse_address: IP address and UDP port for pulses.
        report_address: ZeroMQ address for the nodes' reports.
        interval_s: between two pulses.
        orphan_timeout_s: how long the jobs of a node continue without the client.
        root: REMOTE_ROOT; empty: as the service says.
        versions: of Python, fission and Dask.
    """

    run: str
    network: str
    pulse_address: tuple[str, int]
    report_address: str
    interval_s: float
    orphan_timeout_s: float
    root: str
    versions: Mapping[str, str]


@dataclass(slots=True)
class Member:
    """A lease of a node: its service keeps the jobs of it alive, whatever happens to connections.

    Attributes:
        name: of the node.
        ip: its address.
        service: identity of the service's process.
        lease: identity of the lease; once the service has stopped its jobs, after ORPHAN_TIMEOUT, it has another one.
        incarnation: of the node, as supervision counts it, from 1.
        max_jobs: how many jobs it takes.
        probe_port: UDP port at which it answers probes of other nodes; 0: none.
        worker: Dask's address of it; empty while there is none.
        pulse: number of the last pulse.
        pulse_at: when that came, seconds.
        acknowledged: number of the last exit report that came.
        jobs: (job, incarnation) of what runs there.
        archives: those that are there or on their way, by digest: the future gives what went wrong, or "".
        waiting: orders that wait until it is connected.
        suspicion: will judge it, because its connection has ended.
        gone: whether it is known to have ended.
    """

    name: NodeName
    ip: str
    service: str
    lease: str
    incarnation: int
    max_jobs: int
    probe_port: int = 0
    worker: str = ""
    pulse: int = 0
    pulse_at: float = 0.0
    acknowledged: int = 0
    jobs: set[tuple[int, int]] = field(default_factory=set)
    archives: dict[str, asyncio.Future[str]] = field(default_factory=dict)
    waiting: list[Callable[[], Awaitable[None]]] = field(default_factory=list)
    suspicion: asyncio.TimerHandle | None = None
    gone: bool = False
