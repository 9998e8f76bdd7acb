"""The times of a fault's phases, from the event log of a run and the arrivals that its sink recorded."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

#: Until the loss is detected, the job is placed, its new incarnation has sent its first message, its first new block is at the sink.
PARTS = ("detection", "placement", "start", "first block", "all")
#: The stateful job, which is lost.
TOTAL = 2


def timed_events(path: Path) -> list[dict[str, Any]]:
    """Return an event log with wall-clock times: it counts from the start of its run, and its last entry is as old as the file."""
    while True:
        changed = path.stat().st_mtime if path.exists() else 0.0
        entries = [json.loads(line) for line in path.read_text().splitlines()] if changed else []
        if not changed or path.stat().st_mtime == changed:
            break
    began = changed - entries[-1]["s"] if entries else 0.0
    return [{**entry, "at": began + entry["s"]} for entry in entries]


def times(fault: float, following: float, events: Sequence[dict[str, Any]], arrivals: Sequence[float]) -> dict[str, float]:
    """Return the seconds of each of PARTS after a fault, up to the following one."""

    def first(what: str, since: float, **members: Any) -> float:
        """Return the time of the first such event after a moment; the log's clock and ours may differ by a few milliseconds."""
        return min(
            one["at"]
            for one in events
            if one["what"] == what and one["at"] > since and all(one[key] == value for key, value in members.items())
        )

    launched = first("Launch", fault - 0.01, job=TOTAL)
    known = min(one["at"] for one in events if one["what"] in ("NodeLost", "JobEnded") and fault - 0.01 < one["at"] <= launched)
    ready = first("JobReady", launched, job=TOTAL)
    # some blocks were in transit to the sink: the first new one comes after the longest gap
    _, came = max((after - before, after) for before, after in pairwise(arrivals) if fault - 0.1 < after < min(following, ready + 1.0))
    return dict(zip(PARTS, (known - fault, launched - known, ready - launched, came - ready, came - fault), strict=True))
