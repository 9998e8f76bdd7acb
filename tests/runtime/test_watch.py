"""A job with taps: their cost, and what they show."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest

from fission.adapters.memory_links import MemoryLinks, MemoryNetwork
from fission.core.base import collecting
from fission.core.jobs import PythonJob
from fission.core.pipes import PicklePipe
from fission.ports import JobBundle, Wiring
from fission.protocol import frames, tapped
from fission.protocol.activity import Activity
from fission.protocol.link_messages import JobMessage, Release
from fission.protocol.messages.client_to_job import (
    CheckpointStored,
    ClientToJob,
    CloseTap,
    ExtendTap,
    MeasureJob,
    OpenTap,
    RunBlock,
    ValueStored,
    WirePipe,
)
from fission.protocol.messages.job_to_client import JobMeasured, OutputMeasures, TapCopies
from fission.runtime.endpoint_shell import make_shell
from fission.runtime.watch import GATHER_BYTES, MEASURED_S, SAMPLE_S, JobWatch, ReadyTimes


class Alone:
    """A source with one output whose messages are read here; its control thread does not run, and sends nothing."""

    def __init__(self) -> None:
        with collecting():
            self.job = PythonJob(outputs=[PicklePipe(1)])
        self.net = MemoryNetwork()
        wiring = Wiring("data", "control", {1: "consumer"}, {}, "client")
        bundle = JobBundle(
            1, "PythonJob 1", 1, "", (), "", "DEBUG", "", wiring, frozenset(), {}, frozenset(), 1, 4096, 1 << 30, b"", generation=0
        )
        self.shell = make_shell(self.job, bundle, MemoryLinks(wiring, self.net))
        self.shell.watcher = JobWatch(self.shell)
        self.output = self.shell.outputs[0]
        self.shell.do(self.shell.endpoint.outputs[0].open)

    @property
    def watched(self) -> bool:
        return self.shell.watched(1)

    def command(self, message: ClientToJob) -> None:
        self.shell.on_message([frames.encode_command(message)])

    def tap(self, credit: int = 1 << 20, payload: bool = True, share: float = 1.0, largest: int = 0) -> None:
        self.command(OpenTap(tap=5, pipe=1, credit=credit, payload=payload, share=share, largest=largest))

    def measure(self, key: int) -> JobMeasured:
        self.command(MeasureJob(key=key))
        (found,) = self.messages()
        assert isinstance(found.message, JobMeasured)
        return found.message

    def put(self, *payloads: Any) -> None:
        for payload in payloads:
            self.output.put(payload)
            self.output.flush()

    def messages(self) -> list[JobMessage]:
        self.shell.tick(time.perf_counter())
        found = []
        while (message := self.net.box("client").get(0)) is not None:
            decoded = frames.decode(message)
            assert isinstance(decoded, JobMessage)
            found.append(decoded)
        return found

    def seen(self) -> list[Any]:
        follower = tapped.Follower()
        taken = [follower.take(*message) for each in self.messages() for message in tapped.decode(each.payload)]
        return [(one.sqn, one.payloads) for one in taken if one is not None]


@pytest.fixture
def alone() -> Iterator[Alone]:
    made = Alone()
    yield made
    made.shell.close(0)


def test_nothing_is_in_the_way_while_there_is_no_viewer(alone: Alone) -> None:
    assert not alone.watched
    alone.tap()
    assert alone.watched
    alone.command(MeasureJob(key=1))
    alone.command(CloseTap(tap=5))
    assert alone.watched  # the measurement continues
    alone.shell.tick(time.perf_counter() + MEASURED_S + 1)
    assert not alone.watched


def test_a_tap_sees_the_blocks_that_pass(alone: Alone) -> None:
    alone.put(b"before")
    alone.tap()
    alone.put(b"one", b"two", [b"pickle", b"x" * 100_000])
    assert alone.seen() == [(2, [b"one"]), (3, [b"two"]), (4, [[b"pickle", b"x" * 100_000]])]
    assert alone.messages() == []
    alone.command(CloseTap(tap=5))
    alone.put(b"behind")
    assert alone.messages() == []


def test_numbers_alone(alone: Alone) -> None:
    alone.tap(payload=False, credit=tapped.HEADER_SIZE * 2)
    alone.put(b"x" * 1000, b"y" * 1000, b"z")
    assert alone.seen() == [(1, None), (2, None)]


def test_without_credit_blocks_pass_unseen(alone: Alone) -> None:
    alone.tap(credit=3000)
    alone.put(*(b"x" * 1000 for _ in range(10)))
    assert [sqn for sqn, _ in alone.seen()] == [1, 2]
    alone.put(b"y" * 1000)
    assert alone.seen() == []
    alone.command(ExtendTap(tap=5, credit=3000))
    alone.put(b"y" * 1000)
    assert [sqn for sqn, _ in alone.seen()] == [12]


def test_a_block_larger_than_all_credit_is_sent_alone(alone: Alone) -> None:
    alone.tap(credit=100)
    alone.put(b"x" * 1000, b"y", b"z")
    assert [sqn for sqn, _ in alone.seen()] == [1]
    alone.put(b"x")
    assert alone.seen() == []


def test_of_a_message_larger_than_the_viewer_wants_only_the_numbers_are_sent(alone: Alone) -> None:
    alone.tap(largest=5000)
    alone.put(b"x" * 4000, b"y" * 6000, [b"pickle", b"z" * 6000], b"z")
    assert [(sqn, payloads is not None) for sqn, payloads in alone.seen()] == [(1, True), (2, False), (3, False), (4, True)]


def test_a_viewer_that_gives_back_what_it_got_keeps_the_same_credit(alone: Alone) -> None:
    """However long it looks: what is taken and what is given back are counted alike."""
    alone.tap(credit=5000)
    for _ in range(50):
        alone.put(*(b"x" * 1000 for _ in range(10)))
        words = alone.messages()
        assert sum(len(list(tapped.decode(word.payload))) for word in words) == 4
        alone.command(ExtendTap(tap=5, credit=sum(len(word.payload) for word in words)))


def test_copies_wait_for_each_other_but_not_long(alone: Alone) -> None:
    moments: list[float] = []
    alone.shell.control.arm = moments.append  # type: ignore[method-assign]
    alone.tap()
    before = time.perf_counter()
    alone.put(b"small")
    assert before < moments[-1] < time.perf_counter() + 0.03
    alone.put(b"x" * GATHER_BYTES)
    assert moments[-1] <= time.perf_counter()


def test_the_last_message_says_so() -> None:
    alone = Alone()
    alone.tap()
    alone.put(b"one")
    alone.shell.close(0)
    assert [each.message for each in alone.messages()] == [TapCopies(tap=5), TapCopies(tap=5, last=True)]


@pytest.mark.parametrize("payload", [True, False])
def test_the_end_says_how_many_blocks_passed_unseen_at_last(payload: bool) -> None:
    """Nothing that follows could show the gap."""
    alone = Alone()
    alone.tap(credit=3000 if payload else 2 * tapped.HEADER_SIZE, payload=payload)
    alone.put(*(b"x" * 1000 for _ in range(10)))
    alone.shell.close(0)
    follower = tapped.Follower()
    for each in alone.messages():
        for stamped in tapped.decode(each.payload):
            follower.take(*stamped)
    assert (follower.missed, follower.ended) == (8, True)


def test_a_second_tap_with_the_same_name_replaces_the_first(alone: Alone) -> None:
    alone.tap(payload=False)
    alone.tap()
    alone.put(b"one")
    assert alone.seen() == [(1, [b"one"])]


def test_measures(alone: Alone) -> None:
    alone.put(b"one", b"two")
    measured = alone.measure(9)
    assert (measured.key, measured.blocks) == (9, 2)
    assert measured.outputs == {1: OutputMeasures(sent=2, queue=2, dropped=0, way_s=0.0, way_blocks=0)}
    assert measured.memory > 1 << 20
    assert measured.cpu_s > 0
    alone.put(b"three")
    alone.shell.on_message([frames.encode_release(Release(1, 1, 0, 3, 3))])
    output = alone.measure(10).outputs[1]
    assert output.queue == 0
    assert output.way_blocks == 1
    assert 0 < output.way_s < 10


def test_time_spent_waiting_is_measured(alone: Alone) -> None:
    watch = alone.shell.watcher
    assert isinstance(watch, JobWatch)
    watch._activity = Activity(time.perf_counter() - 20)
    alone.shell.endpoint.starved_since = time.perf_counter() - 5
    alone.shell.endpoint.starved_s = 1.0
    alone.shell.endpoint.room_wait.begin(time.perf_counter() - 7)
    measured = alone.measure(1)
    assert 6 <= measured.starved_s < 7
    assert 7 <= measured.blocked_s < 8
    assert measured.busy_s + measured.idle_s + measured.starved_s + measured.blocked_s == pytest.approx(20, abs=1)


def test_a_job_that_waits_until_its_state_is_stored_is_not_starved(alone: Alone) -> None:
    alone.shell.endpoint.starved_since = time.perf_counter() - 5
    with mock.patch.object(type(alone.shell.endpoint), "settling", True):
        assert alone.measure(1).starved_s == 0


@pytest.mark.parametrize("reads_all", [True, False])
def test_a_program_is_starved_only_while_it_has_read_every_block(alone: Alone, reads_all: bool) -> None:
    """Its host waits for blocks all the time; what it does is only seen by looking again and again."""
    watch = alone.shell.watcher = JobWatch(alone.shell, program=True)
    alone.shell.program_waits = lambda: reads_all
    began = time.perf_counter()
    watch._activity = Activity(began, program=True)
    alone.shell.endpoint.starved_since = began
    alone.command(MeasureJob(key=1))
    for step in range(1, 11):
        assert watch.tick(began + step * SAMPLE_S) == pytest.approx(began + (step + 1) * SAMPLE_S)
    assert watch._starved_s == pytest.approx(10 * SAMPLE_S if reads_all else 0)


def seconds_for(blocks: int, tap: bool) -> float:
    """Processor time of the job's thread for blocks that travel together, as those of a busy pipe do."""
    alone = Alone()
    if tap:
        alone.tap(credit=1000)  # which no viewer gives back
    began = time.thread_time()
    for number in range(blocks):
        alone.output.put(b"12345678")
        if number % 1000 == 999:
            alone.output.flush()
            alone.output.machine.window.release(alone.output.machine.window.next - 1)
            alone.net.box("consumer")._messages.clear()
    took = time.thread_time() - began
    alone.shell.close(0)
    return took


@pytest.mark.slow
def test_a_tap_that_never_reads_costs_less_than_a_tenth() -> None:
    seconds_for(20_000, tap=True)
    ratios = [seconds_for(40_000, tap=True) / seconds_for(40_000, tap=False) for _ in range(9)]
    assert statistics.median(ratios) < 1.1, ratios


@pytest.mark.parametrize(
    "message",
    [
        OpenTap(tap=1, pipe=99, credit=1, payload=True, share=1.0),
        RunBlock(number=1, after={}),
        WirePipe(pipe=99, address="", near=True, peer=1, incarnation=1),
        CheckpointStored(generation=0, block=1),
        ValueStored(pipe=1, number=1),
    ],
    ids=lambda message: type(message).__name__,
)
def test_commands_that_do_not_fit_the_job_change_nothing(alone: Alone, message: ClientToJob) -> None:
    alone.command(message)
    assert not alone.watched


def test_the_time_for_which_an_ended_child_was_ready_stays_in_the_sum() -> None:
    times = ReadyTimes()

    assert times.add({1: 1.0, 7: 2.0}) == 3.0
    assert times.add({1: 1.5, 7: 2.5}) == 4.0
    assert times.add({1: 1.5, 8: 0.5}) == 4.5, "7 has ended, 8 is new"
    assert times.add({1: 1.5}) == 4.5
    assert times.add({1: 1.5, 8: 0.25}) == 4.75, "another process has the number of the ended one"
    assert times.add({1: 1.5, 8: 0.125}) == 4.875, "and yet another"
