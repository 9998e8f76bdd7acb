"""When a failed job is restarted, and when a node that could not start a job is tried again.

Rules for a job
    A job may fail RESTARTS times within RESTART_WINDOW; one more failure ends the network. So do
    two consecutive failures with the same error at the same compute block, and a failure that no
    new incarnation could avoid. With RESTARTS = None no failure ends the network: the job is always
    restarted. The first restart comes at once. Each further one waits twice as long as the previous
    one, from 0.1 s up to a cap: `CAP_S`, or `ENDLESS_CAP_S` with RESTARTS = None. The back-off
    starts over after an incarnation that has run for RESTART_WINDOW.

Rules for a node
    A node that refused a job is avoided for `AVOID_S`, and for twice as long after each further
    refusal, up to `AVOID_CAP_S`. A job that becomes ready there after a refusal ends that.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass

#: Seconds before the second restart; the first one comes at once. Arbitrary.
FIRST_BACK_OFF_S = 0.1
#: Longest back-off of a job with limited restarts; a longer one would outlast RESTART_WINDOW.
#: Arbitrary.
CAP_S = 1.6
#: Longest back-off of a job with RESTARTS = None. Arbitrary: a resource that was away for minutes
#: is noticed soon after its return, and a restart every ten seconds costs nothing.
ENDLESS_CAP_S = 10.0
#: Shortest and longest time in seconds for which a node that refused a job is avoided; arbitrary.
AVOID_S, AVOID_CAP_S = 1.0, 60.0

_ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{6,}\b")


def back_off_s(failures: int, *, endless: bool = False) -> float:
    """Return the seconds until the next start.

    Args:
        failures: number of consecutive failures, at least one.
        endless: whether the job has RESTARTS = None.
    """
    # the exponent is bounded: a job may fail for years
    return 0.0 if failures < 2 else min(FIRST_BACK_OFF_S * 2.0 ** min(failures - 2, 30), ENDLESS_CAP_S if endless else CAP_S)


class RestartPolicy:
    """The failures of one job."""

    def __init__(self, restarts: int | None, window_s: float) -> None:
        """Prepare the policy.

        Args:
            restarts: maximum number of failures within the window; None: no limit.
            window_s: length of the window in seconds.
        """
        self._restarts, self._window_s = restarts, window_s
        self._recent: deque[float] = deque()
        self._row = 0
        self._last: tuple[str, int] | None = None

    def failed(self, error: str, block: int | None, now: float, *, hopeless: bool, ran_s: float) -> str:
        """Record a failure; return why the job is not restarted, as a phrase, or "" if it is.

        Args:
            error: reported error.
            block: compute block at which the job failed; 0 if it had not begun; None: unknown.
            now: the current time.
            hopeless: whether a new incarnation would fail too.
            ran_s: seconds for which this incarnation ran.
        """
        self._row = 1 if ran_s >= self._window_s else self._row + 1
        self._recent.append(now)
        while now - self._recent[0] > self._window_s:
            self._recent.popleft()
        # the address of an object differs from run to run
        failure = None if block is None else (_ADDRESS.sub("0x...", error), block)
        again, self._last = failure is not None and failure == self._last, failure
        if self._restarts is None:
            return ""
        if hopeless:
            return "a new start would fail in the same way"
        if again:
            where = f"at compute block {block}" if block else "before it had done a compute block"
            return f"it failed twice in the same way {where}"
        if len(self._recent) > self._restarts:
            often = "once" if len(self._recent) == 1 else f"{len(self._recent)} times within {self._window_s:g} s"
            return f"it failed {often} (RESTARTS = {self._restarts})"
        return ""

    @property
    def delay_s(self) -> float:
        """Seconds from the last failure to the next start."""
        if self._restarts is None:
            return back_off_s(self._row, endless=True)
        return back_off_s(len(self._recent))


@dataclass(slots=True)
class _Refusal:
    cause: str
    at: float
    until: float
    count: int


class AvoidedNodes:
    """The nodes that refused a job."""

    def __init__(self) -> None:
        self._refusals: dict[str, _Refusal] = {}

    def refused(self, node: str, cause: str, now: float) -> None:
        """Record that a node could not start a job."""
        known = self._refusals.get(node)
        if known is None or now >= known.until:  # several jobs refused at once count as one refusal
            count = 1 if known is None else known.count + 1
            known = self._refusals[node] = _Refusal(cause, now, now + min(AVOID_S * 2.0 ** min(count - 1, 30), AVOID_CAP_S), count)
        known.cause, known.at = cause, now

    def ready(self, node: str, ordered_at: float) -> None:
        """Record that a job launched on a node at ``ordered_at`` is ready there."""
        known = self._refusals.get(node)
        if known is not None and ordered_at > known.at:
            del self._refusals[node]

    def now(self, now: float) -> dict[str, str]:
        """Return the nodes that are avoided now, each with the cause."""
        return {node: known.cause for node, known in self._refusals.items() if now < known.until}

    def due(self, nodes: Collection[str], now: float) -> float | None:
        """Return when the next of these nodes can be tried again; None: none of them is avoided."""
        return min((known.until for node, known in self._refusals.items() if node in nodes and now < known.until), default=None)
