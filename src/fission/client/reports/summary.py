"""The summary of a run at its end."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fission.client.reports.failure_reports import grouped
from fission.errors import JobFailed
from fission.protocol.supervision import Failover

#: Seconds after which the text shows rates; arbitrary: a shorter run is mostly its own start.
RATE_AFTER_S = 5.0


@dataclass(slots=True)
class JobSummary:
    """One job of a run.

    Attributes:
        name: class and id.
        outcome: "finished", "ended" (returned None), "stopped", "killed", "failed", "lost" (with its node);
            "not started" until then.
        restarts: number of incarnations after the first.
        counts: ``compute_blocks``, and what happened on each input and output pipe, in blocks, over
            all incarnations; see `fission.client.run.jobs.counters`.
        before: compute blocks done before this client resumed the run; rates leave them out.
        waited: seconds of the run before the job's first start, with nodes missing for example; rates
            leave them out.
    """

    name: str
    outcome: str = "not started"
    restarts: int = 0
    counts: dict[str, Any] = field(default_factory=dict)
    before: int = 0
    waited: float = 0.0

    def rate(self, seconds: float) -> float:
        """Return the compute blocks per second since the job's start.

        Args:
            seconds: duration of the run.
        """
        done = self.counts.get("compute_blocks", 0) - self.before
        return max(0, done) / (seconds - self.waited) if seconds > self.waited else 0.0


@dataclass(frozen=True, slots=True)
class Summary:
    """A run that is over.

    Attributes:
        network: name of the network.
        exit_code: exit code of `run` and `simulate` (docs/commands.md).
        reason: why the run ended.
        seconds: duration of the run.
        jobs: summaries of the jobs, by id.
        failures: failures of jobs; the first one ended the network.
        failovers: what was lost and restarted, in order.
    """

    network: str
    exit_code: int
    reason: str
    seconds: float
    jobs: Mapping[int, JobSummary]
    failures: Sequence[JobFailed] = ()
    failovers: Sequence[Failover] = ()

    def lines(self) -> list[str]:
        """Return the summary as text."""
        found = [f"{self.network}: {self.reason} after {self.seconds:.1f} s"]
        width = max((len(job.name) for job in self.jobs.values()), default=0)
        for job in self.jobs.values():
            found.append(f"  {job.name:<{width}}  {job.outcome:<11}  {_blocks(job, self.seconds)}".rstrip())
        if self.failovers:
            slowest, replayed = max(one.seconds for one in self.failovers), sum(one.replayed for one in self.failovers)
            count, blocks = counted(len(self.failovers), "failover"), counted(replayed, "block")
            found.append(f"{count}, the slowest took {slowest:.2f} s, {blocks} replayed:")
            found += [f"  {line}" for line in grouped(list(self.failovers))]
        return found

    def to_json(self) -> dict[str, Any]:
        """Return the summary as JSON values."""
        return {
            "network": self.network,
            "exit_code": self.exit_code,
            "reason": self.reason,
            "seconds": round(self.seconds, 3),
            "jobs": {
                str(number): {
                    "name": job.name,
                    "outcome": job.outcome,
                    "restarts": job.restarts,
                    "blocks_per_s": round(job.rate(self.seconds), 3),
                    **job.counts,
                }
                for number, job in self.jobs.items()
            },
            "failovers": [dataclasses.asdict(failover) for failover in self.failovers],
            "failures": [{"job": failure.job, "error": failure.report} for failure in self.failures],
        }


def counted(number: int, noun: str) -> str:
    """Return a number of things in words: "1 block", "2 blocks"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _blocks(job: JobSummary, seconds: float) -> str:
    counts = job.counts
    parts = []
    if counts:
        parts.append(counted(counts["compute_blocks"], "compute block"))
        if (rate := job.rate(seconds)) and seconds - job.waited >= RATE_AFTER_S:
            parts.append(f"{rate:.3g}/s")
    for word in ("lost", "dropped", "dummies", "unmatched", "replayed"):
        number = sum(pipe.get(word, 0) for side in ("inputs", "outputs") for pipe in counts.get(side, {}).values())
        if number:
            parts.append(f"{number} {word}")
    if job.restarts:
        parts.append(counted(job.restarts, "restart"))
    return ", ".join(parts)
