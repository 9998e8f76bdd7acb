"""An output alone: blocks, messages and time go in, messages come out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fission.protocol import frames
from fission.protocol.dropping import DroppingOutput
from fission.protocol.endpoint_effects import SendData
from fission.protocol.frames import Buffer
from fission.protocol.link_messages import CLOSED, Data, End, Message, Open, Release, Starved
from fission.protocol.output import Output
from fission.protocol.pacing import BEHIND_BLOCKS, HELD_AT_MOST_S, HELD_BEHIND_S, HOLD_S
from fission.protocol.window import SendWindow
from tests.protocol.caught import assert_caught


def window(blocks: int = 8) -> SendWindow[list[Buffer]]:
    return SendWindow(blocks, 1 << 20)


def output(blocks: int = 8) -> Output:
    made = Output(7, 1, window(blocks))
    made.open()
    made.effects.clear()
    return made


def out(one: Output, now: float = 0.0) -> list[Message]:
    """What is sent now."""
    messages = [frames.decode(effect.message) for effect in one.effects if isinstance(effect, SendData)]
    one.effects.clear()
    one.after_send(now)
    return messages


def sqns(messages: list[Message]) -> list[range]:
    return [range(data.sqn, data.sqn + len(data.payloads)) for data in messages if isinstance(data, Data)]


def test_a_link_opens_with_the_mark() -> None:
    one = Output(7, 3, window())
    one.open(2)
    assert out(one) == [Open(7, 3, 2, 0)]


def test_a_block_after_a_pause_is_sent_at_once_and_its_followers_are_held() -> None:
    one = output()
    assert one.add(b"1", 0, 10.0) == 0.0
    assert sqns(out(one, 10.0)) == [range(1, 2)]
    assert one.add(b"2", 0, 10.0 + HOLD_S / 2) == 10.0 + HOLD_S / 2 + HELD_AT_MOST_S
    assert one.add(b"3", 0, 10.0 + HOLD_S / 2) == 0.0
    assert out(one) == []
    due = one.tick(10.0 + HOLD_S)
    assert one.tick(due) == float("inf")
    assert sqns(out(one)) == [range(2, 4)]


def test_blocks_are_held_longer_while_the_consumer_lags() -> None:
    """The control thread of a busy job is not woken for each message; a consumer that has caught up waits for nothing."""
    one = output(2 * BEHIND_BLOCKS)
    for number in range(BEHIND_BLOCKS):
        one.add(b"%d" % number, 0, float(number))
        out(one, float(number))
    assert one.add(b"held", 0, 1e6) == 1e6 + HELD_BEHIND_S
    assert out(one, 1e6) == []
    assert one.tick(1e6 + HELD_AT_MOST_S) == 1e6 + HELD_BEHIND_S
    one.on_release(Release(7, 1, 0, BEHIND_BLOCKS, BEHIND_BLOCKS))
    assert one.tick(1e6 + HELD_AT_MOST_S) == float("inf")
    assert sqns(out(one)) == [range(BEHIND_BLOCKS + 1, BEHIND_BLOCKS + 2)]


def test_a_new_incarnation_of_the_consumer_gets_everything_that_is_kept() -> None:
    one = output()
    for number in range(1, 5):
        one.add(b"%d" % number, 0, float(number))
    out(one)
    one.on_release(Release(7, 1, 0, 2, 2))
    assert one.wire(2) == 2
    opening, *blocks = out(one)
    assert opening == Open(7, 1, 0, 2)
    assert sqns(blocks) == [range(3, 4), range(4, 5)]
    one.on_release(Release(7, 1, 0, 4, 4))  # from the incarnation before
    assert one.queue == 2
    one.on_release(Release(7, 2, 0, 4, 4))
    assert one.all_released


def test_an_older_generation_is_kept_until_it_is_released() -> None:
    one = output()
    one.add(b"old", 0, 1.0)
    one.restart(1, window())
    one.add(b"new", 0, 2.0)
    assert not one.released_before(1)
    assert one.wire(2) == 2
    one.on_release(Release(7, 2, 0, CLOSED, 0))
    assert one.released_before(1)
    assert not one.released_before(2)  # numbering has not come so far
    assert one.queue == 1


def test_a_full_window_blocks_until_a_release_or_a_grant() -> None:
    one = output(2)
    for number in range(2):
        one.add(b"%d" % number, 0, float(number))
    assert not one.may_continue
    one.on_starved(Starved(7, 0, 0, 2))
    assert one.may_continue
    one.lift(1)
    assert one.unlimited


def test_an_end_is_sent_once_and_names_the_last_block() -> None:
    one = output()
    one.add(b"1", 0, 1.0)
    one.end()
    one.end()
    *_, end = out(one)
    assert end == End(7, 1, 0, 1, final=False, more=False)
    assert not one.all_closed
    one.on_release(Release(7, 1, 0, CLOSED, CLOSED))
    assert one.all_closed
    assert one.closed
    one.add(b"2", 0, 2.0)
    assert out(one) == []


def test_with_max_queue_the_oldest_that_waits_is_dropped() -> None:
    one = DroppingOutput(7, 1, window(64), max_queue=2, needed=1)
    one.open()
    out(one)
    for number in range(1, 7):
        one.add(b"%d" % number, 0, 0.0)
    assert one.may_continue
    assert sqns(out(one)) == [range(1, 2), range(2, 3)]
    assert one.dropped == 2
    one.on_release(Release(7, 1, 0, 2, 2))
    assert sqns(out(one)) == [range(5, 6)]  # those that were dropped count as in flight until something after them is taken
    one.on_release(Release(7, 1, 0, 2, 5))
    assert sqns(out(one)) == [range(6, 7)]


#: (what, number): a block after so many tenths of HOLD_S, a release of so many blocks, a flush, or the end of the consumer.
STEPS = st.lists(st.tuples(st.sampled_from(["put"] * 6 + ["release", "flush", "close"]), st.integers(0, 25)), max_size=40)


def played(one: Output, steps: list[tuple[str, int]], *, short: bool) -> list[tuple[object, ...]]:
    """What is sent in each step, and what the job sees then; ``short``: blocks are put as `OutputShell` puts small ones."""
    now, seen = 1.0, []
    for count, (what, number) in enumerate(steps):
        messages: list[Message] = []
        if what == "put":
            now += number * HOLD_S / 10
            if short and one.alone(now):
                messages = [frames.decode(one.send_alone(b"%d" % count))]
                one.sent_alone(now)
            else:
                one.add(b"%d" % count, 0, now)
        elif what == "release":
            one.on_release(Release(7, 1, 0, min(one.window.next - 1, one.window.released + number), 0))
        elif what == "flush":
            one.flush()
        elif number > 22:
            one.on_release(Release(7, 1, 0, CLOSED, CLOSED))
        messages += out(one, now)
        seen.append((messages, one.allow, one.behind, one.last, one.queue, one.hold_until, one.window.used))
    return seen


def check_short_way(make: type[Output], steps: list[tuple[str, int]]) -> None:
    def fresh(kind: type[Output]) -> Output:
        made = kind(7, 1, SendWindow(BEHIND_BLOCKS * 2, 40))  # a consumer lags from 10 bytes on
        made.open()
        made.effects.clear()
        return made

    assert played(fresh(make), steps, short=True) == played(fresh(Output), steps, short=False)


@given(STEPS)
def test_a_block_that_is_sent_alone_takes_a_short_way_to_the_same_end(steps: list[tuple[str, int]]) -> None:
    check_short_way(Output, steps)


class Overtakes(Output):
    """Sends a block before those that are held back."""

    def alone(self, now: float) -> bool:
        return not self.closed


class Hurries(Output):
    """Sends each block at once on a busy link too."""

    def alone(self, now: float) -> bool:
        return not (self.pending or self.closed or self.behind)


class IgnoresLag(Output):
    """Sends each block alone to a consumer that lags."""

    def alone(self, now: float) -> bool:
        return not (self.pending or self.closed) and now >= self.hold_until


class SendsOn(Output):
    """Numbers and keeps blocks for a consumer that needs none."""

    def alone(self, now: float) -> bool:
        return not self.pending and now >= self.hold_until and not self.behind


class Uncounted(Output):
    """Does not keep what it sends alone."""

    def send_alone(self, payload: bytes) -> list[Buffer]:
        message = super().send_alone(payload)
        self.window.release(self.window.next - 1)
        return message


class NeverBusy(Output):
    """Forgets that the link is busy after a block alone."""

    def sent_alone(self, now: float) -> None:
        pass


@pytest.mark.parametrize("broken", [Overtakes, Hurries, IgnoresLag, SendsOn, Uncounted, NeverBusy], ids=lambda kind: kind.__name__)
def test_a_broken_short_way_is_caught(broken: type[Output]) -> None:
    assert_caught(lambda steps: check_short_way(broken, steps), STEPS)
