"""Decides when a run starts: its nodes are up, and the links between them are measured."""

from __future__ import annotations

import time
from collections.abc import Callable

from fission.client.run.nodes.node_watch import NodeWatch
from fission.client.run.nodes.nodes import Nodes

#: Seconds that the start waits for the nodes to measure the links between them. Arbitrary: about what eight nodes need.
LINK_S = 2.0


class Gathering:
    """The nodes of one run before its start.

    Attributes:
        started: whether the run has started; set by the coordinator.
    """

    def __init__(self, nodes: Nodes, watch: NodeWatch, gather_s: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        """Wait from now on.

        Args:
            nodes: the known nodes.
            watch: knows which of them are up.
            gather_s: seconds after which the run starts without the missing nodes; None: it waits
                for all of them, except those of this machine that have ended, and none measures
                links.
            clock: returns the time in seconds.
        """
        self._nodes, self._watch, self._clock = nodes, watch, clock
        self._gather_until = None if gather_s is None else clock() + gather_s
        self._link_until: float | None = None
        self.started = False

    @property
    def due(self) -> float | None:
        """The moment from which the run may start without what is missing; None: there is none."""
        if self.started or self._gather_until is None:
            return None
        return self._gather_until if self._link_until is None else self._link_until

    def missing(self) -> list[str]:
        """Return the names of the nodes that are not up."""
        return [name for name in self._nodes if not self._watch.up(name)]

    def may_start(self) -> bool:
        """Return whether the run can start now; False once it has started."""
        return not self.started and (not self.missing() or self._gathered()) and self._linked()

    def _gathered(self) -> bool:
        if self._gather_until is None:
            return all(self._watch.ended(name) for name in self.missing())
        return self._clock() >= self._gather_until

    def _linked(self) -> bool:
        """Return whether the nodes have measured the links between them, or had time to."""
        if self._gather_until is None or self._nodes.all_linked:
            return True
        if self._link_until is None:
            self._link_until = self._clock() + LINK_S
        return self._clock() >= self._link_until
