"""Protection against replay: each message number is accepted once, however messages are ordered, doubled and recorded."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fission.protocol.replay import WINDOW, ReplayWindow, ReplayWindows, context_of, echo_context, pulse_context
from tests.protocol.caught import assert_caught

#: Numbers that lie close together, jump, and come again.
NUMBERS = st.lists(st.integers(0, 3 * WINDOW) | st.integers(0, 2**64 - 1) | st.integers(WINDOW - 2, WINDOW + 2), max_size=120)
STREAMS = st.lists(st.tuples(st.sampled_from([b"a", b"b", b"c"]), st.integers(0, 200)), max_size=120)


def each_once(make: Callable[[], ReplayWindow]) -> Callable[[list[int]], None]:
    """What is taken is what a set of all numbers would take, but for those that are too old, which are never taken."""

    def check(numbers: list[int]) -> None:
        window, seen, largest = make(), set[int](), -1
        for number in numbers:
            wanted = number not in seen and number > largest - WINDOW
            assert window.take(number) == wanted, (number, largest)
            seen.add(number)
            largest = max(largest, number)

    return check


@given(NUMBERS)
def test_each_number_is_taken_once(numbers: list[int]) -> None:
    each_once(ReplayWindow)(numbers)


class OnlyTheLargest(ReplayWindow):
    """Forgets what came before the largest number, and so takes it again."""

    def take(self, number: int) -> bool:
        taken = super().take(number)
        self._seen = 1
        return taken


class NothingLate(ReplayWindow):
    """Drops what was overtaken."""

    def take(self, number: int) -> bool:
        return number > self._largest and super().take(number)


class ForgetsAJump(ReplayWindow):
    """Accepts as new the numbers that a large jump has skipped."""

    def take(self, number: int) -> bool:
        before = self._largest
        return super().take(number) or before - number >= WINDOW


@pytest.mark.parametrize("broken", [OnlyTheLargest, NothingLate, ForgetsAJump])
def test_broken_windows_are_caught(broken: type[ReplayWindow]) -> None:
    assert_caught(each_once(broken), NUMBERS)


@given(STREAMS)
def test_senders_do_not_disturb_each_other(stream: list[tuple[bytes, int]]) -> None:
    together, alone = ReplayWindows(), {sender: ReplayWindow() for sender in (b"a", b"b", b"c")}
    assert [together.take(*one) for one in stream] == [alone[sender].take(number) for sender, number in stream]


def test_memory_is_bounded() -> None:
    windows = ReplayWindows(most=3)
    for sender in range(100):
        assert windows.take(bytes([sender]), 5)
    assert len(windows._windows) == 3
    assert not windows.take(bytes([99]), 5)


TEXTS = st.lists(st.text(max_size=6), max_size=4)


@given(TEXTS, TEXTS)
def test_contexts_differ_if_anything_does(one: list[str], other: list[str]) -> None:
    assert (context_of(*one) == context_of(*other)) == (one == other)


def test_the_two_directions_have_different_contexts() -> None:
    assert len({pulse_context("r", "c"), echo_context("r", "c", ""), echo_context("r", "c", "n"), pulse_context("r", "cn")}) == 4
