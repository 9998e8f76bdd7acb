"""What the page of the pipelines shows of the Router's answers, as JSON values of bounded size. No I/O.

Values of users become texts here; the browser shows them as texts only.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import msgspec

from fission.protocol.messages.pipelines.router_to_client import (
    CountedMoment,
    PipelineCounts,
    PipelineJobShown,
    PipelineShown,
    PipelineSummary,
    RouterStatus,
)

#: Characters of a user's value in a row of a list, and in the panel of a pipeline. Arbitrary.
ROW_TEXT, PANEL_TEXT = 120, 20_000
#: Characters of all tracebacks of a pipeline: each one is at most 7,000 long. Arbitrary.
TRACEBACKS = 200_000
#: Jobs of a pipeline that are shown. Arbitrary: more rows than a viewer reads, and the browser stays fluid.
MOST_JOBS = 1000
#: Seconds over which the present throughput is measured.
THROUGHPUT_S = 60.0
#: States of jobs that are left out first.
DULL = frozenset({"finished", "waiting", "skipped", "cancelled"})


def overview(status: RouterStatus, counts: PipelineCounts) -> dict[str, Any]:
    """Return the numbers at the top of the page; *status* and *counts* are of about the same time."""
    return {
        "router": counts.router,
        "since": counts.since,
        "pipelines": counts.pipelines,
        "ended": counts.ended,
        "jobs": counts.jobs,
        "given": status.running,
        "busy": sum(broker.busy for broker in counts.brokers),
        "processes": status.processes,
        "pipeliners": status.pipeliners,
        "brokers": [msgspec.structs.asdict(broker) for broker in counts.brokers],
        "missing": [f"{number} jobs wait for a Broker with the tag {tag!r}" for tag, number in sorted(status.missing_tags.items())],
        "throughput": throughput(counts.recent),
        "rates": rates(counts.recent),
    }


def throughput(recent: Sequence[CountedMoment]) -> dict[str, float]:
    """Return jobs finished, tries failed and pipelines ended per second, over the last minute or as long as the Router runs."""
    last = recent[-1]
    first = next(moment for moment in recent if moment.age <= THROUGHPUT_S)
    seconds = first.age - last.age
    if seconds <= 0:
        return {"finished": 0.0, "failed": 0.0, "ended": 0.0}
    return {name: (getattr(last, name) - getattr(first, name)) / seconds for name in ("finished", "failed", "ended")}


def rates(recent: Sequence[CountedMoment]) -> list[list[float]]:
    """Return the course of the last minutes, oldest first: [age in seconds, jobs finished per second, tries failed per second]."""
    found = []
    for before, after in pairwise(recent):
        seconds = before.age - after.age
        if seconds > 0.5:  # the last one may just have begun
            found.append([after.age, (after.finished - before.finished) / seconds, (after.failed - before.failed) / seconds])
    return found


def row(pipeline: PipelineSummary | PipelineShown) -> dict[str, Any]:
    """Return a row of the list."""
    error = pipeline.error
    return {
        "id": pipeline.id,
        "order": pipeline.order,
        "state": pipeline.state,
        "accepted": pipeline.accepted,
        "ended": pipeline.ended,
        "duration": pipeline.duration,
        "priority": pipeline.priority,
        "data": shortened(value_text(pipeline.data), ROW_TEXT),
        "error": shortened(f"{error.get('worker')}: {error.get('error')}", ROW_TEXT) if error else "",
        "waits_for": [shortened(text, ROW_TEXT) for text in pipeline.waits_for],
    }


def panel(pipeline: PipelineShown) -> dict[str, Any]:
    """Return one pipeline with its jobs; of too many jobs, those that run or failed come first."""
    chosen = sorted(pipeline.jobs, key=lambda job: (job.state in DULL, job.job))[:MOST_JOBS]
    results = [] if pipeline.results is msgspec.UNSET else pipeline.results
    left = TRACEBACKS
    jobs = []
    for job in sorted(chosen, key=lambda job: job.job):
        jobs.append(_job(job, left))
        left -= len(job.traceback)
    return {
        **row(pipeline),
        "data": shortened(value_text(pipeline.data), PANEL_TEXT),
        "jobs": jobs,
        "omitted": len(pipeline.jobs) - len(chosen),
        "results": shortened(
            "\n".join(
                f"{result.worker}: {result.omitted if result.value is msgspec.UNSET else value_text(result.value)}" for result in results
            ),
            PANEL_TEXT,
        ),
    }


def _job(job: PipelineJobShown, left: int) -> dict[str, Any]:
    found = {name: value for name, value in msgspec.structs.asdict(job).items() if name != "job_id"}
    if job.traceback and left < len(job.traceback):
        found["traceback"] = "not shown here: there are too many; `fission pipelines show` has it"
    return found


def value_text(value: Any) -> str:
    """Return a user's value as JSON; nothing for None."""
    return "" if value is None else json.dumps(value, ensure_ascii=False)


def shortened(text: str, most: int) -> str:
    """Return a text of at most this many characters."""
    return text if len(text) <= most else f"{text[: most - 1]}…"
