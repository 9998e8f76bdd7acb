"""A small world around the machine of one pipeline: workers that finish, raise and get lost, late answers, Pipeliners that die.

The world records ends as the Router does, so that a new Pipeliner begins with what is recorded and what runs. `play` checks after each
step that no job runs before its dependencies have finished, that no job is ordered after it was recorded as finished, and that the
pipeline ends exactly once, in the right state.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from fission.protocol.dagrun import (
    Cancelled,
    CompletePipeline,
    DagJobPlan,
    DagJobState,
    DagRun,
    Event,
    Instruction,
    JobFinished,
    JobLost,
    JobRaised,
    RecordedJob,
    StartAttempt,
)


class World:
    def __init__(self, rng: random.Random, machine: Callable[..., DagRun] = DagRun) -> None:
        self.rng = rng
        self.make = machine
        size = rng.randint(1, 9)
        self.plans = [
            DagJobPlan(frozenset(other for other in range(number) if rng.random() < 0.35), rng.choice([0, 0, 1, 2]))
            for number in range(size)
        ]
        self.finished: set[int] = set()
        self.failures: dict[int, int] = {}
        self.failed: dict[int, str] = {}
        self.running: dict[int, int] = {}  # what the Router believes
        self.ghosts: list[tuple[int, int]] = []  # attempts that were judged lost and may still end
        self.ends: list[CompletePipeline] = []
        self.cancelled = False

    def known(self) -> dict[int, RecordedJob]:
        jobs = {*self.finished, *self.failures, *self.running}
        return {
            job: RecordedJob(
                tries=self.failures.get(job, 0) + (job in self.finished),
                finished=job in self.finished,
                failed=job in self.failed,
                attempt=self.running.get(job, 0),
                error=self.failed.get(job, ""),
            )
            for job in jobs
        }

    def take(self, orders: list[Instruction]) -> None:
        for order in orders:
            if isinstance(order, StartAttempt):
                assert order.job not in self.finished, f"{order.job} is ordered after it was finished"
                assert self.plans[order.job].after <= self.finished, f"{order.job} is ordered before what it comes after"
                assert order.job not in self.running, f"{order.job} is ordered while it runs"
                assert order.job not in self.failed
                self.running[order.job] = order.attempt
            else:
                self.ends.append(order)

    def finish(self, job: int, attempt: int) -> Event:
        current = self.running.pop(job, None)
        if current is not None and current != attempt:
            self.ghosts.append((job, current))
        self.finished.add(job)
        return JobFinished(job=job, attempt=attempt)

    def lose(self, job: int, attempt: int) -> Event:
        del self.running[job]
        self.ghosts.append((job, attempt))
        return JobLost(job=job, attempt=attempt)

    def bad_end(self, job: int, attempt: int, hopeless: bool) -> Event:
        del self.running[job]
        self.failures[job] = self.failures.get(job, 0) + 1
        if hopeless or self.failures[job] > self.plans[job].retries:
            self.failed[job] = f"error of {job}"
        return JobRaised(job=job, attempt=attempt, error=f"error of {job}", hopeless=hopeless)

    def ghost(self, index: int, kind: str) -> Event:
        job, attempt = self.ghosts.pop(index % len(self.ghosts))
        if kind == "finish" and job not in self.failed and not self.cancelled:
            return self.finish(job, attempt)
        return JobRaised(job=job, attempt=attempt, error="a ghost") if kind == "raise" else JobLost(job=job, attempt=attempt)

    def step(self) -> Event | None:
        """Return an event that can happen now; None: the Pipeliner has died."""
        if self.ghosts and self.rng.random() < 0.3:
            return self.ghost(self.rng.randrange(len(self.ghosts)), self.rng.choice(["finish", "raise", "lost"]))
        if self.rng.random() < 0.12:
            return None
        if self.rng.random() < 0.02:
            self.cancelled = True
            self.running.clear()
            return Cancelled()
        job = self.rng.choice(sorted(self.running))
        kind = self.rng.choices(["finish", "raise", "lost"], [6, 2, 2])[0]
        if kind == "finish":
            return self.finish(job, self.running[job])
        if kind == "lost":
            return self.lose(job, self.running[job])
        return self.bad_end(job, self.running[job], self.rng.random() < 0.1)


def play(world: World) -> None:
    machine = world.make(world.plans, world.known())
    world.take(machine.begin())
    for _ in range(2000):
        if world.ends:
            break
        assert world.running, "nothing runs, and the pipeline is not over"
        assert world.running == machine.running()
        assert machine.count == len(world.running)
        event = world.step()
        if event is None:
            world.ghosts.clear()  # a new machine continues the numbers of what runs; the Router has forgotten the others
            machine = world.make(world.plans, world.known())
            world.take(machine.begin())
        else:
            world.take(machine.handle(event))
    else:
        raise AssertionError("no end")
    for job, attempt in [*world.ghosts, *world.running.items()]:
        world.take(machine.handle(JobFinished(job=job, attempt=attempt)))
    assert len(world.ends) == 1, world.ends
    check_end(world, world.ends[0])


def check_end(world: World, end: CompletePipeline) -> None:
    if world.cancelled:
        assert end.state is DagJobState.CANCELLED
        return
    reachable = {job for job in range(len(world.plans)) if not (ancestors(world, job) | {job}) & world.failed.keys()}
    assert world.finished == reachable, "every job that no failed one stands before is finished, and no other"
    assert end.state is (DagJobState.FAILED if world.failed else DagJobState.FINISHED)
    if world.failed:
        assert end.failed in world.failed
        assert end.error == world.failed[end.failed]


def ancestors(world: World, job: int) -> set[int]:
    found: set[int] = set()
    todo = set(world.plans[job].after)
    while todo:
        other = todo.pop()
        found.add(other)
        todo |= world.plans[other].after - found
    return found


class Broken(DagRun):
    """A machine with one rule broken."""


class RunsTooEarly(Broken):
    def _finish(self, number: int) -> list[int]:
        super()._finish(number)
        return [other for other in self._jobs[number].before if self._jobs[other].state is DagJobState.WAITING]


class ForgetsRetries(Broken):
    def handle(self, event: Event) -> list[Instruction]:
        if isinstance(event, JobRaised) and event.attempt == self._jobs[event.job].attempt:
            self._jobs[event.job].failures = 0
        return super().handle(event)


class CountsLossAsTry(Broken):
    def handle(self, event: Event) -> list[Instruction]:
        if isinstance(event, JobLost):
            event = JobRaised(job=event.job, attempt=event.attempt, error="lost")
        return super().handle(event)


class BelievesGhosts(Broken):
    def handle(self, event: Event) -> list[Instruction]:
        if isinstance(event, (JobLost, JobRaised)) and self._jobs[event.job].state is DagJobState.RUNNING:
            event = JobLost(job=event.job, attempt=self._jobs[event.job].attempt)
        return super().handle(event)


class RunsFinishedAgain(Broken):
    def begin(self) -> list[Instruction]:
        self._known = {job: RecordedJob(tries=known.tries, attempt=known.attempt) for job, known in self._known.items()}
        return super().begin()


class SkipsOnlyNext(Broken):
    def _give_up(self, number: int, error: str) -> None:
        kept = [(job, job.before) for at, job in enumerate(self._jobs) if at != number]
        for job, _ in kept:
            job.before = []
        super()._give_up(number, error)
        for job, before in kept:
            job.before = before


class RunsRunningAgain(Broken):
    def begin(self) -> list[Instruction]:
        self._known = {
            job: RecordedJob(tries=known.tries, finished=known.finished, failed=known.failed, error=known.error)
            for job, known in self._known.items()
        }
        return super().begin()


class EndsTwice(Broken):
    def _end(self) -> list[Instruction]:
        orders = super()._end()
        return orders * 2


class ForgetsFirstError(Broken):
    def _give_up(self, number: int, error: str) -> None:
        self._first_failed = (-1, "")
        super()._give_up(number, "error")


BROKEN = [
    RunsTooEarly, ForgetsRetries, CountsLossAsTry, BelievesGhosts, RunsFinishedAgain, SkipsOnlyNext, RunsRunningAgain, EndsTwice,
    ForgetsFirstError,
]  # fmt: skip
