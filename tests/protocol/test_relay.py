"""Relays: whatever an executable's ratio, and whenever it dies, each output block has one number, and no input is released too early."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fission.errors import LocalProtocolError
from fission.protocol import relay as relays
from fission.protocol.relay import HELD_WINDOWS, SILENT_S, Relay
from tests.protocol.caught import assert_caught

RATIOS = [Fraction(1), Fraction(2), Fraction(1, 3), Fraction(3, 2), Fraction(2, 5)]


def answers(numbers: list[int], ratio: Fraction) -> list[tuple[int, tuple[int, ...]]]:
    """What a program gives that was started with these compute blocks: (number it must have, the compute blocks that it is made of)."""
    found = []
    takes, gives = ratio.denominator, ratio.numerator
    for group in (numbers[start : start + takes] for start in range(0, len(numbers) - takes + 1, takes)):
        for position in range(gives):
            found.append(((group[0] - 1) * gives // takes + 1 + position, (position, *group)))
    return found


@st.composite
def plays(draw: st.DrawFn) -> tuple[Fraction, int, list[str]]:
    steps = draw(st.lists(st.sampled_from(["feed", "feed", "give 0", "give 1", "release", "die"]), max_size=120))
    return draw(st.sampled_from(RATIOS)), draw(st.integers(1, 2)), steps


def play(kind: type[Relay], played: tuple[Fraction, int, list[str]]) -> None:
    """A consumer that keeps what is new, a producer that feeds again what is not released."""
    ratio, outputs, steps = played
    relay = kind(ratio, outputs)
    fed: list[int] = []
    arrived: list[dict[int, tuple[int, ...]]] = [{} for _ in range(outputs)]
    released = 0

    def give(output: int) -> None:
        owed = answers(fed, ratio)
        if relay.given[output] == len(owed):
            return  # the program has nothing to say
        number, content = owed[relay.given[output]]
        assert relay.give(output) == number
        known = arrived[output].setdefault(number, content)
        assert known == content, "another block has the number"
        assert len(arrived[output]) == max(arrived[output]), "a number was left out"

    for step in steps:
        if step == "feed":
            number = relay.passed + 1
            relay.feed(number)
            fed.append(number)
        elif step.startswith("give"):
            give(min(int(step[-1]), outputs - 1))
        elif step == "release":
            upto = min(map(len, arrived))
            now = relay.release(upto)
            assert now >= released
            # all its outputs have arrived
            assert now * ratio <= upto
            released = now
        else:
            relay.begin(relay.first_from(released + 1))
            fed = []
    assert relay.answered <= relay.passed


@given(plays())
def test_each_block_has_one_number_and_no_input_is_released_too_early(played: tuple[Fraction, int, list[str]]) -> None:
    play(Relay, played)


class ReleasesWhatWasRead(Relay):
    """Releases inputs as soon as they are read, whatever came of them."""

    def release(self, released: int) -> int:
        super().release(released)
        return self.passed


class NumbersOn(Relay):
    """Outputs are numbered from 1 by each program."""

    def give(self, output: int) -> int | None:
        return self.given[output] if super().give(output) is not None else None


class ReleasesHalfAGroup(Relay):
    def first_from(self, beginning: int) -> int:
        return beginning + 1


@pytest.mark.parametrize("broken", [ReleasesWhatWasRead, NumbersOn, ReleasesHalfAGroup])
def test_a_broken_relay_is_noticed(broken: type[Relay]) -> None:
    assert_caught(lambda played: play(broken, played), plays())


def test_missing_blocks_have_no_number() -> None:
    relay = Relay(Fraction(1), 1)
    assert relay.give(0) is None
    relay.feed(1)
    assert relay.give(0) == 1
    assert relay.give(0) is None


def test_compute_blocks_that_do_not_exist_leave_a_gap() -> None:
    relay = Relay(Fraction(1), 1)
    relay.skip(2)
    assert relay.answered == relay.release(0) == 2
    for number in (3, 7):
        relay.feed(number)
    assert [relay.give(0), relay.give(0)] == [3, 7]
    assert relay.release(3) == 6
    assert relay.owed == 0
    relay.skip(9)
    assert relay.release(3) == 6
    assert relay.release(7) == relay.answered == 9


def test_a_group_that_is_not_whole_is_owed_by_the_inputs() -> None:
    relay = Relay(Fraction(1, 3), 1)
    for number in range(1, 5):
        relay.feed(number)
    assert relay.owed == 3
    assert relay.give(0) == 1
    assert (relay.owed, relay.answered, relay.release(1)) == (0, 3, 3)


def test_misuse() -> None:
    with pytest.raises(LocalProtocolError):
        Relay(Fraction(0), 1)
    relay = Relay(Fraction(1), 1)
    relay.feed(1)
    with pytest.raises(LocalProtocolError):
        relay.feed(1)


def test_answers_are_in_order() -> None:
    """The reference itself: numbers of one program's outputs are consecutive."""
    for ratio in RATIOS:
        numbers = [number for number, _ in answers(list(range(1, 31)), ratio)]
        assert [len(list(group)) for _, group in groupby(numbers)] == [1] * len(numbers)
        assert numbers == list(range(1, len(numbers) + 1))


# -- a RATIO that is only assumed


def judged(kind: type[Relay], takes: int, steps: list[int]) -> None:
    """A program that reads one block at a time and gives this many for it: it is recognised with the first block too many, and not before.

    It is given everything at once, up to the windows: it has read less than that.
    """
    relay = kind(Fraction(takes), 1)
    for number in range(1, len(steps) + 1):
        relay.feed(number)
    given = 0
    for read, count in enumerate(steps, 1):
        whole = read // takes  # compute blocks
        for _ in range(count):
            given += 1
            otherwise = relays.gives_otherwise(relay, output=0, read=whole)
            # the last output of a group depends on the whole group
            assert otherwise == (given % takes == 0 and given // takes > whole)
            if otherwise:
                return
            assert relay.give(0) == given
        assert relay.answered <= whole, "what it has not read would be released"


@given(st.sampled_from([1, 3]), st.lists(st.integers(0, 3), max_size=30))
def test_a_block_too_many_is_known_before_what_is_unread_is_released(takes: int, steps: list[int]) -> None:
    judged(Relay, takes, steps)


class LooksAtWhatWasGiven(Relay):
    """A block is too many only when all that the program was given is answered, even what it has not read."""

    def needs(self, output: int) -> int:
        return 0


class WantsTheWholeGroup(Relay):
    """Each block of a group wants all of the group to have been read."""

    def needs(self, output: int) -> int:
        group = self.given[output] // self._gives
        return self._groups[group] if group < len(self._groups) else 0


@pytest.mark.parametrize("broken", [LooksAtWhatWasGiven, WantsTheWholeGroup])
def test_a_broken_judgement_is_noticed(broken: type[Relay]) -> None:
    steps = st.tuples(st.sampled_from([1, 3]), st.lists(st.integers(0, 3), max_size=30))
    assert_caught(lambda played: judged(broken, *played), steps)


def test_a_program_that_gives_too_little_is_recognised() -> None:
    relay = Relay(Fraction(1), 2)
    assert not relays.gives_otherwise(relay, over=True), "it was given nothing"
    for number in range(1, 11):
        relay.feed(number)
    for number in range(1, 11):
        assert relay.give(0) == number
    assert not relays.gives_otherwise(relay, silent=SILENT_S / 2, held=HELD_WINDOWS)
    assert relays.gives_otherwise(relay, silent=SILENT_S), "one output has had nothing"
    assert relays.gives_otherwise(relay, over=True)
    assert relays.gives_otherwise(relay, held=HELD_WINDOWS + 0.5)
    for number in range(1, 11):
        assert relay.give(1) == number
    assert not any(relays.gives_otherwise(relay, **how) for how in ({"over": True}, {"silent": 99.0}, {"held": 99.0}))


@given(st.lists(st.booleans(), max_size=40), st.lists(st.sampled_from(["feed", "give", "release", "die"]), max_size=150))
def test_blocks_that_a_decimator_gave_before_it_is_known_are_not_lost(passes: list[bool], steps: list[str]) -> None:
    """Killed while it still counts as one for one: its blocks have too low numbers, so too few inputs are released, never too many."""
    relay = Relay(Fraction(1), 1)
    waiting: list[int] = []  # inputs of blocks that the program has not written yet
    arrived: list[int] = []  # the consumer keeps what has a new number
    released = 0
    for step in [*steps, "die", *["feed", "give"] * len(passes)]:
        if step == "feed" and relay.passed < len(passes):
            relay.feed(relay.passed + 1)
            waiting += [relay.passed] if passes[relay.passed - 1] else []
        elif step == "give" and waiting:
            number, content = relay.give(0), waiting.pop(0)
            assert number is not None
            if number > len(arrived):
                assert number == len(arrived) + 1
                arrived.append(content)
        elif step == "release":
            released = relay.release(len(arrived))
        elif step == "die":
            relay.begin(relay.first_from(released + 1))
            waiting = []
    assert set(arrived) == {number for number, one in enumerate(passes, 1) if one}


# -- runs of blocks against one block after the other

RUNS = st.lists(
    st.one_of(
        st.tuples(st.just("feed"), st.integers(1, 9)),
        st.tuples(st.just("skip"), st.integers(1, 3)),
        st.tuples(st.just("give"), st.integers(1, 9)),
        st.tuples(st.just("release"), st.integers(0, 9)),
    ),
    max_size=40,
)


def play_runs(kind: type[Relay], ratio: Fraction, steps: list[tuple[str, int]], behind: int) -> None:
    """Give two relays the same blocks, one of them in runs; the program may have read all but the last ``behind`` blocks."""
    single, several = Relay(ratio, 1), kind(ratio, 1)
    for what, count in steps:
        if what == "feed":
            numbers = range(single.passed + 1, single.passed + 1 + count)
            for number in numbers:
                single.feed(number)
            several.feed_run(numbers)
        elif what == "skip":
            single.skip(single.passed + count)
            several.skip(several.passed + count)
        elif what == "give":
            read, wanted = single.passed - behind, []
            while len(wanted) < count and single.needs(0) <= read and (number := single.give(0)) is not None:
                wanted.append(number)
            given: list[int] = []
            while len(given) < count and (run := several.give_run(0, count - len(given), read)):
                given += run
            assert given == wanted
        else:
            assert single.release(count) == several.release(count)
        for name in ("passed", "given", "fed", "answered", "owed"):
            assert getattr(single, name) == getattr(several, name), name


@given(st.sampled_from(RATIOS), RUNS, st.integers(0, 3))
def test_a_run_equals_single_blocks(ratio: Fraction, steps: list[tuple[str, int]], behind: int) -> None:
    play_runs(Relay, ratio, steps, behind)


def test_a_run_is_refused_as_a_whole_like_its_first_block() -> None:
    relay = Relay(Fraction(1), 1)
    relay.feed_run([3, 4])
    with pytest.raises(LocalProtocolError, match="compute block 4 is not after 4"):
        relay.feed_run([4, 5])
    assert (relay.passed, relay.fed) == (4, 2)


class GivesWhatWasNotRead(Relay):
    def give_run(self, output: int, most: int, read: float = math.inf) -> range:
        return super().give_run(output, most)


class ForgetsWhatWasReleased(Relay):
    def give_run(self, output: int, most: int, read: float = math.inf) -> range:
        self._gone, gone = 0, self._gone
        try:
            return super().give_run(output, most, read)
        finally:
            self._gone = gone


@pytest.mark.parametrize("broken", [GivesWhatWasNotRead, ForgetsWhatWasReleased])
def test_broken_runs_are_caught(broken: type[Relay]) -> None:
    assert_caught(lambda drawn: play_runs(broken, *drawn), st.tuples(st.sampled_from(RATIOS), RUNS, st.integers(0, 3)))
