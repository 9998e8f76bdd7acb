"""What the client knows of the nodes that answer, and what it tells them of the run."""

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


class WhoIsWho(Protocol):
    """What the client knows of its nodes before they answer. Both may block."""

    def recognise(self, ip: str, name: str) -> Identity | str:
        """Return who the machine with this address is, whose service calls it ``name``; a text says why it is none of the nodes."""

    def absence(self, name: str) -> str:
        """Return why a node cannot be there; empty: no reason is known."""


@dataclass(frozen=True, slots=True)
class Session:
    """What every node is told of the run.

    Attributes:
        run: identity of the run.
        network: its name.
        pulses: address and UDP port for pulses.
        ear: ZeroMQ address for the nodes' words.
        interval_s: between two pulses.
        orphan_timeout_s: how long a node goes on without the client.
        root: REMOTE_ROOT; empty: as the service says.
        versions: of Python, fission and Dask.
    """

    run: str
    network: str
    pulses: tuple[str, int]
    ear: str
    interval_s: float
    orphan_timeout_s: float
    root: str
    versions: Mapping[str, str]


@dataclass(slots=True)
class Member:
    """A life of a node: what its service keeps alive. When it has stopped its jobs, after ORPHAN_TIMEOUT, it begins another one."""

    name: NodeName
    ip: str
    service: str
    life: str
    incarnation: int
    max_jobs: int
    probe_port: int = 0  # where it answers what other nodes send to measure the way; UDP
    worker: str = ""  # Dask's address of it; empty while there is none
    pulse: int = 0  # number of the last pulse
    pulse_at: float = 0.0
    heard: int = 0  # number of the last end that it told
    jobs: set[tuple[int, int]] = field(default_factory=set)
    have: dict[str, asyncio.Future[str]] = field(default_factory=dict)  # archives there or on their way: what went wrong
    waiting: list[Callable[[], Awaitable[None]]] = field(default_factory=list)
    suspicion: asyncio.TimerHandle | None = None
    gone: bool = False
