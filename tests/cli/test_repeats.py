"""Repeated failovers are one line with their number, not a screen full of lines."""

from __future__ import annotations

from fission.cli.repeats import MOST_S, Repeats


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def failover(number: int, job: str = "Src 1") -> str:
    return f"{job} died: OSError: no microphone; {job} again on client; 0.{number % 10} s, {number} block{'s' * (number != 1)} replayed"


def test_the_first_is_shown_at_once_and_repeats_ever_more_rarely_with_their_number() -> None:
    clock = Clock()
    repeats = Repeats(clock)
    shown = []
    for number in range(3600):
        clock.now = float(number)
        line = repeats.take(failover(number))
        if line is not None:
            shown.append(line)
    assert shown[0] == failover(0)
    assert shown[1] == f"{failover(1)} (2 times within 1.0 s)"
    assert shown[2] == f"{failover(3)} (4 times within 3.0 s)"
    assert 10 <= len(shown) <= 25


def test_other_failovers_are_shown_meanwhile_and_an_old_one_is_new_again() -> None:
    clock = Clock()
    repeats = Repeats(clock)
    assert repeats.take(failover(1)) == failover(1)
    assert repeats.take(failover(2)) is None
    assert repeats.take(failover(1, "Mid 2")) == failover(1, "Mid 2")
    clock.now = 2 * MOST_S + 1
    assert repeats.take(failover(3)) == failover(3)
