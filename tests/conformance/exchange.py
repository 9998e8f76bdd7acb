"""What a job's pipes guarantee over any `Links`: windows, coalescing, ends, drops, heads, big blocks, circles.

Subclass the suites with a fixture ``place`` that gives a `Place`. In `LineConformance` the test itself plays the loops and control
threads of a producer and a consumer, one step after the other; in `NetworkConformance` whole jobs run, each in threads of its own.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest

from fission.core.base import BaseJob, collecting
from fission.core.jobs import PythonJob
from fission.core.pipes import BytesPipe, OptionalPicklePipe, PicklePipe
from fission.ports import JobBundle, Links, Wiring
from fission.protocol import frames
from fission.protocol.frames import CLOSED, Buffer, Data, Message, Release
from fission.protocol.inputs import InputCounts, InputSpec
from fission.protocol.optional import OptionalSpec
from fission.protocol.window import SendWindow
from fission.runtime import outlet as outlet_module
from fission.runtime import report
from fission.runtime.dropping import DroppingOutlet
from fission.runtime.exchange import Exchange
from fission.runtime.inlet import Inlets
from fission.runtime.job_process import LINGER_S
from fission.runtime.outlet import Outlet
from fission.runtime.pacing import COALESCE_BLOCKS, COALESCE_BYTES, HELD_AT_MOST_S, HOLD_S
from fission.runtime.python_host import PythonHost
from tests.conformance.places import DEADLINE_S, Place, Task
from tests.waiting import eventually

CORRUPTED = 0x80
KIB = 1 << 10


class Spy:
    """Links that remember the data messages which were sent through them.

    Attributes:
        sent: the messages, decoded.
        on_send: called with each of them before it goes.
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
        """How many blocks each data message had."""
        return [len(message.payloads) for message in self.sent if isinstance(message, Data)]


class Line:
    """A producer's outlet and a consumer's inlets, joined by the links of a place; the test takes each step.

    Attributes:
        got: what the consumer has taken: (number, payload or list of payloads, head or list of heads).
        armed: the moments at which the producer's control thread was asked to look.
        most: the most blocks that were unreleased when a message went out.
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
    ) -> None:
        data, control = place.address(), place.address()
        spec = spec or InputSpec(1, max_queue=dropping)
        self.spy = Spy(place.links(control=control, outputs={1: data}))
        self.spy.on_send = self._on_send
        self.links = place.links(data=data, inputs={1: control})
        self.armed: list[float] = []
        self.most = 0
        window: SendWindow[list[Buffer]] = SendWindow(blocks, size, needed=spec.block_count)
        if dropping:
            self.outlet: Outlet = DroppingOutlet(1, 1, self.spy, window, arm=self.armed.append, max_queue=dropping, needed=spec.block_count)
        else:
            self.outlet = Outlet(1, 1, self.spy, window, arm=self.armed.append)
        specs, optionals = ([], [optional]) if optional else ([spec], [])
        self.inlets = Inlets(specs, optionals, self.links, incarnation=1, head_size=1, window_blocks=blocks, window_bytes=size)
        self.got: list[tuple[int, Any, Any]] = []
        self.grouped = spec.block_count > 1
        self.outlet.open()
        self.feed()

    def _on_send(self, message: Message) -> None:
        if isinstance(message, Data):
            last = message.sqn + len(message.payloads) - 1
            self.most = max(self.most, last - self.outlet.released)

    def feed(self) -> None:
        """The consumer takes the next message; waits for it."""
        message = self.links.receive()
        assert message is not None, f"no message within {DEADLINE_S:g} s"
        self.inlets.feed(message)

    def take(self) -> None:
        """The consumer computes what is complete."""
        aligner = self.inlets.aligner
        assert aligner is not None
        if aligner.beginning is not None:
            aligner.begin(aligner.beginning)
        while (batch := self.inlets.take()) is not None:
            none = [[0] * len(entry) if self.grouped else 0 for entry in batch.columns[0]]
            heads = batch.heads[0] if batch.heads else none
            self.got += zip(batch.numbers, batch.columns[0], heads, strict=True)
            self.inlets.done = batch.numbers[-1]

    def receive(self, count: int) -> list[Any]:
        """The consumer feeds and computes until it has so many compute blocks in all; returns their payloads."""
        self.take()
        while len(self.got) < count:
            self.feed()
            self.take()
        return [payload for _, payload, _ in self.got]

    def receive_all(self) -> list[Any]:
        """The same to the end of the pipe."""
        self.take()
        while not self.inlets.finished:
            self.feed()
            self.take()
        return [payload for _, payload, _ in self.got]

    def release(self, upto: int) -> None:
        """The consumer releases, and the producer hears of it."""
        self.inlets.release(upto, 0, force=True)
        self.serve()

    def serve(self) -> None:
        """The producer's control thread takes one message; waits for it."""
        message = self.spy.control(DEADLINE_S)
        assert message is not None, f"no release within {DEADLINE_S:g} s"
        answer = frames.decode(message)
        assert isinstance(answer, Release)
        self.outlet.on_release(answer)

    def serve_until(self, task: Task[Any]) -> None:
        """The control threads until the producer's task has ended, while the consumer takes everything; then what is held goes out."""
        while task.running:
            message = self.links.receive(wait=False)
            if message is not None:
                self.inlets.feed(message)
                self.take()
            self.inlets.release(self.inlets.done, 0, force=True)
            answer = self.spy.control(0.001)
            if answer is not None:
                release = frames.decode(answer)
                assert isinstance(release, Release)
                self.outlet.on_release(release)
            self.outlet.tick(float("inf"))
        task.result()
        self.outlet.flush()


class Clock:
    """The producer's time, moved by the test."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(outlet_module, "perf_counter", lambda: self.now)

    def forward(self, seconds: float) -> None:
        self.now += seconds


def payload(number: int) -> bytes:
    return b"%d" % number


def payloads(first: int, last: int) -> list[bytes]:
    return [payload(number) for number in range(first, last + 1)]


class LineConformance:
    """One pipe, step by step."""

    @pytest.fixture
    def clock(self, monkeypatch: pytest.MonkeyPatch) -> Clock:
        return Clock(monkeypatch)

    # windows

    def put_in_thread(self, place: Place, line: Line, count: int, block: Callable[[int], Any] = payload) -> tuple[Task[None], list[int]]:
        """A producer that puts blocks 1 to ``count`` as fast as it may: (its thread, the numbers whose put has returned)."""
        returned: list[int] = []

        def put_all() -> None:
            for number in range(1, count + 1):
                line.outlet.put(block(number))
                returned.append(number)

        return place.start(put_all), returned

    def test_a_producer_waits_exactly_when_its_window_is_full(self, place: Place) -> None:
        line = Line(place, blocks=8)
        task, returned = self.put_in_thread(place, line, 20)
        eventually(lambda: line.outlet.sent == 8, DEADLINE_S, "a full window")
        # the put that fills the window is the one that waits
        assert (len(returned), line.outlet.queue) == (7, 8)
        assert line.receive(8) == payloads(1, 8)
        for released, sent in ((3, 11), (4, 12), (8, 16)):
            line.release(released)
            eventually(lambda sent=sent: line.outlet.sent == sent, DEADLINE_S, f"{sent} blocks")
            assert len(returned) == sent - 1
            line.receive(sent)
        line.release(16)
        task.result()
        line.outlet.flush()
        assert line.receive(20) == payloads(1, 20)
        assert line.most == 8
        assert line.outlet.blocked_s > 0

    def test_a_release_of_nothing_new_lets_nobody_go_on(self, place: Place) -> None:
        line = Line(place, blocks=4)
        task, returned = self.put_in_thread(place, line, 6)
        eventually(lambda: line.outlet.sent == 4, DEADLINE_S, "a full window")
        line.outlet.on_release(Release(1, 1, 0, 0, 3))
        line.outlet.on_release(Release(1, 1, 1, 4, 4))  # of another generation
        assert line.outlet.taken == 3
        assert (len(returned), line.outlet.sent, task.running) == (3, 4, True)
        line.receive(4)
        line.release(4)
        task.result()
        assert line.most == 4

    def test_a_window_is_full_of_bytes_too(self, place: Place) -> None:
        line = Line(place, blocks=100, size=3 * COALESCE_BYTES - 1)
        task, returned = self.put_in_thread(place, line, 9, lambda number: payload(number).ljust(COALESCE_BYTES))
        eventually(lambda: line.outlet.sent == 3, DEADLINE_S, "a full window")
        assert (len(returned), line.outlet.queue) == (2, 3)
        line.serve_until(task)
        assert len(line.receive(9)) == 9

    def test_a_window_holds_what_its_consumer_needs_at_once(self, place: Place) -> None:
        line = Line(place, blocks=2, size=10, spec=InputSpec(1, block_count=5))
        task, returned = self.put_in_thread(place, line, 23)
        eventually(lambda: line.outlet.sent == 10, DEADLINE_S, "twice what is needed")
        assert len(returned) == 9
        line.receive(2)
        assert [got for _, got, _ in line.got] == [payloads(1, 5), payloads(6, 10)]
        line.serve_until(task)

    def test_big_and_small_blocks_share_a_window(self, place: Place, clock: Clock) -> None:
        line = Line(place, blocks=8)
        for number in range(1, 5):
            line.outlet.put([payload(number), b"x"])
        filling = place.start(lambda: [line.outlet.put(payload(number)) for number in range(5, 9)])
        eventually(lambda: line.outlet.queue == 8, DEADLINE_S, "a full window")
        assert line.outlet.sent == 8
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
        assert line.inlets.counts()[1] == InputCounts(received=count)

    # idle and busy

    def test_an_idle_link_sends_at_once(self, place: Place, clock: Clock) -> None:
        line = Line(place)
        for number in range(1, 6):
            clock.forward(2 * HOLD_S)
            line.outlet.put(payload(number))
            assert line.spy.blocks == [1] * number
        assert line.armed == []

    def test_a_busy_link_sends_many_blocks_at_once(self, place: Place, clock: Clock) -> None:
        line = Line(place, blocks=4096)
        line.outlet.put(payload(1))
        held = clock.now
        for number in range(2, 12):
            line.outlet.put(payload(number))
        assert line.spy.blocks == [1]
        assert line.armed == [held + HELD_AT_MOST_S]  # the control thread is woken up once
        assert line.outlet.tick(held + HELD_AT_MOST_S / 2) == held + HELD_AT_MOST_S
        assert line.spy.blocks == [1]
        assert line.outlet.tick(held + HELD_AT_MOST_S) == float("inf")
        assert line.spy.blocks == [1, 10]
        assert line.outlet.tick(held + HELD_AT_MOST_S) == float("inf")
        assert line.receive(11) == payloads(1, 11)

    def test_a_block_after_a_pause_takes_what_is_held_along(self, place: Place, clock: Clock) -> None:
        line = Line(place)
        line.outlet.put(payload(1))
        line.outlet.put(payload(2))
        assert line.spy.blocks == [1]
        clock.forward(2 * HOLD_S)
        line.outlet.put(payload(3))
        assert line.spy.blocks == [1, 2]

    def test_what_is_held_goes_out_with_a_flush(self, place: Place, clock: Clock) -> None:
        line = Line(place)
        for number in (1, 2, 3):
            line.outlet.put(payload(number))
        line.outlet.flush()
        line.outlet.flush()
        assert line.spy.blocks == [1, 2]

    def test_a_message_has_its_limits(self, place: Place, clock: Clock) -> None:
        line = Line(place, blocks=4096)
        line.outlet.put(payload(1))
        for number in range(2, 2 + 2 * COALESCE_BLOCKS):
            line.outlet.put(payload(number))
        assert line.spy.blocks == [1, COALESCE_BLOCKS, COALESCE_BLOCKS]
        quarter = bytes(COALESCE_BYTES // 4)
        for _ in range(8):
            line.outlet.put(quarter)
        assert line.spy.blocks[3:] == [4, 4]

    def test_the_last_room_is_used_at_once(self, place: Place, clock: Clock) -> None:
        """What fills the window is never held back: its release is what the producer waits for."""
        line = Line(place, blocks=4)
        task, _ = self.put_in_thread(place, line, 4)
        eventually(lambda: line.spy.blocks == [1, 3], DEADLINE_S, "all four blocks")
        line.receive(4)
        line.release(4)
        task.result()

    # what a block has

    def test_heads_travel_with_their_blocks(self, place: Place, clock: Clock) -> None:
        line = Line(place, blocks=4096)
        heads = [0, 0, 5, 0, 0x20, 1, 0]
        for number, head in enumerate(heads, start=1):
            line.outlet.put(payload(number), head)
        line.outlet.flush()
        assert line.spy.blocks == [1, 6]
        line.receive(7)
        assert [head for _, _, head in line.got] == heads
        clock.forward(2 * HOLD_S)
        line.outlet.put([b"big", b"buffer"], 7)
        line.outlet.put(payload(9))
        line.outlet.flush()
        line.receive(9)
        assert [head for _, _, head in line.got[7:]] == [7, 0]

    def test_big_blocks_keep_their_place(self, place: Place, clock: Clock) -> None:
        line = Line(place, blocks=100, size=1 << 30)
        sizes = [0, 1, 64 * KIB, 3 << 20]
        line.outlet.put(payload(1))
        for size in sizes:
            line.outlet.put(b"small")  # held back, and sent before the big one
            line.outlet.put([b"big", b"x" * size, b"y" * size])
        found = line.receive(1 + 2 * len(sizes))
        assert [one if type(one) is bytes else [bytes(part) for part in one] for one in found] == [
            payload(1),
            *(one for size in sizes for one in (b"small", [b"big", b"x" * size, b"y" * size])),
        ]
        assert line.inlets.bytes_in == 1 + sum(5 + 3 + 2 * size for size in sizes)

    def test_numbers_that_do_not_exist_are_skipped(self, place: Place, clock: Clock) -> None:
        line = Line(place)
        line.outlet.put(payload(1))
        line.outlet.put(payload(2))
        line.outlet.seek(5)
        line.outlet.put(payload(5))
        line.outlet.seek(6)
        line.outlet.put(payload(6))
        line.outlet.flush()
        line.receive(6)
        assert line.got == [(1, b"1", 0), (2, b"2", 0), (3, b"2", CORRUPTED), (4, b"2", CORRUPTED), (5, b"5", 0), (6, b"6", 0)]

    # the end

    def test_the_end_is_told_and_answered(self, place: Place) -> None:
        line = Line(place)
        for number in (1, 2, 3):
            line.outlet.put(payload(number))
        line.outlet.end()
        waiting = place.start(line.outlet.wait_closed)
        assert line.receive_all() == payloads(1, 3)
        line.release(3)
        line.outlet.wait_released()
        assert waiting.running
        assert not line.outlet.closed
        line.inlets.close()
        line.inlets.close()
        line.serve()
        waiting.result()
        assert line.outlet.closed
        assert line.outlet.released == CLOSED
        assert line.spy.control(0) is None

    def test_an_end_without_a_block(self, place: Place) -> None:
        line = Line(place)
        line.outlet.end()
        assert line.receive_all() == []

    def test_nothing_goes_to_a_consumer_that_needs_nothing(self, place: Place) -> None:
        line = Line(place, blocks=2)
        line.outlet.put(payload(1))
        line.inlets.close()
        line.serve()
        for number in range(10):
            line.outlet.put(payload(number))
            line.outlet.put([b"big", b"buffer"])
        line.outlet.flush()
        line.outlet.end()
        line.outlet.wait_released()
        line.outlet.wait_closed()
        assert line.spy.blocks == [1]
        assert line.outlet.sent == 1

    def test_a_producer_that_waits_for_room_goes_on_when_nobody_needs_its_blocks(self, place: Place) -> None:
        line = Line(place, blocks=2)
        task, _ = self.put_in_thread(place, line, 10)
        eventually(lambda: line.outlet.sent == 2, DEADLINE_S, "a full window")
        line.inlets.close()
        line.serve()
        task.result()

    # MAX_QUEUE

    def test_a_producer_never_waits_for_a_consumer_with_max_queue(self, place: Place) -> None:
        line = Line(place, blocks=2, dropping=3)
        task, returned = self.put_in_thread(place, line, 1000)
        task.result()
        assert len(returned) == line.outlet.sent == 1000
        # three are under way, three wait here
        assert line.spy.blocks == [1, 1, 1]
        assert line.outlet.dropped == 994
        assert line.outlet.queue == 6
        line.outlet.end()
        assert line.outlet.dropped == 994
        line.receive_all()
        expected = [(number, payload(number), 0) for number in (1, 2, 3)]
        expected += [(number, b"3", CORRUPTED) for number in range(4, 998)]
        expected += [(number, payload(number), 0) for number in (998, 999, 1000)]
        assert line.got == expected
        assert line.inlets.counts()[1] == InputCounts(received=6, lost=994, dummies=994)

    def test_what_was_taken_makes_room_for_what_waits(self, place: Place) -> None:
        line = Line(place, dropping=2, spec=InputSpec(1, max_queue=2, dummy=lambda: b"dummy"))
        for number in range(1, 7):
            line.outlet.put(payload(number))
        assert line.spy.blocks == [1, 1]
        line.receive(1)
        line.serve()
        line.receive(2)
        while line.outlet.taken < 2:
            line.serve()
        # two that waited are under way now; 3 and 4 were dropped, and nothing was released meanwhile
        assert line.outlet.released == 0
        while len(line.got) < 6:
            line.receive(len(line.got) + 1)
            while line.outlet.taken < len(line.got):
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
        line.outlet.put(payload(1), 9)
        line.outlet.seek(3)
        line.outlet.put([b"big", b"buffer"], 8)
        line.outlet.seek(5)
        line.outlet.end()
        line.receive_all()
        numbers = [(number, head) for number, _, head in line.got]
        assert numbers == [(1, 9), (2, CORRUPTED), (3, 8), (4, CORRUPTED)]
        assert [bytes(part) for part in line.got[2][1]] == [b"big", b"buffer"]

    def test_whole_compute_blocks_get_through_whatever_max_queue_is(self, place: Place) -> None:
        line = Line(place, dropping=1, spec=InputSpec(1, block_count=4, max_queue=1))
        for number in range(1, 101):
            line.outlet.put(payload(number))
        line.outlet.end()
        line.receive_all()
        assert line.got[0][1] == payloads(1, 4)
        assert line.got[-1] == (25, payloads(97, 100), [0] * 4)
        counts = line.inlets.counts()[1]
        assert counts.received + counts.dummies - counts.dropped == 100

    # ASYNC inputs

    def test_an_async_input_releases_what_was_taken(self, place: Place) -> None:
        line = Line(place, optional=OptionalSpec(1))
        for number in (1, 2, 3):
            line.outlet.put(payload(number))
        line.outlet.flush()
        one = line.inlets.optional[1]
        while one.waiting < 3:
            line.feed()
        assert not line.inlets.pending_release(0, 0)
        one.take()
        assert not line.inlets.pending_release(0, 0)  # what it stores is for a new life of the job, too
        one.take()
        line.release(0)
        assert line.outlet.released == 1

    def test_blocks_that_are_no_blocks_are_counted_and_dropped(self, place: Place) -> None:
        line = Line(place)
        for bad in ([b""], [b"garbage"], [frames.encode_data(2, 1, 0, 1, [b""], None)], [frames.encode_release(Release(1, 1, 0, 1, 1))]):
            line.inlets.feed(bad)
        assert line.inlets.malformed == 4
        line.outlet.put(payload(1))
        assert line.receive(1) == [b"1"]


# -- whole jobs -------------------------------------------------------------------------------------------------------


class Network:
    """Jobs of one network that run in threads of this process, joined by the links of a place."""

    def __init__(
        self,
        place: Place,
        jobs: Sequence[BaseJob],
        *,
        blocks: int = 4096,
        size: int = 32 << 20,
        feedback: Sequence[int] = (),
    ) -> None:
        self._place = place
        consumers = {pipe.id: job for job in jobs for pipe in job.inputs}
        producers = {pipe.id: job for job in jobs for pipe in job.outputs}
        data = {job.id: place.address() for job in jobs}
        control = {job.id: place.address() for job in jobs}
        self.exchanges: dict[int, Exchange] = {}
        self._hosts: dict[int, PythonHost] = {}
        for job in jobs:
            outputs = {pipe.id: data[consumers[pipe.id].id] for pipe in job.outputs}
            inputs = {pipe.id: control[producers[pipe.id].id] for pipe in job.inputs}
            bundle = self._bundle(job, Wiring(data[job.id], control[job.id], outputs, inputs), consumers, blocks, size, feedback)
            links = place.links(data[job.id], control[job.id], outputs, inputs)
            self.exchanges[job.id] = Exchange(job, bundle, links)
            self._hosts[job.id] = PythonHost(job, self.exchanges[job.id], bundle)  # type: ignore[arg-type]  # all are PythonJobs

    @staticmethod
    def _bundle(
        job: BaseJob, wiring: Wiring, consumers: Mapping[int, BaseJob], blocks: int, size: int, feedback: Sequence[int]
    ) -> JobBundle:
        return JobBundle(
            job_id=job.id,
            name=job.name,
            incarnation=1,
            folder="",
            sys_path=(),
            log_file="",
            log_level="DEBUG",
            links="",
            wiring=wiring,
            feedback=frozenset(pipe.id for pipe in job.inputs if pipe.id in feedback),
            max_queues={pipe.id: consumers[pipe.id].MAX_QUEUE for pipe in job.outputs if consumers[pipe.id].MAX_QUEUE},
            plain=frozenset(),
            head_size=1,
            window_blocks=blocks,
            window_bytes=size,
            pickled_job=b"",
        )

    def run(self) -> dict[int, InputCounts]:
        """Runs to the end; every job must finish. Returns what happened on the pipes."""

        def live(number: int) -> str:
            try:
                return self._hosts[number].run()
            finally:
                self.exchanges[number].close(LINGER_S)

        tasks = {number: self._place.start(lambda number=number: live(number)) for number in self.exchanges}
        try:
            outcomes = {number: task.result() for number, task in tasks.items()}
        finally:
            if any(task.running for task in tasks.values()):
                self._give_up()
        assert set(outcomes.values()) == {report.FINISHED}
        assert all(exchange.inlets.malformed == 0 for exchange in self.exchanges.values())
        return {pipe: counts for exchange in self.exchanges.values() for pipe, counts in exchange.inlets.counts().items()}

    def _give_up(self) -> None:
        """The test has failed: let the threads end."""
        for exchange in self.exchanges.values():
            exchange.abandon()
            exchange.console.add(None)
            for outlet in exchange.outlets:
                with outlet._changed:
                    outlet._changed.notify_all()
            if exchange.inlets.aligner is not None:
                for one in exchange.inlets.aligner._inputs:
                    one.stage.last = 0
                exchange.inlets.aligner._find_final()
            exchange.wake()


class Source(PythonJob):
    """Gives the values of an iterable."""

    def __init__(self, values: Any, outputs: list[Any]) -> None:
        super().__init__(outputs=outputs)
        self.values = values

    def run(self) -> Iterator[Any]:
        yield from self.values


class Forward(PythonJob):
    """Gives what it gets; one input."""

    def run(self, value: Any) -> Any:
        return (value,) * len(self.outputs)


class Sink(PythonJob):
    """Keeps what it gets."""

    def __init__(self, inputs: list[Any]) -> None:
        super().__init__(inputs=inputs)
        self.got: list[Any] = []

    def run(self, *values: Any) -> None:
        self.got.append(values if len(values) > 1 else values[0])


class NetworkConformance:
    """Whole jobs in threads: nothing stands still, whatever the windows are."""

    @pytest.fixture(autouse=True)
    def _registry(self) -> Iterator[None]:
        with collecting() as registry:
            yield
        assert not registry.faults

    def test_a_chain_with_the_smallest_windows(self, place: Place) -> None:
        pipes = [PicklePipe(1), PicklePipe(2), PicklePipe(3)]
        source, sink = Source(range(400), [pipes[0]]), Sink([pipes[2]])
        jobs = [source, Forward(inputs=[pipes[0]], outputs=[pipes[1]]), Forward(inputs=[pipes[1]], outputs=[pipes[2]]), sink]
        Network(place, jobs, blocks=1).run()
        assert sink.got == list(range(400))

    def test_a_chain_with_usual_windows(self, place: Place) -> None:
        pipes = [PicklePipe(1), PicklePipe(2)]
        sink = Sink([pipes[1]])
        counts = Network(place, [Source(range(10_000), [pipes[0]]), Forward(inputs=[pipes[0]], outputs=[pipes[1]]), sink]).run()
        assert sink.got == list(range(10_000))
        assert counts == {1: InputCounts(received=10_000), 2: InputCounts(received=10_000)}

    def test_big_blocks_through_a_window_of_few_bytes(self, place: Place) -> None:
        pipes = [BytesPipe(1, 100 * KIB), BytesPipe(2, 100 * KIB)]
        values = [bytes([number]) * (100 * KIB) for number in range(60)]
        sink = Sink([pipes[1]])
        Network(place, [Source(values, [pipes[0]]), Forward(inputs=[pipes[0]], outputs=[pipes[1]]), sink], size=200 * KIB).run()
        assert sink.got == values

    def test_a_join_of_two_ways(self, place: Place) -> None:
        pipes = {number: PicklePipe(number) for number in (1, 2, 3)}
        sink = Sink([pipes[1], pipes[3]])
        jobs = [Source(range(1000), [pipes[1], pipes[2]]), Forward(inputs=[pipes[2]], outputs=[pipes[3]]), sink]
        Network(place, jobs, blocks=4).run()
        assert sink.got == [(number, number) for number in range(1000)]

    def test_an_input_that_ends_early_does_not_stop_the_others(self, place: Place) -> None:
        """What can have no partner is taken, counted and released."""
        sink = Sink([PicklePipe(1), PicklePipe(2)])
        counts = Network(place, [Source(range(3), [PicklePipe(1)]), Source(range(300), [PicklePipe(2)]), sink], blocks=8).run()
        assert sink.got == [(0, 0), (1, 1), (2, 2)]
        assert counts == {1: InputCounts(received=3), 2: InputCounts(received=300, unmatched=297)}

    def test_a_job_that_finishes_early_does_not_stop_the_others(self, place: Place) -> None:
        """One way of a diamond ends, and its source must go on for the other one."""

        class Three(PythonJob):
            def run(self, value: int) -> int:
                if value == 2:
                    self.finish()
                return value

        pipes = {number: PicklePipe(number) for number in (1, 2, 3, 4)}
        sink = Sink([pipes[3], pipes[4]])
        jobs = [
            Source(range(300), [pipes[1], pipes[2]]),
            Three(inputs=[pipes[1]], outputs=[pipes[3]]),
            Forward(inputs=[pipes[2]], outputs=[pipes[4]]),
            sink,
        ]
        Network(place, jobs, blocks=8).run()
        assert sink.got == [(0, 0), (1, 1), (2, 2)]

    def test_a_circle_through_an_async_pipe_does_not_stand_still(self, place: Place) -> None:
        class Feedback(OptionalPicklePipe):
            OPTIONAL_DEFAULT = -1

        class Gain(PythonJob):
            def __init__(self, **pipes: Any) -> None:
                super().__init__(**pipes)
                self.fed_back: list[int] = []

            def run(self, value: int, back: int) -> int:
                self.fed_back.append(back)
                return value

        pipes = {1: PicklePipe(1), 2: PicklePipe(2), 3: PicklePipe(3), 4: Feedback(4)}
        gain, sink = Gain(inputs=[pipes[1], pipes[4]], outputs=[pipes[2]]), Sink([pipes[3]])
        middle = Forward(inputs=[pipes[2]], outputs=[pipes[3], pipes[4]])
        Network(place, [Source(range(60), [pipes[1]]), gain, middle, sink], blocks=2, feedback=[4]).run()
        assert sink.got == list(range(60))
        assert len(gain.fed_back) == 60
        # what comes back is what went out before, in order; -1 and repetitions where it was not there in time
        assert gain.fed_back == sorted(gain.fed_back)
        assert gain.fed_back[0] == -1

    def test_an_async_input_that_drops_does_not_wait_for_the_job(self, place: Place) -> None:
        """Its producer goes on while the job waits for another input."""

        class Short(OptionalPicklePipe):
            OPTIONAL_BUFFER_SIZE = 2

        flooded = threading.Event()

        def flood() -> Iterator[int]:
            yield from range(500)
            flooded.set()

        def waits() -> Iterator[int]:
            assert flooded.wait(DEADLINE_S)
            yield 7

        sink = Sink([PicklePipe(1), Short(2)])
        counts = Network(place, [Source(waits(), [PicklePipe(1)]), Source(flood(), [Short(2)]), sink], blocks=4).run()
        ((first, second),) = sink.got
        assert first == 7
        assert 494 <= second < 500
        assert counts[2].dropped >= 490

    def test_an_async_input_without_limit_does_not_wait_for_the_job_either(self, place: Place) -> None:
        """Nothing is dropped: all that waits is kept, whatever the window of other pipes."""
        flooded = threading.Event()

        def flood() -> Iterator[int]:
            yield from range(500)
            flooded.set()

        def waits() -> Iterator[int]:
            assert flooded.wait(DEADLINE_S)
            yield from (7, 8, 9)

        sink = Sink([PicklePipe(1), OptionalPicklePipe(2)])
        counts = Network(place, [Source(waits(), [PicklePipe(1)]), Source(flood(), [OptionalPicklePipe(2)]), sink], blocks=4).run()
        values = [value for _, value in sink.got]
        found = [value for value in values if value is not None]
        assert found == list(range(len(found)))
        assert counts[2].dropped == 0

    def test_a_slow_consumer_with_max_queue_gets_dummies(self, place: Place) -> None:
        class Slow(Sink):
            MAX_QUEUE = 3
            HEAD = True

            def run(self, value: int) -> None:
                assert self.released.wait(DEADLINE_S)
                self.got.append((value, int(self.head)))

        slow = Slow([PicklePipe(1)])
        slow.released = threading.Event()

        def values() -> Iterator[int]:
            yield from range(1, 501)
            slow.released.set()

        counts = Network(place, [Source(values(), [PicklePipe(1)]), slow]).run()[1]
        assert len(slow.got) == 500
        real = [value for value, head in slow.got if not head & CORRUPTED]
        assert real == sorted(set(real))
        assert (real[0], real[-1]) == (1, 500)
        assert counts.dummies == 500 - len(real) == counts.lost + counts.dropped
        assert counts.dummies > 450

    def test_a_wake_up_is_not_lost(self, place: Place) -> None:
        """Not to the look that comes before the wait."""
        pipe = PicklePipe(1)
        network = Network(place, [Source([], [pipe]), Sink([pipe])])
        exchange = network.exchanges[2]
        for _ in range(3):
            exchange.wake()
            assert place.start(exchange.receive).result() is False
        waiting = place.start(exchange.receive)
        exchange.wake()
        assert waiting.result() is False

    def test_a_wake_up_comes_between_messages(self, place: Place) -> None:
        pipe = PicklePipe(1)
        network = Network(place, [Source([], [pipe]), Sink([pipe])])
        producer, consumer = network.exchanges[1], network.exchanges[2]
        results: deque[bool] = deque()
        producer.outlets[0].open()
        assert consumer.receive()
        for _ in range(100):
            consumer.wake()
            producer.outlets[0].put(b"x")
            producer.outlets[0].flush()
            while not place.start(consumer.receive).result():
                results.append(False)
        assert consumer.inlets.counts()[1].received == 100
