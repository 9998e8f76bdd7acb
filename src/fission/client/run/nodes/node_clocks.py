"""The clocks of a run's nodes: how far they are ahead of this machine's, and when one was set.

Nothing in a run depends on the time of day: pulses, failover and latencies use clocks that cannot be set. So
a clock that was set is reported, and that is all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fission.adapters.wall_clock import wall_offset_s
from fission.protocol.clock_offset import Clock

#: Seconds by which a clock was set at least, before that is reported. Arbitrary: what is below 0.128 s the reference
#: implementation of the Network Time Protocol slews instead (RFC 5905, STEPT), and two readings do not differ by so much.
STEP_S = 0.1
#: Fields of a node's report that are its clock: seconds ahead of the client's, the largest error of that, and the drift.
CLOCK_FIELDS = ("clock_offset", "clock_error", "clock_drift")
#: Field of a node's report: time of day minus that clock, seconds.
WALL_FIELD = "clock_wall"


class NodeClocks:
    """What nodes report of their clocks."""

    def __init__(self, wall: Callable[[], float] = wall_offset_s) -> None:
        """Begin without reports.

        Args:
            wall: returns the time of day minus `time.monotonic` of this machine, in seconds.
        """
        self._wall = wall
        self._own = wall()
        self._steady: dict[str, Clock] = {}
        self._walls: dict[str, Clock] = {}  # time of day of a node minus this machine's `time.monotonic`: only the node's clock changes it

    def heard(self, node: str, means: Mapping[str, float]) -> list[str]:
        """Take a node's report; return sentences for the user: a clock was set.

        Args:
            node: name of the node.
            means: fields of its report; those of its clock may be missing.
        """
        own = self._wall()
        steps = []
        if abs(step := own - self._own) > STEP_S:
            steps.append(f"the clock of this machine {_was_set(step)}")
        self._own = own
        if all(field in means for field in (*CLOCK_FIELDS, WALL_FIELD)):
            clock = self._steady[node] = Clock(*(float(means[field]) for field in CLOCK_FIELDS))
            wall = clock._replace(offset_s=clock.offset_s + float(means[WALL_FIELD]))
            before = self._walls.get(node, wall)
            self._walls[node] = wall
            if abs(step := wall.offset_s - before.offset_s) > STEP_S + wall.error_s + before.error_s:
                steps.append(f"the clock of node {node} {_was_set(step)}")
        return steps

    def own_wall_s(self) -> float:
        """Return the time of day of this machine minus its `time.monotonic`, in seconds."""
        return self._wall()

    def joined(self, node: str) -> None:
        """Note that a node has joined, perhaps again: if its machine was started again, another clock has begun."""
        self._steady.pop(node, None)

    def steady(self, node: str) -> Clock | None:
        """Return the clock of a node that cannot be set (`time.monotonic`), against this machine's; None: not measured."""
        return self._steady.get(node)

    def wall(self, node: str) -> Clock | None:
        """Return the time of day of a node, against this machine's; None: not measured."""
        found = self._walls.get(node) if node in self._steady else None
        return None if found is None else found._replace(offset_s=found.offset_s - self._own)


def _was_set(step_s: float) -> str:
    direction = "forward" if step_s > 0 else "back"
    return f"was set {direction} by {abs(step_s):.1f} s; the run does not depend on it, but times of day that jobs take from it do"
