"""What the page's charts had shown before it was opened: rates of the last minutes, in bounded memory."""

from __future__ import annotations

import math
import threading
from array import array
from collections import deque
from collections.abc import Mapping
from itertools import accumulate
from typing import Any

#: Seconds that are kept, as long as a page keeps what it has seen (``HISTORY_S`` of facts.js).
SPAN_S = 300.0
#: Seconds between two points, at least. Arbitrary: a chart of five minutes needs 150 points.
POINT_S = 2.0
#: Points that are kept of each thing.
MOST_POINTS = int(SPAN_S / POINT_S)
#: Values that are kept at each moment; what is above has no history. Of a job there are four, of a pipe one, of a node three: 1,060 for
#: 200 jobs on 20 nodes with 200 pipes. Each takes 4 bytes, so all take 3 MB at most, and there 0.6 MB.
MOST_VALUES = 5000
MEGABYTE = 1024 * 1024

#: Names of the values of a thing, by the first word of its key: "job 1", "pipe 101", "node n1".
NAMES = {"job": ("in", "out", "cpu", "memory"), "pipe": ("sent",), "node": ("in", "out", "cpu")}


class RateHistory:
    """Points of each job, pipe and node of a network's newest run. Safe in several threads.

    Moments are seconds of a clock that does not go back.
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        self._lock = threading.Lock()
        self._points: deque[tuple[float, dict[str, int], array[float]]] = deque(
            maxlen=MOST_POINTS
        )  # moment, where a key's values begin, values
        self._run = ""

    @property
    def size(self) -> int:
        """Bytes of the values that are kept."""
        with self._lock:
            return sum(values.itemsize * len(values) for _, _, values in self._points)

    def add(self, document: Mapping[str, Any], now: float) -> None:
        """Keep the rates of a document (`fission.dashboard.document.document`), unless the last ones are too recent.

        Another run begins with nothing; one that is continued has the points from before.
        """
        with self._lock:
            if document["run"] != self._run:
                self._points.clear()
                self._run = document["run"]
            if self._points and now - self._points[-1][0] < POINT_S:
                return
            self._forget(now)
            rows = _rows(document)
            starts = dict(zip(rows, accumulate(map(len, rows.values()), initial=0), strict=False))
            if self._points and self._points[-1][1] == starts:
                starts = self._points[-1][1]  # they share it, as long as no job, pipe or node comes or goes
            values = array("f", [math.nan if value is None else value for row in rows.values() for value in row])
            self._points.append((now, starts, values[:MOST_VALUES]))

    def of(self, key: str, now: float) -> dict[str, Any]:
        """Return the points of a thing, oldest first.

        Args:
            key: of the thing, as in `NAMES`.
            now: the moment.

        Returns:
            "ago": seconds before ``now``; "series": the values of each name, None where they are unknown. Empty lists for a thing
            that is not known.
        """
        names = NAMES.get(key.partition(" ")[0], ())
        with self._lock:
            self._forget(now)
            points = [
                (moment, values[at : at + len(names)]) for moment, starts, values in self._points if (at := starts.get(key)) is not None
            ]
        points = [(moment, row) for moment, row in points if len(row) == len(names)]
        return {
            "ago": [round(now - moment, 3) for moment, _ in points],
            "series": {name: [_known(row[at]) for _, row in points] for at, name in enumerate(names)},
        }

    def _forget(self, now: float) -> None:
        while self._points and self._points[0][0] < now - SPAN_S:
            self._points.popleft()


def _known(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 3)


def _rows(document: Mapping[str, Any]) -> dict[str, tuple[float | None, ...]]:
    """Return the values of `NAMES` by key; the same that ``remember`` of facts.js keeps."""
    found: dict[str, tuple[float | None, ...]] = {}
    sums: dict[str, list[float]] = {name: [0.0, 0.0] for name in document["nodes"]}
    for number, job in document["jobs"].items():
        memory = None if job["memory"] is None else job["memory"] / MEGABYTE
        found[f"job {number}"] = (job["in_per_s"], job["out_per_s"], job["cpu"], memory)
        if job["node"] in sums:
            for side, name in enumerate(("in_per_s", "out_per_s")):
                sums[job["node"]][side] += job[name] or 0.0
    for number, pipe in document["pipes"].items():
        found[f"pipe {number}"] = (pipe["per_s"],)
    for name, node in document["nodes"].items():
        found[f"node {name}"] = (*sums[name], node.get("cpu"))
    return found
