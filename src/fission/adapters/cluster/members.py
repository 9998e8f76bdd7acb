"""The client's view of its nodes, and the description of the run that it sends them."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from fission.ports import NodeName


@dataclass(frozen=True, slots=True)
class Identity:
    """The client's name and limits for a node.

    Attributes:
        name: name in messages and for placement.
        groups: groups that contain the node.
        max_jobs: largest number of jobs; None leaves it to the node's service.
        by_pattern: whether only the service determines the name, so that several services may have
            the same one.
    """

    name: NodeName
    groups: tuple[str, ...]
    max_jobs: int | None
    by_pattern: bool = False

    def in_groups(self, announced: Sequence[str]) -> Identity:
        """Return the same, also in the groups that the node's service announces."""
        return dataclasses.replace(self, groups=tuple(dict.fromkeys((*self.groups, *announced))))


class NodeDirectory(Protocol):
    """The client's knowledge of its nodes before they answer. Both methods may block."""

    def recognise(self, ip: str, name: str) -> Identity | str:
        """Return the identity of the machine at this address, or why it is none of the nodes.

        Args:
            ip: address of the machine.
            name: name that the machine's service gives itself.
        """

    def absence(self, name: str) -> str:
        """Return why a node cannot be present; empty if no reason is known."""


@dataclass(frozen=True, slots=True)
class RunParameters:
    """The description of the run that every node receives.

    Attributes:
        run: identity of the run.
        network: name of the network.
        pulse_address: IP address and UDP port for pulses.
        report_address: ZeroMQ address for the nodes' reports.
        interval_s: seconds between two pulses.
        orphan_timeout_s: seconds that the jobs of a node continue without the client.
        root: REMOTE_ROOT; empty leaves it to the service.
        versions: versions of Python, fission and Dask.
        preload: names of the modules that the nodes' fork servers import for this run.
    """

    run: str
    network: str
    pulse_address: tuple[str, int]
    report_address: str
    interval_s: float
    orphan_timeout_s: float
    root: str
    versions: Mapping[str, str]
    preload: tuple[str, ...] = ()


@dataclass(slots=True)
class Member:
    """A lease of a node, whose service keeps the jobs running whatever happens to connections.

    Attributes:
        name: name of the node.
        ip: address of the node.
        service: identity of the service's process.
        lease: identity of the lease; a service that has stopped its jobs, after ORPHAN_TIMEOUT,
            begins a new one.
        incarnation: incarnation of the node, which supervision counts from 1.
        max_jobs: largest number of jobs.
        probe_port: UDP port for probes of other nodes; 0 if there is none.
        worker: Dask's address of the worker; empty while there is no connection.
        pulse: number of the last pulse.
        pulse_at: arrival of the last pulse in monotonic seconds.
        acknowledged: number of the last exit report received.
        jobs: (job, incarnation) of the jobs that run there.
        archives: archives that are present or in transit, by digest; the future gives the error,
            or "".
        waiting: orders that wait for a connection.
        suspicion: timer that judges the node after its connection has ended.
        gone: whether the node is known to have ended.
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
