"""The stated error of the network's time covers the true one, whatever clocks drift, are late or are set."""

from __future__ import annotations

import random
from collections.abc import Callable
from math import inf

import pytest

from fission.protocol import network_clock
from fission.protocol.clock_offset import MOST_DRIFT, ClockComparison
from fission.protocol.messages.client_to_job import ClientClock
from fission.protocol.network_clock import LATE_S, NetworkClock

EPOCH = 1_700_000_000.0


def worst(seed: int, clock: NetworkClock, reads_after_s: float = 3.0) -> tuple[float, float]:
    """Play a minute of pulses; return the largest error, and the largest excess of an error over the stated one.

    The clock of the machine drifts, its messages are late in different ways in both directions, and its time of day is wrong.
    """
    rng = random.Random(seed)
    drift = rng.uniform(-MOST_DRIFT, MOST_DRIFT) * 0.9
    ahead = rng.uniform(-5000, 5000)
    here: Callable[[float], float] = lambda now: now * (1 + drift) + ahead  # noqa: E731 - this machine's clock at a time of the client's
    comparison, error, excess = ClockComparison(), 0.0, -inf
    for pulse in range(600):
        now = 0.1 * pulse
        out, back = rng.uniform(0.001, 0.004), rng.uniform(0.001, 0.009)
        comparison.exchanged(here(now), now + out, now + out, here(now + out + back))
        found = comparison.estimate(here(now + 0.09))
        assert found is not None
        arrives = now + 0.09 + rng.uniform(0.0, LATE_S - 0.01)
        message = ClientClock(known=True, offset_s=found.offset_s, error_s=found.error_s, drift=found.drift, wall_s=EPOCH)
        clock.reported(message, here(arrives))
        for _ in range(3):
            at = arrives + rng.uniform(0, reads_after_s)
            seconds, stated = clock.read(here(at), rng.uniform(0, 1e9))
            wrong = abs(seconds - (EPOCH + at))
            excess = max(excess, wrong - stated)
            if pulse > 100:
                error = max(error, wrong)
    return error, excess


@pytest.mark.parametrize("seed", range(5))
def test_the_stated_error_covers_the_true_one(seed: int) -> None:
    error, excess = worst(seed, NetworkClock())
    assert excess <= 1e-6
    assert error < 0.006  # half of what the two directions may differ, and the rest of the drift


class Forgets(NetworkClock):
    """Broken: what has passed since the report does not count."""

    def age_s(self, now: float) -> float:
        return 0.0

    def read(self, now: float, wall: float) -> tuple[float, float]:
        seconds, _ = super().read(now, wall)
        assert self._report is not None
        return seconds, self._report[0].error_s


def test_an_error_that_does_not_grow_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    assert max(worst(seed, Forgets(), 30.0)[1] for seed in range(5)) > 1e-6
    monkeypatch.setattr(network_clock, "MOST_DRIFT", 0.0)
    assert max(worst(seed, NetworkClock(), 30.0)[1] for seed in range(5)) > 1e-6


def test_before_the_first_comparison_the_error_is_infinite() -> None:
    clock = NetworkClock()
    assert clock.read(5.0, 77.0) == (77.0, inf)
    assert clock.age_s(5.0) == inf
    clock.reported(ClientClock(), 5.0)
    assert clock.read(6.0, 78.0) == (78.0, inf)
    assert clock.age_s(7.0) == 2.0


def test_a_clock_of_this_machine_that_is_set_changes_nothing() -> None:
    clock = NetworkClock()
    clock.reported(ClientClock(known=True, offset_s=100.0, error_s=0.001, wall_s=EPOCH), 110.0)
    for wall in (0.0, EPOCH, 2 * EPOCH):
        assert clock.read(112.0, wall)[0] == pytest.approx(EPOCH + 12.0)
    clock.reported(ClientClock(known=True, offset_s=100.0, error_s=0.001, wall_s=EPOCH + 3600), 112.0)  # the client's was set
    assert clock.read(112.0, 0.0)[0] == pytest.approx(EPOCH + 3612.0)


def test_on_the_clients_machine_there_is_no_error() -> None:
    clock = NetworkClock()
    clock.reported(ClientClock(local=True), 5.0)
    assert clock.local
    assert clock.read(1e6, 77.0) == (77.0, 0.0)
