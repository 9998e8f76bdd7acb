"""Which processes of a run's jobs may be running, and where."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class JobProcesses:
    """The lives that were started and whose end was not told yet.

    Attributes:
        empty: set while no job's newest life is among them.
    """

    def __init__(self, incarnation: Callable[[int], int]) -> None:
        """Args: incarnation: the newest life of a job."""
        self._incarnation = incarnation
        self._nodes: dict[tuple[int, int], str] = {}
        self._ids: dict[tuple[int, int], int] = {}
        self.empty = asyncio.Event()
        self.empty.set()

    def started(self, job: int, incarnation: int, node: str) -> None:
        """A life runs on a node, or is about to."""
        self._nodes[job, incarnation] = node
        self._say_empty()

    def said_hello(self, job: int, incarnation: int, process: int) -> None:
        """A life lives, in the process of this id on its node."""
        if process and (job, incarnation) in self._nodes:
            self._ids[job, incarnation] = process

    def id_of(self, job: int) -> int | None:
        """The id of the process of a job's newest life on its node; None: it is not known."""
        life = (job, self._incarnation(job))
        return self._ids.get(life) if life in self._nodes else None

    def ended(self, job: int, incarnation: int) -> None:
        """Its process is gone."""
        self._nodes.pop((job, incarnation), None)
        self._ids.pop((job, incarnation), None)
        self._say_empty()

    def gone(self, node: str) -> None:
        """A node is, with everything on it."""
        self._nodes = {life: there for life, there in self._nodes.items() if there != node}
        self._say_empty()

    def newest(self) -> list[tuple[int, int, str]]:
        """(job, incarnation, node) of every newest life whose process runs."""
        return [(job, life, node) for (job, life), node in sorted(self._nodes.items()) if life == self._incarnation(job)]

    def _say_empty(self) -> None:
        if self.newest():
            self.empty.clear()
        else:
            self.empty.set()
