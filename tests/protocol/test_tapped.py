"""What a tap sends, and how its reader decodes it."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fission.errors import RemoteProtocolError
from fission.protocol import frames, tapped
from fission.protocol.link_messages import End, Open
from fission.protocol.tapped import Follower, Seen


def data(sqn: int, *payloads: bytes, generation: int = 0, heads: list[int] | None = None) -> list[frames.Buffer]:
    return [frames.encode_data(7, 1, generation, sqn, payloads, heads)]


MESSAGES = st.lists(st.tuples(st.floats(0, 1e10), st.lists(st.binary(max_size=50), min_size=1, max_size=4)), max_size=10)


@given(MESSAGES)
def test_batches_are_read_back_unchanged(messages: list[tuple[float, list[frames.Buffer]]]) -> None:
    batch = tapped.encode(messages)
    assert list(tapped.decode(batch)) == messages
    assert len(batch) == sum(tapped.size_of(message) for _, message in messages)


@given(MESSAGES, st.integers(1, 60))
def test_a_batch_that_ends_in_the_middle(messages: list[tuple[float, list[frames.Buffer]]], cut: int) -> None:
    batch = tapped.encode(messages)[:-cut]
    try:
        found = list(tapped.decode(batch))
    except RemoteProtocolError:
        return
    assert found == messages[: len(found)]


def test_blocks_with_numbers_times_and_heads() -> None:
    assert Follower().take(1.5, data(3, b"a", b"bc", heads=[1, 0])) == Seen(1.5, 0, 3, 2, [b"a", b"bc"], [1, 0])
    big = frames.encode_big(7, 1, 0, 4, [[b"pickle", b"buffer"]], None)
    assert Follower().take(2.0, big) == Seen(2.0, 0, 4, 1, [[b"pickle", b"buffer"]], None)


def test_a_header_alone() -> None:
    follower = Follower()
    header = [bytes(data(3, b"a", b"b")[0][: tapped.HEADER_BYTES])]
    assert follower.take(1.0, header) == Seen(1.0, 0, 3, 2)
    assert tapped.size_of(header) == tapped.HEADER_SIZE
    with pytest.raises(RemoteProtocolError, match="a message starts with a header"):
        follower.take(1.0, [header[0][:-1]])


def test_duplicates_are_dropped_and_gaps_are_counted() -> None:
    follower = Follower()
    assert follower.take(1.0, data(10, b"a", b"b")) is not None  # what was before the first look does not count
    assert follower.take(1.0, data(10, b"a", b"b")) is None
    assert follower.take(2.0, data(11, b"b", b"c")) == Seen(2.0, 0, 12, 1, [b"c"], None)
    assert follower.missed == 0
    follower.take(3.0, data(16, b"g"))
    assert follower.missed == 3
    assert follower.take(3.0, data(1, b"a", generation=1)) is not None
    assert (follower.missed, follower.restarts) == (3, 1)
    assert follower.take(3.0, data(17, b"x")) is None  # of the older numbering


def test_opens_and_ends() -> None:
    follower = Follower()
    assert follower.take(1.0, [frames.encode_open(Open(7, 1, 0, 4))]) is None
    assert not follower.ended
    assert follower.take(1.0, [frames.encode_end(End(7, 1, 0, 4))]) is None
    assert follower.ended
    assert follower.missed == 0  # it had seen nothing, so it does not know where it began


def test_the_end_counts_what_was_missed_before_it() -> None:
    follower = Follower()
    follower.take(1.0, data(3, b"a", b"b"))
    for _ in range(2):  # the end may be sent again
        follower.take(1.0, [frames.encode_end(End(7, 1, 0, 9))])
        assert (follower.missed, follower.ended) == (5, True)
    follower.take(1.0, [frames.encode_end(End(7, 1, 0, 2))])  # a new incarnation was stopped before it had made all again
    assert follower.missed == 5


def test_an_end_of_a_later_numbering_counts_all_of_it_as_missed() -> None:
    follower = Follower()
    follower.take(1.0, data(1, b"a", b"b"))
    follower.take(1.0, [frames.encode_end(End(7, 1, 0, 4, more=True))])
    assert (follower.missed, follower.restarts, follower.ended) == (2, 0, False)
    follower.take(1.0, [frames.encode_end(End(7, 1, 1, 3))])
    assert (follower.missed, follower.restarts, follower.ended) == (5, 1, True)


def test_a_producer_that_begins_again_has_not_ended() -> None:
    follower = Follower()
    follower.take(1.0, data(1, b"a"))
    follower.take(1.0, [frames.encode_end(End(7, 1, 0, 1))])
    follower.take(1.0, data(1, b"a"))
    assert not follower.ended


@pytest.mark.parametrize("step_s", [3600.0, -3600.0, 25 * 86400.0, -1.7e9, 5.0, -5.0])
def test_times_of_a_pipe_do_not_step_when_a_clock_is_set(step_s: float) -> None:
    """Blocks each 10 ms; after the hundredth the producer's clock is another one."""
    timeline = tapped.Timeline(1.7e9, 50.0)
    times = []
    for number in range(200):
        now = 50.0 + 0.01 * number
        stamp = 1.7e9 + 0.01 * number + (step_s if number >= 100 else 0.0)
        times.append(timeline.at(1, stamp, now + 0.1))
    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert min(gaps) >= 0.0
    assert max(gaps) <= (0.2 if abs(step_s) > tapped.LATE_S else 5.1)
    assert times[0] == 1.7e9


@pytest.mark.parametrize("stamp", [math.nan, math.inf, -math.inf])
def test_a_stamp_that_is_not_a_time_becomes_the_time_of_arrival(stamp: float) -> None:
    timeline = tapped.Timeline(1.7e9, 50.0)
    assert timeline.at(1, stamp, 51.0) == 1.7e9 + 1.0
    assert timeline.at(1, 1.7e9 + 2.0, 52.0) == 1.7e9 + 2.0


def test_a_producer_without_a_clock_is_moved_to_ours() -> None:
    timeline = tapped.Timeline(1.7e9, 0.0)
    assert [timeline.at(1, stamp, stamp) for stamp in (1.0, 1.5, 2.0)] == [1.7e9 + 1.0, 1.7e9 + 1.5, 1.7e9 + 2.0]
