"""The guarantees of a job's pipes over any `Links`.

They cover windows, coalescing, ends, drops, heads, large blocks and circles. Subclass the suites
with a fixture ``place`` that returns a `Place`. In `LineConformance` the test itself plays the
loops and control threads of a producer and a consumer, step by step; networks.py has whole jobs in
their own threads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

import pytest

from fission.ports import Links
from fission.protocol import frames
from fission.protocol.endpoint_spec import OutputSpec
from fission.protocol.frames import Buffer
from fission.protocol.inputs import InputCounts, InputSpec
from fission.protocol.link_messages import CLOSED, Data, Message, Release
from fission.protocol.optional import OptionalSpec
from fission.protocol.pacing import COALESCE_BLOCKS, COALESCE_BYTES, HELD_AT_MOST_S, HOLD_S
from tests.conformance.places import DEADLINE_S, Place, Task
from tests.one_pipe import Consumer, Producer
from tests.waiting import eventually

CORRUPTED = 0x80
KIB = 1 << 10


class Spy:
    """Links that record the data messages sent through them.

    Attributes:
        sent: the messages, decoded.
        on_send: called with each of them before it is sent.
    """

    def __init__(self, links: Links) -> None:
        self._links = links
        self.sent: list[Message] = []
        self.on_send: Callable[[Message], None] = lambda message: None

    def send(self, pipe: int, message_frames: Sequence[Buffer]) -> None:
        message = frames.decode(message_frames)
        self.on_send(message)
        self.sent.append(message)
        self._links.send(pipe, message_frames)

    def receive(self, *, wait: bool = True) -> list[Buffer] | None:
        return self._links.receive(wait=wait)

    def wake(self) -> None:
        self._links.wake()

    def answer(self, pipe: int, frame: Buffer) -> None:
        self._links.answer(pipe, frame)

    def control(self, timeout: float | None) -> list[Buffer] | None:
        return self._links.control(timeout)

    def wake_control(self) -> None:
        self._links.wake_control()

    @property
    def addresses(self) -> dict[str, str]:
        return {}

    def redirect(self, pipe: int, address: str) -> None:
        self._links.redirect(pipe, address)

    def close(self, linger: float) -> None:
        self._links.close(linger)

    @property
    def blocks(self) -> list[int]:
        """Return the number of blocks in each data message."""
        return [len(message.payloads) for message in self.sent if isinstance(message, Data)]


class Line:
    """A producer's output and a consumer's inputs, joined by the links of a place.

    The test takes each step.

    Attributes:
        got: taken by the consumer: (number, payload or list of payloads, head or list of heads).
        armed: times at which the producer's control thread was asked to check.
        most: maximum number of unreleased blocks when a message was sent.
    """

    def __init__(
        self,
        place: Place,
        *,
        blocks: int = 8,
        size: int = 1 << 20,
        spec: InputSpec | None = None,
        dropping: int = 0,
        optional: OptionalSpec | None = None,
        clock: Callable[[], float] = perf_counter,
    ) -> None:
        data, control = place.address(), place.address()
        spec = spec or InputSpec(1, max_queue=dropping)
        self.spy = Spy(place.links(control=control, outputs={1: data}))
        self.spy.on_send = self._on_send
        self.links = place.links(data=data, inputs={1: control})
        self.most = 0
        output = OutputSpec(1, block_count=spec.block_count, max_queue=dropping)
        self.output = Producer(self.spy, output, blocks=blocks, size=size, clock=clock)
        self.armed = self.output.armed
        specs, optionals = ([], [optional]) if optional else ([spec], [])
        self.inputs = Consumer(self.links, specs, optionals, blocks=blocks, size=size)
        self.got: list[tuple[int, Any, Any]] = []
        self.grouped = spec.block_count > 1
        self.output.open()
        self.feed()

    def _on_send(self, message: Message) -> None:
        if isinstance(message, Data):
            last = message.sqn + len(message.payloads) - 1
            self.most = max(self.most, last - self.output.machine.released)

    def feed(self) -> None:
        """Let the consumer wait for the next message and take it."""
        message = self.links.receive()
        assert message is not None, f"no message within {DEADLINE_S:g} s"
        self.inputs.feed(message)

    def take(self) -> None:
        """Let the consumer compute the complete compute blocks."""
        aligner = self.inputs.aligner
        assert aligner is not None
        if aligner.beginning is not None:
            aligner.begin(aligner.beginning)
        while (batch := self.inputs.take()) is not None:
            none = [[0] * len(entry) if self.grouped else 0 for entry in batch.columns[0]]
            heads = batch.heads[0] if batch.heads else none
            self.got += zip(batch.numbers, batch.columns[0], heads, strict=True)
            self.inputs.rule.done = batch.numbers[-1]

    def receive(self, count: int) -> list[Any]:
        """Feed the consumer until it has this many compute blocks in all; return their payloads."""
        self.take()
        while len(self.got) < count:
            self.feed()
            self.take()
        return [payload for _, payload, _ in self.got]

    def receive_all(self) -> list[Any]:
        """Do the same up to the end of the pipe."""
        self.take()
        while not self.inputs.finished:
            self.feed()
            self.take()
        return [payload for _, payload, _ in self.got]

    def release(self, upto: int) -> None:
        """Release blocks as the consumer, and let the producer receive it."""
        self.inputs.release(upto, 0, force=True)
        self.serve()

    def serve(self) -> None:
        """Let the producer's control thread wait for one message and take it."""
        message = self.spy.control(DEADLINE_S)
        assert message is not None, f"no release within {DEADLINE_S:g} s"
        answer = frames.decode(message)
        assert isinstance(answer, Release)
        self.output.on_release(answer)

    def serve_until(self, task: Task[Any]) -> None:
        """Run the control threads until the producer's task has ended, then send what is held back.

        The consumer takes everything in between.
        """
        while task.running:
            message = self.links.receive(wait=False)
            if message is not None:
                self.inputs.feed(message)
                self.take()
            self.inputs.release(self.inputs.rule.done, 0, force=True)
            answer = self.spy.control(0.001)
            if answer is not None:
                release = frames.decode(answer)
                assert isinstance(release, Release)
                self.output.on_release(release)
            self.output.tick(float("inf"))
        task.result()
        self.output.flush()


class Clock:
    """The producer's time, which the test advances."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += seconds


def payload(number: int) -> bytes:
    return b"%d" % number


def payloads(first: int, last: int) -> list[bytes]:
    return [payload(number) for number in range(first, last + 1)]


class LineConformance:
    """One pipe, step by step."""

    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    # windows

    def put_in_thread(self, place: Place, line: Line, count: int, block: Callable[[int], Any] = payload) -> tuple[Task[None], list[int]]:
        """Put blocks 1 to ``count`` as fast as possible, in a thread.

        Returns:
            The thread, and the numbers of the blocks whose put has returned.
        """
        returned: list[int] = []

        def put_all() -> None:
            for number in range(1, count + 1):
                line.output.put(block(number))
                returned.append(number)

        return place.start(put_all), returned

    def test_a_producer_waits_exactly_when_its_window_is_full(self, place: Place) -> None:
        line = Line(place, blocks=8)
        task, returned = self.put_in_thread(place, line, 20)
        eventually(lambda: line.output.machine.sent == 8, DEADLINE_S, "a full window")
        # the put that fills the window waits
        assert (len(returned), line.output.machine.queue) == (7, 8)
        assert line.receive(8) == payloads(1, 8)
        for released, sent in ((3, 11), (4, 12), (8, 16)):
            line.release(released)
            eventually(lambda sent=sent: line.output.machine.sent == sent, DEADLINE_S, f"{sent} blocks")
            assert len(returned) == sent - 1
            line.receive(sent)
        line.release(16)
        task.result()
        line.output.flush()
        assert line.receive(20) == payloads(1, 20)
        assert line.most == 8
        assert line.output.machine.blocked_s > 0

    def test_a_release_of_nothing_new_lets_no_producer_continue(self, place: Place) -> None:
        line = Line(place, blocks=4)
        task, returned = self.put_in_thread(place, line, 6)
        eventually(lambda: line.output.machine.sent == 4, DEADLINE_S, "a full window")
        line.output.on_release(Release(1, 1, 0, 0, 3))
        line.output.on_release(Release(1, 1, 1, 4, 4))  # of another generation
        assert line.output.machine.taken == 3
        assert (len(returned), line.output.machine.sent, task.running) == (3, 4, True)
        line.receive(4)
        line.release(4)
        task.result()
        assert line.most == 4

    def test_a_window_is_full_of_bytes_too(self, place: Place) -> None:
        line = Line(place, blocks=100, size=3 * COALESCE_BYTES - 1)
        task, returned = self.put_in_thread(place, line, 9, lambda number: payload(number).ljust(COALESCE_BYTES))
        eventually(lambda: line.output.machine.sent == 3, DEADLINE_S, "a full window")
        assert (len(returned), line.output.machine.queue) == (2, 3)
        line.serve_until(task)
        assert len(line.receive(9)) == 9

    def test_a_window_holds_one_compute_block_of_its_consumer(self, place: Place) -> None:
        line = Line(place, blocks=2, size=10, spec=InputSpec(1, block_count=5))
        task, returned = self.put_in_thread(place, line, 23)
        eventually(lambda: line.output.machine.sent == 10, DEADLINE_S, "twice what is needed")
        assert len(returned) == 9
        line.receive(2)
        assert [got for _, got, _ in line.got] == [payloads(1, 5), payloads(6, 10)]
        line.serve_until(task)

    def test_big_and_small_blocks_share_a_window(self, place: Place, clock: Clock) -> None:
        line = Line(place, clock=clock, blocks=8)
        for number in range(1, 5):
            line.output.put([payload(number), b"x"])
        filling = place.start(lambda: [line.output.put(payload(number)) for number in range(5, 9)])
        eventually(lambda: line.output.machine.queue == 8, DEADLINE_S, "a full window")
        assert line.output.machine.sent == 8
        line.receive(8)
        line.release(8)
        filling.result()
        assert line.most == 8

    def test_a_busy_line_loses_nothing_and_keeps_its_order(self, place: Place) -> None:
        line = Line(place, blocks=50)
        count = 3000
        task, _ = self.put_in_thread(place, line, count)
        line.serve_until(task)
        assert line.receive(count) == payloads(1, count)
        assert [number for number, _, _ in line.got] == list(range(1, count + 1))
        assert line.most <= 50
        assert line.inputs.machine.counts()[1] == InputCounts(received=count)

    # idle and busy

    def test_an_idle_link_sends_at_once(self, place: Place, clock: Clock) -> None:
        line = Line(place, clock=clock)
        for number in range(1, 6):
            clock.forward(2 * HOLD_S)
            line.output.put(payload(number))
            assert line.spy.blocks == [1] * number
        assert line.armed == []

    def test_a_busy_link_sends_many_blocks_at_once(self, place: Place, clock: Clock) -> None:
        line = Line(place, clock=clock, blocks=4096)
        line.output.put(payload(1))
        held = clock.now
        for number in range(2, 12):
            line.output.put(payload(number))
        assert line.spy.blocks == [1]
        assert line.armed == [held + HELD_AT_MOST_S]  # the control thread is woken once
        assert line.output.tick(held + HELD_AT_MOST_S / 2) == held + HELD_AT_MOST_S
        assert line.spy.blocks == [1]
        assert line.output.tick(held + HELD_AT_MOST_S) == float("inf")
        assert line.spy.blocks == [1, 10]
        assert line.output.tick(held + HELD_AT_MOST_S) == float("inf")
        assert line.receive(11) == payloads(1, 11)

    def test_a_block_after_a_pause_takes_held_back_ones_along(self, place: Place, clock: Clock) -> None:
        line = Line(place, clock=clock)
        line.output.put(payload(1))
        line.output.put(payload(2))
        assert line.spy.blocks == [1]
        clock.forward(2 * HOLD_S)
        line.output.put(payload(3))
        assert line.spy.blocks == [1, 2]

    def test_blocks_held_back_go_out_with_a_flush(self, place: Place, clock: Clock) -> None:
        line = Line(place, clock=clock)
        for number in (1, 2, 3):
            line.output.put(payload(number))
        line.output.flush()
        line.output.flush()
        assert line.spy.blocks == [1, 2]

    def test_a_message_has_its_limits(self, place: Place, clock: Clock) -> None:
        line = Line(place, clock=clock, blocks=4096)
        line.output.put(payload(1))
        for number in range(2, 2 + 2 * COALESCE_BLOCKS):
            line.output.put(payload(number))
        assert line.spy.blocks == [1, COALESCE_BLOCKS, COALESCE_BLOCKS]
        quarter = bytes(COALESCE_BYTES // 4)
        for _ in range(8):
            line.output.put(quarter)
        assert line.spy.blocks[3:] == [4, 4]

    def test_the_last_room_is_used_at_once(self, place: Place, clock: Clock) -> None:
        """What fills the window is never held back: the producer waits for its release."""
        line = Line(place, clock=clock, blocks=4)
        task, _ = self.put_in_thread(place, line, 4)
        eventually(lambda: line.spy.blocks == [1, 3], DEADLINE_S, "all four blocks")
        line.receive(4)
        line.release(4)
        task.result()

    # parts of a block

    def test_heads_travel_with_their_blocks(self, place: Place, clock: Clock) -> None:
        line = Line(place, clock=clock, blocks=4096)
        heads = [0, 0, 5, 0, 0x20, 1, 0]
        for number, head in enumerate(heads, start=1):
            line.output.put(payload(number), head)
        line.output.flush()
        assert line.spy.blocks == [1, 6]
        line.receive(7)
        assert [head for _, _, head in line.got] == heads
        clock.forward(2 * HOLD_S)
        line.output.put([b"big", b"buffer"], 7)
        line.output.put(payload(9))
        line.output.flush()
        line.receive(9)
        assert [head for _, _, head in line.got[7:]] == [7, 0]

    def test_large_blocks_keep_their_order(self, place: Place, clock: Clock) -> None:
        line = Line(place, clock=clock, blocks=100, size=1 << 30)
        sizes = [0, 1, 64 * KIB, 3 << 20]
        line.output.put(payload(1))
        for size in sizes:
            line.output.put(b"small")  # held back, and sent before the large block
            line.output.put([b"big", b"x" * size, b"y" * size])
        found = line.receive(1 + 2 * len(sizes))
        assert [one if type(one) is bytes else [bytes(part) for part in one] for one in found] == [
            payload(1),
            *(one for size in sizes for one in (b"small", [b"big", b"x" * size, b"y" * size])),
        ]

    def test_numbers_that_do_not_exist_are_skipped(self, place: Place, clock: Clock) -> None:
        line = Line(place, clock=clock)
        line.output.put(payload(1))
        line.output.put(payload(2))
        line.output.seek(5)
        line.output.put(payload(5))
        line.output.seek(6)
        line.output.put(payload(6))
        line.output.flush()
        line.receive(6)
        assert line.got == [(1, b"1", 0), (2, b"2", 0), (3, b"2", CORRUPTED), (4, b"2", CORRUPTED), (5, b"5", 0), (6, b"6", 0)]

    # the end

    def test_the_end_is_sent_and_answered(self, place: Place) -> None:
        line = Line(place)
        for number in (1, 2, 3):
            line.output.put(payload(number))
        line.output.end()
        waiting = place.start(line.output.wait_closed)
        assert line.receive_all() == payloads(1, 3)
        line.release(3)
        line.output.wait_released()
        assert waiting.running
        assert not line.output.closed
        line.inputs.close()
        line.inputs.close()
        line.serve()
        waiting.result()
        assert line.output.closed
        assert line.output.machine.released == CLOSED
        assert line.spy.control(0) is None

    def test_an_end_without_a_block(self, place: Place) -> None:
        line = Line(place)
        line.output.end()
        assert line.receive_all() == []

    def test_nothing_goes_to_a_consumer_that_needs_nothing(self, place: Place) -> None:
        line = Line(place, blocks=2)
        line.output.put(payload(1))
        line.inputs.close()
        line.serve()
        for number in range(10):
            line.output.put(payload(number))
            line.output.put([b"big", b"buffer"])
        line.output.flush()
        line.output.end()
        line.output.wait_released()
        line.output.wait_closed()
        assert line.spy.blocks == [1]
        assert line.output.machine.sent == 1

    def test_a_producer_that_waits_for_room_continues_when_no_consumer_needs_its_blocks(self, place: Place) -> None:
        line = Line(place, blocks=2)
        task, _ = self.put_in_thread(place, line, 10)
        eventually(lambda: line.output.machine.sent == 2, DEADLINE_S, "a full window")
        line.inputs.close()
        line.serve()
        task.result()

    # MAX_QUEUE

    def test_a_producer_never_waits_for_a_consumer_with_max_queue(self, place: Place) -> None:
        line = Line(place, blocks=2, dropping=3)
        task, returned = self.put_in_thread(place, line, 1000)
        task.result()
        assert len(returned) == line.output.machine.sent == 1000
        # three are sent and unreleased, three wait here
        assert line.spy.blocks == [1, 1, 1]
        assert line.output.machine.dropped == 994
        assert line.output.machine.queue == 6
        line.output.end()
        assert line.output.machine.dropped == 994
        line.receive_all()
        expected = [(number, payload(number), 0) for number in (1, 2, 3)]
        expected += [(number, b"3", CORRUPTED) for number in range(4, 998)]
        expected += [(number, payload(number), 0) for number in (998, 999, 1000)]
        assert line.got == expected
        assert line.inputs.machine.counts()[1] == InputCounts(received=6, lost=994, dummies=994)

    def test_taken_blocks_make_room_for_waiting_ones(self, place: Place) -> None:
        line = Line(place, dropping=2, spec=InputSpec(1, max_queue=2, dummy=lambda: b"dummy"))
        for number in range(1, 7):
            line.output.put(payload(number))
        assert line.spy.blocks == [1, 1]
        line.receive(1)
        line.serve()
        line.receive(2)
        while line.output.machine.taken < 2:
            line.serve()
        # two that waited are sent now; 3 and 4 were dropped, and nothing was released in between
        assert line.output.machine.released == 0
        while len(line.got) < 6:
            line.receive(len(line.got) + 1)
            while line.output.machine.taken < len(line.got):
                line.serve()
        assert line.got == [
            (1, b"1", 0),
            (2, b"2", 0),
            (3, b"dummy", CORRUPTED),
            (4, b"dummy", CORRUPTED),
            (5, b"5", 0),
            (6, b"6", 0),
        ]

    def test_a_dropping_producer_keeps_numbers_heads_and_big_blocks(self, place: Place) -> None:
        line = Line(place, dropping=4)
        line.output.put(payload(1), 9)
        line.output.seek(3)
        line.output.put([b"big", b"buffer"], 8)
        line.output.seek(5)
        line.output.end()
        line.receive_all()
        numbers = [(number, head) for number, _, head in line.got]
        assert numbers == [(1, 9), (2, CORRUPTED), (3, 8), (4, CORRUPTED)]
        assert [bytes(part) for part in line.got[2][1]] == [b"big", b"buffer"]

    def test_whole_compute_blocks_get_through_whatever_max_queue_is(self, place: Place) -> None:
        line = Line(place, dropping=1, spec=InputSpec(1, block_count=4, max_queue=1))
        for number in range(1, 101):
            line.output.put(payload(number))
        line.output.end()
        line.receive_all()
        assert line.got[0][1] == payloads(1, 4)
        assert line.got[-1] == (25, payloads(97, 100), [0] * 4)
        counts = line.inputs.machine.counts()[1]
        assert counts.received + counts.dummies - counts.dropped == 100

    # ASYNC inputs

    def test_an_async_input_releases_taken_blocks(self, place: Place) -> None:
        line = Line(place, optional=OptionalSpec(1))
        for number in (1, 2, 3):
            line.output.put(payload(number))
        line.output.flush()
        one = line.inputs.optional[1]
        while one.waiting < 3:
            line.feed()
        assert not line.inputs.pending_release(0, 0)
        one.take()
        assert not line.inputs.pending_release(0, 0)  # a new incarnation of the job needs the value that it retains, too
        one.take()
        line.release(0)
        assert line.output.machine.released == 1

    def test_blocks_that_are_no_blocks_are_counted_and_dropped(self, place: Place) -> None:
        line = Line(place)
        for bad in ([b""], [b"garbage"], [frames.encode_data(2, 1, 0, 1, [b""], None)], [frames.encode_release(Release(1, 1, 0, 1, 1))]):
            line.inputs.feed(bad)
        assert line.inputs.malformed == 4
        line.output.put(payload(1))
        assert line.receive(1) == [b"1"]
