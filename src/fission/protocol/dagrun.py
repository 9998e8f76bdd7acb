"""One pipeline's machine: which of its jobs may run, and when it is over.

Theory of operation
    One machine a job (`JobState`), all with the one table `TRANSITIONS`; a row that is missing is an illegal event, which raises and
    changes nothing. A job runs when all jobs that it comes after are finished. A job that raises runs again while it has retries left;
    one whose process was lost with its host runs again without using one up. What comes behind a failed job is skipped, every
    other branch goes on. The pipeline is over when no job waits or runs; `End` is given exactly once.
    Each order to run has an attempt's number. Of an old attempt (of a job that was judged lost, and went on where nobody could see it)
    only the good end counts: the job is finished then, and is never ordered again.

Known gaps
    Nothing is known here of leases, brokers or time; the shell answers for one `Run` with at least one event.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

from fission.errors import LocalProtocolError


class JobState(Enum):
    """Where a pipeline's job is."""

    WAITING = "waits for the jobs that it comes after"
    RUNNING = "was ordered to run"
    FINISHED = "was run to its end, and what it returned is saved"
    FAILED = "has raised more often than it may"
    SKIPPED = "never runs: a job that it comes after has failed"
    CANCELLED = "never ends: somebody has cancelled the pipeline"


WAITING, RUNNING, FINISHED, FAILED, SKIPPED, CANCELLED = JobState


@dataclass(frozen=True, slots=True)
class JobPlan:
    """What the machine needs to know of a job.

    Attributes:
        after: numbers of the jobs that must be finished before.
        retries: how often it may raise and run again.
    """

    after: frozenset[int] = frozenset()
    retries: int = 0


@dataclass(frozen=True, slots=True)
class Known:
    """What is recorded of a job from an earlier life of its pipeliner.

    Attributes:
        tries: how often it was run to an end, good or bad.
        finished: whether it is finished.
        failed: whether it has failed for good.
        attempt: the attempt that runs now; 0: none.
        error: of the last bad end.
    """

    tries: int = 0
    finished: bool = False
    failed: bool = False
    attempt: int = 0
    error: str = ""


# what happens


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """All that it comes after is finished: it is ordered to run."""

    job: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFinished:
    """It was run to its end, and what it returned is saved."""

    job: int
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRaised:
    """It raised, was killed at its time limit, or killed its process; ``hopeless`` says that a retry would do the same."""

    job: int
    attempt: int
    error: str
    hopeless: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class JobLost:
    """Its process was lost with its host, through no fault of its own."""

    job: int
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenUp:
    """It has raised, and has no retries left."""

    job: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """A job that it comes after has failed or is skipped."""

    job: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled:
    """Somebody cancels the whole pipeline."""

    job: int = -1


Event: TypeAlias = JobFinished | JobRaised | JobLost | Cancelled

TRANSITIONS: Mapping[tuple[JobState, type], JobState] = {
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


# what is to be done


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Run the job; answer with the attempt's number."""

    job: int
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """The pipeline is over.

    Attributes:
        state: FINISHED, FAILED or CANCELLED.
        failed: the job that failed first; -1: none.
        error: what it raised.
    """

    state: JobState
    failed: int = -1
    error: str = ""


Instruction: TypeAlias = Run | End


@dataclass(slots=True)
class _Job:
    plan: JobPlan
    state: JobState = WAITING
    attempt: int = 0
    bad_ends: int = 0
    missing: int = 0  # of the jobs that it comes after, how many are not finished
    before: list[int] = field(default_factory=list)


class DagRun:
    """Decides for one pipeline. Call `begin` once, then `handle` with what happens.

    Attributes:
        over: whether `End` was given; every later event changes nothing.
        count: how many jobs run.
    """

    def __init__(self, plans: Sequence[JobPlan], known: Mapping[int, Known] | None = None, attempts_before: int = 0) -> None:
        """Take the jobs.

        Args:
            plans: all jobs, without a circle.
            known: what is recorded of them, by number.
            attempts_before: numbers of attempts up to this one belong to earlier lives of the pipeline and are not given again.

        Raises:
            LocalProtocolError: a job comes after one that does not exist, or what is recorded names one.
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

    # what the shell asks

    def state(self, job: int) -> JobState:
        """Where the job is."""
        return self._at(job).state

    def running(self) -> dict[int, int]:
        """The attempts that were ordered and have not ended, by job."""
        return {number: job.attempt for number, job in enumerate(self._jobs) if job.state is RUNNING}

    # what happens

    def begin(self) -> list[Instruction]:
        """Orders the first jobs; with something recorded, those that it leaves to be done.

        Raises:
            LocalProtocolError: it was called before.
        """
        if self._begun:
            raise LocalProtocolError("a pipeline begins once")
        self._begun = True
        orders: list[Instruction] = []
        failed: list[int] = []
        for number, known in sorted(self._known.items()):
            job = self._jobs[number]
            job.bad_ends = known.tries if not known.finished else 0
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
                orders.append(self._start(number))
        return orders + self._end()

    def handle(self, event: Event) -> list[Instruction]:
        """Takes what has happened; returns what is to be done.

        Raises:
            LocalProtocolError: the event is impossible where the job is; nothing has changed.
        """
        if not self._begun:
            raise LocalProtocolError("the pipeline has not begun")
        if self.over:
            return []
        if isinstance(event, Cancelled):
            return self._cancel()
        job = self._at(event.job)
        if not 1 <= event.attempt <= max(job.attempt, self._attempts_before):
            raise LocalProtocolError(f"job {event.job} has no attempt {event.attempt}: {job.attempt} were ordered")
        if job.state not in (RUNNING, WAITING):
            return []  # a second end, of another attempt
        orders: list[Instruction] = []
        if isinstance(event, JobFinished):
            orders += [self._start(number) for number in self._finish(event.job)]
        elif job.state is WAITING or event.attempt < job.attempt:
            return []  # the bad end of an attempt that was replaced
        elif isinstance(event, JobLost):
            self._move(event.job, JobLost)
            orders.append(self._start(event.job))
        else:
            self._move(event.job, JobRaised)
            job.bad_ends += 1
            if event.hopeless or job.bad_ends > job.plan.retries:
                self._give_up(event.job, event.error)
            else:
                orders.append(self._start(event.job))
        return orders + self._end()

    # the inside

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

    def _start(self, number: int) -> Run:
        self._move(number, Started)
        job = self._jobs[number]
        job.attempt = max(job.attempt, self._attempts_before) + 1
        return Run(job=number, attempt=job.attempt)

    def _finish(self, number: int) -> list[int]:
        """Marks the job; returns those that may run now."""
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
        behind = list(self._jobs[number].before)
        while behind:
            other = behind.pop()
            if self._jobs[other].state is WAITING:
                self._move(other, Skipped)
                behind += self._jobs[other].before

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
        return [End(state=state, failed=failed, error=error)]
