"""State machine of a pipeline: decides which jobs may run, and when the pipeline has ended.

Theory of operation
    Each job has its own state (`DagJobState`), and all jobs share one table, `TRANSITIONS`. An
    event without an entry is illegal: it raises and changes nothing.
    A job runs when all jobs that it comes after are finished. A job that raises runs again while it
    has retries left. A job whose process was lost with its host runs again without using a retry.
    Jobs after a failed job are skipped; all other branches continue. The pipeline has ended when no
    job waits or runs; `CompletePipeline` is returned exactly once.
    Each instruction to run a job has the number of an attempt. An old attempt belongs to a job that
    was judged lost, but continued unseen. Only its success counts: the job is then finished, and
    never runs again.

Known gaps
    The state machine knows nothing of leases, Brokers or time. Its caller answers each
    `StartAttempt` with at least one event.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

from fission.errors import LocalProtocolError


class DagJobState(Enum):
    """The state of a pipeline's job."""

    WAITING = "waits for the jobs that it comes after"
    RUNNING = "runs, or waits for a process"
    FINISHED = "has finished, and its result is saved"
    FAILED = "has raised more often than it may"
    SKIPPED = "never runs: a job that it comes after has failed"
    CANCELLED = "never ends: the pipeline was cancelled"


WAITING, RUNNING, FINISHED, FAILED, SKIPPED, CANCELLED = DagJobState


@dataclass(frozen=True, slots=True)
class DagJobPlan:
    """What the state machine needs to know of a job.

    Attributes:
        after: numbers of the jobs that must be finished first.
        retries: number of times that the job may run again after it has raised.
    """

    after: frozenset[int] = frozenset()
    retries: int = 0


@dataclass(frozen=True, slots=True)
class RecordedJob:
    """What an earlier lease of the pipeline has recorded of a job.

    Attributes:
        tries: number of attempts that have ended, with success or not.
        finished: whether the job is finished.
        failed: whether the job has failed for good.
        attempt: number of the attempt that runs now; 0 if there is none.
        error: error that the job raised last.
    """

    tries: int = 0
    finished: bool = False
    failed: bool = False
    attempt: int = 0
    error: str = ""


# events


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """All jobs that it comes after are finished: it runs."""

    job: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFinished:
    """The job has finished, and its result is saved."""

    job: int
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRaised:
    """The job raised, exceeded its timeout, or killed its process; ``hopeless``: a retry would do
    the same.
    """

    job: int
    attempt: int
    error: str
    hopeless: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class JobLost:
    """The job's process was lost with its host, through no fault of the job."""

    job: int
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenUp:
    """The job has raised, and has no retries left."""

    job: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """A job that it comes after has failed or is skipped."""

    job: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled:
    """The whole pipeline is cancelled."""

    job: int = -1


Event: TypeAlias = JobFinished | JobRaised | JobLost | Cancelled

TRANSITIONS: Mapping[tuple[DagJobState, type], DagJobState] = {
    (WAITING, Started): RUNNING,
    (WAITING, JobFinished): FINISHED,  # of an attempt that was judged lost
    (WAITING, Skipped): SKIPPED,
    (WAITING, GivenUp): FAILED,
    (WAITING, Cancelled): CANCELLED,
    (RUNNING, JobFinished): FINISHED,
    (RUNNING, JobRaised): WAITING,
    (RUNNING, JobLost): WAITING,
    (RUNNING, Cancelled): CANCELLED,
}


# instructions


@dataclass(frozen=True, slots=True, kw_only=True)
class StartAttempt:
    """StartAttempt the job; answer with the attempt's number."""

    job: int
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletePipeline:
    """The pipeline has ended.

    Attributes:
        state: FINISHED, FAILED or CANCELLED.
        failed: number of the job that failed first; -1 if there is none.
        error: error that this job raised.
    """

    state: DagJobState
    failed: int = -1
    error: str = ""


Instruction: TypeAlias = StartAttempt | CompletePipeline


@dataclass(slots=True)
class _Job:
    plan: DagJobPlan
    state: DagJobState = WAITING
    attempt: int = 0
    failures: int = 0
    missing: int = 0  # number of unfinished jobs that it comes after
    before: list[int] = field(default_factory=list)


class DagRun:
    """State machine of one pipeline.

    Call `begin` once, then `handle` with each event.

    Attributes:
        over: whether `CompletePipeline` was returned; later events change nothing.
        count: number of running jobs.
    """

    def __init__(self, plans: Sequence[DagJobPlan], known: Mapping[int, RecordedJob] | None = None, attempts_before: int = 0) -> None:
        """Create the state machine of a pipeline.

        Args:
            plans: all jobs; they must not form a cycle.
            known: records of the jobs, by number.
            attempts_before: last attempt number of earlier leases; new attempts get larger numbers.

        Raises:
            LocalProtocolError: ``plans`` or ``known`` refers to a job that does not exist.
        """
        self._jobs = [_Job(plan) for plan in plans]
        self._attempts_before = attempts_before
        for number, job in enumerate(self._jobs):
            for other in job.plan.after:
                self._at(other).before.append(number)
            job.missing = len(job.plan.after)
        self._known = dict(known or {})
        for number in self._known:
            self._at(number)
        self._open = len(self._jobs)
        self.count = 0
        self._first_failed = (-1, "")
        self._cancelled = False
        self._begun = False
        self.over = False

    # queries

    def state(self, job: int) -> DagJobState:
        """Return the state of a job."""
        return self._at(job).state

    def running(self) -> dict[int, int]:
        """Return the numbers of the running attempts, by job."""
        return {number: job.attempt for number, job in enumerate(self._jobs) if job.state is RUNNING}

    # events

    def begin(self) -> list[Instruction]:
        """Return the first instructions: start all jobs that can run, given the records.

        Raises:
            LocalProtocolError: the pipeline has already begun.
        """
        if self._begun:
            raise LocalProtocolError("a pipeline begins once")
        self._begun = True
        instructions: list[Instruction] = []
        failed: list[int] = []
        for number, known in sorted(self._known.items()):
            job = self._jobs[number]
            job.failures = known.tries if not known.finished else 0
            job.attempt = max(known.attempt, known.tries)
            if known.finished:
                self._finish(number)
            elif known.failed:
                failed.append(number)
            elif known.attempt:
                job.state = RUNNING
                self.count += 1
        for number in failed:
            self._give_up(number, self._known[number].error)
        for number, job in enumerate(self._jobs):
            if job.state is WAITING and not job.missing:
                instructions.append(self._start(number))
        return instructions + self._end()

    def handle(self, event: Event) -> list[Instruction]:
        """Process an event and return the instructions that follow from it.

        Raises:
            LocalProtocolError: the pipeline has not begun, the job or attempt does not exist, or
                the event is illegal in the state of the job. Nothing has changed then.
        """
        if not self._begun:
            raise LocalProtocolError("the pipeline has not begun")
        if self.over:
            return []
        if isinstance(event, Cancelled):
            return self._cancel()
        job = self._at(event.job)
        if not 1 <= event.attempt <= max(job.attempt, self._attempts_before):
            raise LocalProtocolError(f"job {event.job} has no attempt {event.attempt}: it has had {job.attempt}")
        if job.state not in (RUNNING, WAITING):
            return []  # the job has already ended, by another attempt
        instructions: list[Instruction] = []
        if isinstance(event, JobFinished):
            instructions += [self._start(number) for number in self._finish(event.job)]
        elif job.state is WAITING or event.attempt < job.attempt:
            return []  # the failure of an attempt that was replaced
        elif isinstance(event, JobLost):
            self._move(event.job, JobLost)
            instructions.append(self._start(event.job))
        else:
            self._move(event.job, JobRaised)
            job.failures += 1
            if event.hopeless or job.failures > job.plan.retries:
                self._give_up(event.job, event.error)
            else:
                instructions.append(self._start(event.job))
        return instructions + self._end()

    # private methods

    def _at(self, number: int) -> _Job:
        if not 0 <= number < len(self._jobs):
            raise LocalProtocolError(f"there is no job {number}: the pipeline has {len(self._jobs)}")
        return self._jobs[number]

    def _move(self, number: int, event: type) -> None:
        job = self._jobs[number]
        after = TRANSITIONS.get((job.state, event))
        if after is None:
            raise LocalProtocolError(f"job {number} is {job.state.name}: {event.__name__} cannot happen to it")
        if after not in (WAITING, RUNNING):
            self._open -= 1
        self.count += (after is RUNNING) - (job.state is RUNNING)
        job.state = after

    def _start(self, number: int) -> StartAttempt:
        self._move(number, Started)
        job = self._jobs[number]
        job.attempt = max(job.attempt, self._attempts_before) + 1
        return StartAttempt(job=number, attempt=job.attempt)

    def _finish(self, number: int) -> list[int]:
        """Mark a job as finished; return the jobs that can run now."""
        self._move(number, JobFinished)
        ready = []
        for other in self._jobs[number].before:
            job = self._jobs[other]
            job.missing -= 1
            if not job.missing and job.state is WAITING:
                ready.append(other)
        return ready

    def _give_up(self, number: int, error: str) -> None:
        self._move(number, GivenUp)
        if self._first_failed[0] < 0:
            self._first_failed = (number, error)
        later = list(self._jobs[number].before)
        while later:
            other = later.pop()
            if self._jobs[other].state is WAITING:
                self._move(other, Skipped)
                later += self._jobs[other].before

    def _cancel(self) -> list[Instruction]:
        self._cancelled = True
        for number, job in enumerate(self._jobs):
            if job.state in (WAITING, RUNNING):
                self._move(number, Cancelled)
        return self._end()

    def _end(self) -> list[Instruction]:
        if self._open or self.over:
            return []
        self.over = True
        failed, error = self._first_failed
        state = CANCELLED if self._cancelled else FINISHED if failed < 0 else FAILED
        return [CompletePipeline(state=state, failed=failed, error=error)]
