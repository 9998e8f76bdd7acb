"""Blocks with buffers in shared memory: they travel together, as small ones do, and give their memory back."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fission.adapters.shared_memory.arena import Arena
from fission.adapters.shared_memory.segments import run_prefix, sweep
from fission.adapters.shared_memory.views import Views
from fission.protocol import frames
from fission.protocol import output as output_module
from fission.protocol.endpoint_spec import OutputSpec
from fission.protocol.frames import Buffer
from fission.protocol.inputs import InputSpec
from fission.protocol.large_blocks import Leased, big_message
from fission.protocol.link_messages import Data, Release
from fission.protocol.output import Output
from fission.protocol.pacing import BEHIND_SHARE, COALESCE_BYTES, COALESCE_SHARE, HOLD_S
from fission.runtime.watch import Tap
from tests.one_pipe import Consumer, Producer

KIB = 1 << 10
#: A window in which this many blocks of 64 KiB are sent together.
TOGETHER = 4
WINDOW_BYTES = TOGETHER * COALESCE_SHARE * 64 * KIB


class Wire:
    """The links of a producer and its consumer at once: what is sent waits in a list until it is fed."""

    def __init__(self) -> None:
        self.sent: list[list[Buffer]] = []

    def send(self, pipe: int, message: list[Buffer]) -> None:
        self.sent.append(message)

    def redirect(self, pipe: int, address: str) -> None:
        self.sent.clear()  # what was under way to the old incarnation is gone

    def answer(self, pipe: int, frame: Buffer) -> None:
        """Releases are made by the tests."""


class Line:
    """An output with an arena, and incarnations of its consumer.

    Attributes:
        got: (number, payload, buffers, head) of all that came, in order.
    """

    def __init__(self) -> None:
        self.now = 0.0  # nothing takes time: the link is busy
        self.prefix = run_prefix()
        self.arena = Arena(self.prefix, 1, 1, [1])
        self.wire = Wire()
        self.output = Producer(self.wire, OutputSpec(1), size=WINDOW_BYTES, clock=lambda: self.now)
        self.output.open()
        self.got: list[tuple[int, bytes, list[bytes], int]] = []
        self.incarnation = 0
        self.new_incarnation()

    def new_incarnation(self) -> None:
        self.incarnation += 1
        # views end with the blocks taken from them, none of which is kept here
        viewer = Views(self.incarnation)
        self.inputs = Consumer(self.wire, [InputSpec(1)], incarnation=self.incarnation, blocks=4096, size=WINDOW_BYTES, viewer=viewer)

    def put(self, *blocks: Any, heads: dict[int, int] | None = None) -> None:
        """Put blocks: a text is a small one, a number is the length of a buffer in shared memory, a list is sent unchanged."""
        for index, block in enumerate(blocks):
            self.output.put(self.payload(block), (heads or {}).get(index, 0))

    def payload(self, block: Any) -> Any:
        if isinstance(block, int):
            lease = self.arena.lend(pattern(block))
            assert lease is not None
            return [b"%d" % block, lease]
        return block.encode() if isinstance(block, str) else block

    def arrive(self) -> list[int]:
        """What was sent arrives; return of each message how many blocks it has."""
        counts = []
        for message in self.wire.sent:
            decoded = frames.decode(message)
            if isinstance(decoded, Data):
                counts.append(len(decoded.payloads))
            self.inputs.feed(message)
        self.wire.sent.clear()
        aligner = self.inputs.aligner
        assert aligner is not None
        if aligner.beginning is not None:
            aligner.begin(aligner.beginning)
        while (batch := self.inputs.take()) is not None:
            heads = batch.heads[0] if batch.heads else [0] * len(batch.numbers)
            for number, payload, head in zip(batch.numbers, batch.columns[0], heads, strict=True):
                parts = payload if isinstance(payload, list) else [payload]
                self.got.append((number, bytes(parts[0]), [bytes(part) for part in parts[1:]], head))
        return counts

    def release(self, upto: int) -> None:
        self.output.on_release(Release(1, self.incarnation, 0, upto, upto))

    def close(self) -> None:
        self.output.do(self.output.machine.close)
        self.arena.close()
        sweep(self.prefix)


def pattern(length: int) -> bytes:
    return b"%7d" % length * (length // 7) + b"." * (length % 7)


def as_got(*blocks: Any) -> list[tuple[bytes, list[bytes]]]:
    found = []
    for block in blocks:
        if isinstance(block, int):
            found.append((b"%d" % block, [pattern(block)]))
        else:
            found.append((block.encode(), []) if isinstance(block, str) else (block[0], block[1:]))
    return found


@pytest.fixture
def line() -> Iterator[Line]:
    line = Line()
    yield line
    line.close()


def test_a_busy_link_sends_several_at_once(line: Line) -> None:
    blocks = [64 * KIB + number for number in range(1 + 2 * TOGETHER)]
    line.put(*blocks)
    assert line.arrive() == [1, TOGETHER, TOGETHER]
    assert [(payload, buffers) for _, payload, buffers, _ in line.got] == as_got(*blocks)
    assert [number for number, *_ in line.got] == list(range(1, len(blocks) + 1))


def test_blocks_that_come_slowly_are_sent_at_once(line: Line) -> None:
    for number in range(3):
        line.now += 2 * HOLD_S
        line.put(64 * KIB)
        assert line.arrive() == [1], number


def test_a_block_larger_than_its_share_of_the_window_travels_alone(line: Line) -> None:
    line.put(*[TOGETHER * 64 * KIB] * 3)
    assert line.arrive() == [1, 1, 1]


def test_a_link_with_many_waiting_bytes_counts_as_busy(line: Line) -> None:
    counts = []
    behind = WINDOW_BYTES // BEHIND_SHARE // (64 * KIB)
    for _ in range(behind + 2 * TOGETHER):
        line.now += 2 * HOLD_S
        line.put(64 * KIB)
        counts += line.arrive()
    assert counts == [1] * behind + [TOGETHER, TOGETHER]


kinds = st.one_of(
    st.sampled_from(["", "small"]),
    st.sampled_from([64 * KIB, 65 * KIB, 300 * KIB]),
    st.just([b"copied", b"x" * 64 * KIB]),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(kinds, st.sampled_from([0, 0, 5])), max_size=14), st.lists(st.integers(0, 14), max_size=3))
def test_all_kinds_keep_their_order_and_heads(blocks: list[tuple[Any, int]], flushes: list[int]) -> None:
    line = Line()
    try:
        for index, (block, head) in enumerate(blocks):
            line.put(block, heads={0: head})
            if index in flushes:
                line.output.flush()
            if index % 3 == 2:  # three of the largest fit into the window; a full one would wait without end
                line.output.flush()
                line.arrive()
                line.release(index + 1)
        line.output.flush()
        line.arrive()
        assert [(payload, buffers) for _, payload, buffers, _ in line.got] == as_got(*(block for block, _ in blocks))
        assert [head for *_, head in line.got] == [head for _, head in blocks]
    finally:
        line.close()


@pytest.mark.parametrize("near", [True, False])
def test_a_new_incarnation_gets_them_again_where_it_is(line: Line, near: bool) -> None:
    """Also from the middle of what travelled together, and on another machine, where there is no shared memory."""
    blocks = [64 * KIB + number for number in range(1 + 2 * TOGETHER)]
    line.put(*blocks, heads={3: 7})
    line.arrive()
    line.release(1 + TOGETHER // 2)
    line.got.clear()
    line.new_incarnation()
    assert line.output.wire("", 2, near=near) == 2 * TOGETHER
    kinds = [frames.decode(message) for message in line.wire.sent]
    assert all(isinstance(one.payloads[0][1], bytes | memoryview) != near for one in kinds if isinstance(one, Data))
    line.arrive()
    kept = blocks[1 + TOGETHER // 2 :]
    assert [(payload, buffers) for _, payload, buffers, _ in line.got] == as_got(*kept)
    assert [number for number, *_ in line.got] == list(range(2 + TOGETHER // 2, len(blocks) + 1))
    assert [head for *_, head in line.got] == [7 if number == 4 else 0 for number, *_ in line.got]


def test_memory_is_given_back_with_the_last_that_travelled_with_it(line: Line) -> None:
    line.put(*[64 * KIB] * (1 + TOGETHER))
    line.arrive()
    line.got.clear()
    line.new_incarnation()
    gc.collect()  # the old one is gone, with its views
    assert line.arena.slots == 1 + TOGETHER
    line.release(TOGETHER)
    line.put(64 * KIB)  # looks for memory that is free
    assert line.arena.slots == 1 + TOGETHER  # the first was given back, and the new one has come
    line.release(1 + TOGETHER)
    line.put(64 * KIB)
    assert line.arena.slots == 2


def test_a_viewer_gets_copies_of_all_blocks(line: Line) -> None:
    tap = Tap(1, 10 << 20, payload=True, share=1.0, arm=lambda moment: None)
    blocks = [64 * KIB + number for number in range(1 + TOGETHER)]
    line.put(*blocks, heads={2: 9})
    found: list[Any] = []
    for message in line.wire.sent:
        if isinstance(frames.decode(message), Data):
            tap._not_before = 0.0  # copies are rationed by the time they take; here all are wanted
            tap.saw(message)
    for _, message in tap.take():
        decoded = frames.decode(message)
        assert isinstance(decoded, Data)
        found += zip(decoded.payloads, decoded.heads or [0] * len(decoded.payloads), strict=True)
    assert [(bytes(payload), [bytes(part) for part in buffers]) for (payload, *buffers), _ in found] == as_got(*blocks)
    assert [head for _, head in found] == [0, 0, 9, 0, 0]


# -- broken on purpose ------------------------------------------------------------------------------------------------


def _without_heads(output: Output, blocks: list[Any], heads: list[int] | None) -> None:
    _as_it_is(output, blocks, None)


def _one_number(output: Output, blocks: list[Any], heads: list[int] | None) -> None:
    """Numbers a message like one block."""
    before = output.window.next
    _as_it_is(output, blocks, heads)
    output.window.next = before + 1


def _without_leases(place: Any, reader: int | None, blocks: list[list[Any]], heads: list[int] | None) -> Any:
    message, size = big_message(place, reader, blocks, heads)
    return list(message), size


_as_it_is = Output._send_in_runs

BROKEN = {
    "each travels alone": (Output, "_weight", lambda output, payload: COALESCE_BYTES, test_a_busy_link_sends_several_at_once, ()),
    "they have no weight": (Output, "_weight", lambda output, payload: 1, test_a_busy_link_sends_several_at_once, ()),
    "one number for all": (Output, "_send_in_runs", _one_number, test_a_busy_link_sends_several_at_once, ()),
    "no heads": (Output, "_send_in_runs", _without_heads, test_a_new_incarnation_gets_them_again_where_it_is, (True,)),
    "places for another machine": (
        Leased,
        "for_afar",
        lambda message: message,
        test_a_new_incarnation_gets_them_again_where_it_is,
        (False,),
    ),
    "memory is not kept": (output_module, "big_message", _without_leases, test_a_new_incarnation_gets_them_again_where_it_is, (False,)),
    "memory is never given back": (
        Arena,
        "release_for",
        lambda *_: None,
        test_memory_is_given_back_with_the_last_that_travelled_with_it,
        (),
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_variants_are_caught(line: Line, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    owner, method, broken, test, arguments = BROKEN[name]
    monkeypatch.setattr(owner, method, broken)
    with pytest.raises(AssertionError):
        test(line, *arguments)  # type: ignore[operator]
