"""Which processes of a run's jobs may be running, and where."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class JobProcesses:
    """The incarnations that were started and whose end was not reported yet.

    Attributes:
        empty: set while they include no job's newest incarnation.
    """

    def __init__(self, incarnation: Callable[[int], int]) -> None:
        """Begin without processes.

        Args:
            incarnation: returns the newest incarnation of a job.
        """
        self._incarnation = incarnation
        self._nodes: dict[tuple[int, int], str] = {}
        self._ids: dict[tuple[int, int], int] = {}
        self._were_on: dict[tuple[int, int], str] = {}  # all incarnations, also those that are over
        self.empty = asyncio.Event()
        self.empty.set()

    def started(self, job: int, incarnation: int, node: str) -> None:
        """Add an incarnation that runs on a node, or is about to."""
        self._nodes[job, incarnation] = self._were_on[job, incarnation] = node
        self._say_empty()

    def said_hello(self, job: int, incarnation: int, process: int) -> None:
        """Record the process id of an incarnation on its node, from its first message."""
        if process and (job, incarnation) in self._nodes:
            self._ids[job, incarnation] = process

    def id_of(self, job: int) -> int | None:
        """Return the process id of a job's newest incarnation on its node; None: unknown."""
        key = (job, self._incarnation(job))
        return self._ids.get(key) if key in self._nodes else None

    def node_of(self, job: int, incarnation: int) -> str | None:
        """Return the node on which an incarnation runs or ran; None: unknown."""
        return self._were_on.get((job, incarnation))

    def ended(self, job: int, incarnation: int) -> None:
        """Remove an incarnation whose process is gone."""
        self._nodes.pop((job, incarnation), None)
        self._ids.pop((job, incarnation), None)
        self._say_empty()

    def gone(self, node: str) -> None:
        """Remove everything on a node that is gone."""
        self._nodes = {key: there for key, there in self._nodes.items() if there != node}
        self._say_empty()

    def newest(self) -> list[tuple[int, int, str]]:
        """Return (job, incarnation, node) of every newest incarnation whose process runs."""
        return [(job, key, node) for (job, key), node in sorted(self._nodes.items()) if key == self._incarnation(job)]

    def _say_empty(self) -> None:
        if any(key == self._incarnation(job) for job, key in self._nodes):
            self.empty.clear()
        else:
            self.empty.set()
