"""What the jobs of a run have counted (`fission.protocol.counts`), summed over all incarnations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fission.client.reports.summary import JobSummary
from fission.core.network import Network
from fission.protocol.messages.client_to_viewer import CheckpointCounts, JobTotals, PipeCounts
from fission.protocol.messages.job_to_client import InputTotals, JobCounts
from fission.protocol.supervision import JobPlan


@dataclass(frozen=True, slots=True)
class RestartedPipe:
    """A pipe after a source that cannot resume.

    In a past generation, its consumer may lack blocks of it.

    Attributes:
        producer: id of the producing job.
        pipe: id of the pipe.
        consumer: id of the consuming job.
        block_count: blocks of the pipe in one compute block of the consumer.
    """

    producer: int
    pipe: int
    consumer: int
    block_count: int


def restarted_pipes(network: Network, plans: Iterable[JobPlan]) -> list[RestartedPipe]:
    """Return the pipes after a network's sources that cannot resume."""
    return [
        RestartedPipe(plan.job, pipe.id, consumer._fission_id, pipe.BLOCK_COUNT)
        for plan in plans
        if plan.source and not plan.resumable
        for pipe in network.jobs[plan.job].outputs
        if (consumer := network.consumer(pipe.id)) is not None and not pipe.ASYNC
    ]


class Counters:
    """The counts of all jobs of a run.

    Attributes:
        jobs: the summary of each job, by id.
    """

    def __init__(self, names: Mapping[int, str], restarted: Sequence[RestartedPipe] = (), *, resumed: bool = False) -> None:
        """Start with no counts.

        Args:
            names: names of the jobs, by id.
            restarted: pipes that may lose blocks when their producer restarts.
            resumed: whether an earlier client began the run; rates leave out what was done before
                this client.
        """
        self.jobs = {number: JobSummary(name) for number, name in names.items()}
        self._restarted, self._resumed = restarted, resumed
        self._reported: dict[int, dict[int, JobCounts]] = {}  # the last report, by job and incarnation
        self._final: dict[int, set[int]] = {}  # by job, the incarnations whose last report this is
        self._replayed: dict[int, dict[int, int]] = {}
        self._first: dict[int, int] = {}  # compute blocks that a job had done at its first report
        self._before: dict[int, dict[str, Any]] = {}  # what a job had counted at its first report to a client that resumes

    def summaries(self, incarnations: Callable[[int], int]) -> Mapping[int, JobSummary]:
        """Return the summary of each job.

        Args:
            incarnations: returns how many incarnations a job has had.
        """
        for number, summary in self.jobs.items():
            summary.counts = self.total(number, incarnations(number))
            summary.before = self._first.get(number, 0) if self._resumed else 0
        for each in self._restarted:
            outputs: dict[str, dict[str, Any]] = self.jobs[each.producer].counts.get("outputs", {})
            if str(each.pipe) in outputs:
                outputs[str(each.pipe)]["lost"] = self.left_behind(each.producer, each.pipe, each.consumer, each.block_count)
        return self.jobs

    def report(self, job: int, incarnation: int, counts: JobCounts | None, *, final: bool) -> None:
        """Take the counts of an incarnation, which replace its earlier ones.

        Args:
            job: id of the job.
            incarnation: incarnation that sent them.
            counts: its counts so far; None changes nothing.
            final: whether these are its last counts.
        """
        if counts is not None and (final or incarnation not in self._final.get(job, ())):
            self._first.setdefault(job, _highest([counts.compute_blocks]))
            self._reported.setdefault(job, {})[incarnation] = counts
            if self._resumed and job not in self._before:
                self._before[job] = self.total(job, incarnation)
            if final:
                self._final.setdefault(job, set()).add(incarnation)

    def replayed(self, job: int, pipe: int, blocks: int) -> None:
        """Add blocks of an output pipe that were replayed to a new incarnation of its consumer."""
        pipes = self._replayed.setdefault(job, {})
        pipes[pipe] = pipes.get(pipe, 0) + blocks

    def left_behind(self, producer: int, pipe: int, consumer: int, block_count: int) -> int:
        """Return how many blocks of past generations a consumer lacks.

        The producer has reported them, but no compute block of the consumer contains them. The last
        report of a killed incarnation is at most a second old (`fission.protocol.counts`).
        """
        reports = self._reported.get(producer, {}).values()
        sent = _highest_each([counts.outputs[pipe].sent for counts in reports if pipe in counts.outputs])
        done = _highest_each([counts.compute_blocks for counts in self._reported.get(consumer, {}).values()])
        newest = max({**sent, **done}, default=0)
        over = [generation for generation in sent if generation < newest]
        return sum(max(0, sent[generation] - done.get(generation, 0) * block_count) for generation in over)

    def total(self, job: int, incarnations: int) -> dict[str, Any]:
        """Return the counts of a job as the summary and ``--json`` show them.

        They are empty without any report. ``lives_untold`` counts the incarnations that were killed
        before their last report. Whatever they counted after the previous report is missing.

        Args:
            job: id of the job.
            incarnations: number of incarnations that the job has had.
        """
        reported = self._reported.get(job)
        if not reported:
            return {}
        newest = reported[max(reported)]
        everything = list(reported.values())
        arrived = {pipe: [counts.inputs[pipe] for counts in everything if pipe in counts.inputs] for pipe in newest.inputs}
        found: dict[str, Any] = {
            "compute_blocks": _highest([counts.compute_blocks for counts in everything]),
            "inputs": {str(pipe): _summed(reports) for pipe, reports in arrived.items()},
            "outputs": {},
            "malformed": sum(counts.malformed for counts in everything),
            "not_shared": sum(counts.not_shared for counts in everything),
            "lives_untold": max(0, incarnations - len(self._final.get(job, ()))),
        }
        for pipe, last in newest.outputs.items():
            reports = [counts.outputs[pipe] for counts in everything if pipe in counts.outputs]
            found["outputs"][str(pipe)] = {
                "sent": _highest([each.sent for each in reports]),
                "lost": _highest([each.lost for each in reports]),
                "dropped": sum(each.dropped for each in reports),
                "queue": last.queue,
                "blocked_s": round(sum(each.blocked_s for each in reports), 6),
                "replayed": self._replayed.get(job, {}).get(pipe, 0),
            }
        return found

    def since_begin(self, job: int, state: str, checkpoints: CheckpointCounts) -> JobTotals:
        """Return what a job has counted since this client began: none of it ever decreases.

        Numbers of blocks continue in each incarnation, from a checkpoint before the last one, so a
        block that is computed again is not counted again.

        Args:
            job: id of the job.
            state: name of its state.
            checkpoints: what was stored for it.
        """
        counts = _less(self.total(job, 0), self._before.get(job, {}))
        return JobTotals(
            id=job,
            state=state,
            compute_blocks=counts.get("compute_blocks", 0),
            malformed=counts.get("malformed", 0),
            not_shared=counts.get("not_shared", 0),
            inputs={int(pipe): InputTotals(**values) for pipe, values in counts.get("inputs", {}).items()},
            outputs={int(pipe): PipeCounts(**values) for pipe, values in counts.get("outputs", {}).items()},
            checkpoints=checkpoints,
        )


def _less(total: dict[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """Return the counts without those of ``before``; ``queue`` stays as it is."""
    found: dict[str, Any] = {}
    for name, value in total.items():
        if isinstance(value, dict):
            found[name] = _less(value, before.get(name, {}))
        else:
            found[name] = value if name == "queue" else max(0, value - before.get(name, 0))
    return found


def _highest(incarnations: list[dict[int, int]]) -> int:
    return sum(_highest_each(incarnations).values())


def _highest_each(incarnations: list[dict[int, int]]) -> dict[int, int]:
    """Return the highest number of each generation.

    Numbers begin again in each generation, and an incarnation continues those of its predecessor.
    """
    highest: dict[int, int] = {}
    for numbers in incarnations:
        for generation, number in numbers.items():
            highest[generation] = max(number, highest.get(generation, 0))
    return highest


def _summed(incarnations: list[InputTotals]) -> dict[str, int]:
    return {name: sum(getattr(counts, name) for counts in incarnations) for name in InputTotals.__struct_fields__}
