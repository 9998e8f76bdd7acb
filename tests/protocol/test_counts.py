"""When the jobs of a machine report their counts: how often each does, and many at the same moment; broken variants."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import pytest

from fission.protocol.counts import GRID_SHARE, LITTLE_BLOCKS, REPORT_S, SLOW_REPORT_S, Counter, next_report
from fission.protocol.progress import Doing

#: Seconds between two calls of `tick`: the control thread wakes up for other reasons too.
STEP_S = 0.02


@pytest.mark.parametrize("interval_s", [REPORT_S, SLOW_REPORT_S])
def test_a_job_reports_once_in_an_interval_whenever_it_began(interval_s: float) -> None:
    rng = random.Random(1)
    grid_s = interval_s / GRID_SHARE
    for _ in range(200):
        now = rng.uniform(0, 1e6)
        first = next_report(now, interval_s)
        assert abs(first - now - interval_s) <= grid_s / 2 + 1e-6
        due = first
        for _ in range(50):
            late = due + rng.choice([0.0, 1e-9, 0.001, 0.4 * grid_s])  # the thread wakes up at this time or later
            due, before = next_report(late, interval_s), due
            assert abs(due - before - interval_s) < 1e-6


def test_the_jobs_of_a_machine_report_at_few_moments() -> None:
    rng = random.Random(2)
    moments = {round(next_report(rng.uniform(1000.0, 1001.0)), 3) for _ in range(1000)}
    assert len(moments) in (GRID_SHARE, GRID_SHARE + 1)


class Job:
    """A job that takes blocks of one input at a rate, and its counter."""

    def __init__(self, kind: type[Counter] = Counter, *, judged: bool = False) -> None:
        self.now = 1000.0
        self.taken = 0.0
        self.doing = Doing.INPUT
        self.reports: list[tuple[float, int, float]] = []  # time, blocks, seconds until the next one
        totals = SimpleNamespace(received=0)
        totals.__slots__ = ("received",)  # type: ignore[attr-defined]
        self._inputs: Any = SimpleNamespace(rule=SimpleNamespace(done=0, generation=0), counts=lambda: {1: totals})
        self._totals = totals
        self.counter = kind(self._inputs, [], numbers_itself=False, judged=judged)

    def run(self, seconds: float, rate: float, *, wakes: bool = True) -> None:
        """Let time pass; without ``wakes``, the control thread only wakes up when a report is due."""
        until = self.now + seconds
        while self.now < until:
            self.now += STEP_S
            self.taken += rate * STEP_S
            self._inputs.rule.done = self._totals.received = int(self.taken)
            if (wakes or self.now >= self.counter.due) and self.counter.tick(self.now):
                found = self.counter.report(self.now, self.doing)
                self.reports.append((self.now, found.counts.compute_blocks[0], found.next_s))


def check(kind: type[Counter] = Counter) -> None:
    """Let jobs be busy, idle, hang and wake up, and check when they report."""
    for wakes in (False, True):
        busy, idle, judged, hanging = Job(kind), Job(kind), Job(kind, judged=True), Job(kind)
        hanging.doing = Doing.RUN
        for job, rate in ((busy, 1000.0), (idle, 1.0), (judged, 1.0), (hanging, 0.0)):
            job.run(60.0, rate, wakes=wakes)
        assert [len(job.reports) for job in (busy, judged, hanging)] == [pytest.approx(60, abs=2)] * 3
        assert len(idle.reports) == pytest.approx(60 / SLOW_REPORT_S, abs=2)
        for job in (busy, idle, judged, hanging):
            for (before, _, next_s), (at, _, _) in zip(job.reports, job.reports[1:], strict=False):
                assert at - before < next_s + next_s / GRID_SHARE + STEP_S + 1e-6, "later than was said"
    for _ in range(5):
        idle.run(12.3, 1.0)
        idle.run(2 * REPORT_S, 1000.0)  # it has work now, and its thread wakes up for it
        at, blocks, _ = idle.reports[-1]
        assert idle.now - at < REPORT_S + REPORT_S / GRID_SHARE
        assert idle.taken - blocks < 1000.0 * (REPORT_S + REPORT_S / GRID_SHARE) + LITTLE_BLOCKS


def test_a_job_reports_once_a_second_and_more_rarely_if_it_does_little() -> None:
    check()


class AlwaysOften(Counter):
    """Reports once a second whatever it does."""

    def report(self, now: float, doing: Doing) -> Any:
        found = super().report(now, doing)
        self.due = next_report(now)
        return found


class AlwaysRarely(Counter):
    """Reports rarely whatever it does, and says so."""

    def report(self, now: float, doing: Doing) -> Any:
        found = super().report(now, doing)
        self.due, self._busy_due = next_report(now, SLOW_REPORT_S), next_report(now, SLOW_REPORT_S)
        return found


class DoesNotLook(Counter):
    """Reports when it has planned to, whatever has happened since."""

    def tick(self, now: float) -> bool:
        return super().tick(now) if now >= self.due else False


class TakesHangingForIdle(Counter):
    """Reports rarely too when user code does not return."""

    def report(self, now: float, doing: Doing) -> Any:
        return super().report(now, Doing.INPUT)


@pytest.mark.parametrize("kind", [AlwaysOften, AlwaysRarely, DoesNotLook, TakesHangingForIdle])
def test_a_broken_counter_is_caught(kind: type[Counter]) -> None:
    with pytest.raises(AssertionError):
        check(kind)


# -- waiting for space ---------------------------------------------------------------------------------------------------


def waits(kind: type[Counter], seen: list[tuple[float, float, float]]) -> list[float]:
    """Return the reported seconds of waiting for an output with these (time, blocked_s, blocked_since)."""
    output: Any = SimpleNamespace(
        pipe=1, sent_by_generation=lambda: {0: 0}, dropped=0, lost_before={}, queue=0, last=(0, 0), blocked_s=0.0, blocked_since=0.0
    )
    inputs: Any = SimpleNamespace(rule=SimpleNamespace(done=0, generation=0), counts=dict)
    counter = kind(inputs, [output], numbers_itself=False)
    found = []
    for now, output.blocked_s, output.blocked_since in seen:
        found.append(counter.report(now, Doing.ROOM).counts.outputs[1].blocked_s)
    return found


#: A wait that lasts, its end as another thread sees it (counted twice, then counted never), and the end.
WAIT = [(101.0, 0.0, 100.0), (105.0, 0.0, 100.0), (106.0, 6.0, 100.0), (106.0, 0.0, 0.0), (107.0, 6.0, 0.0)]


def test_a_wait_counts_while_it_lasts_and_the_count_never_falls() -> None:
    found = waits(Counter, WAIT)
    assert found[:2] == [1.0, 5.0]
    assert found == sorted(found)


class Unclamped(Counter):
    """A broken one: trusts what it sees of a wait that ends in another thread."""

    def _waited_s(self, output: Any, now: float) -> float:
        self._reported_waits.clear()
        return super()._waited_s(output, now)


def test_a_count_that_trusts_another_thread_is_caught() -> None:
    found = waits(Unclamped, WAIT)
    assert found != sorted(found)
