"""Whole jobs over any `Links`, each in its own threads: no stall and no loss with any window.

Subclass `NetworkConformance` with a fixture ``place`` that returns a `Place`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from fission.core.base import BaseJob, collecting
from fission.core.jobs import PythonJob
from fission.core.pipes import BytesPipe, OptionalPicklePipe, PicklePipe
from fission.ports import JobBundle, Links, Wiring
from fission.protocol import frames
from fission.protocol.inputs import InputCounts
from fission.protocol.link_messages import Release
from fission.runtime import report
from fission.runtime.endpoint_shell import EndpointShell, make_shell
from fission.runtime.job_process import LINGER_S
from fission.runtime.python_host import PythonHost
from tests.conformance.places import DEADLINE_S, Place
from tests.waiting import eventually

CORRUPTED = 0x80
KIB = 1 << 10


class Network:
    """Jobs of one network in threads of this process, joined by the links of a place."""

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
        self.shells: dict[int, EndpointShell] = {}
        self.links: dict[int, Links] = {}
        self._hosts: dict[int, PythonHost] = {}
        for job in jobs:
            outputs = {pipe.id: data[consumers[pipe.id].id] for pipe in job.outputs}
            inputs = {pipe.id: control[producers[pipe.id].id] for pipe in job.inputs}
            bundle = self._bundle(job, Wiring(data[job.id], control[job.id], outputs, inputs), consumers, blocks, size, feedback)
            self.links[job.id] = place.links(data[job.id], control[job.id], outputs, inputs)
            self.shells[job.id] = self.make(job, bundle, self.links[job.id])
            self._hosts[job.id] = PythonHost(job, self.shells[job.id], bundle)  # type: ignore[arg-type]  # all are PythonJobs

    def make(self, job: BaseJob, bundle: JobBundle, links: Links) -> EndpointShell:
        """Return the shell of a job's endpoint."""
        return make_shell(job, bundle, links)

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
        """Run to the end, where every job must finish; return the counts of the pipes."""

        def live(number: int) -> str:
            try:
                return self._hosts[number].run()
            finally:
                self.shells[number].close(LINGER_S)

        tasks = {number: self._place.start(lambda number=number: live(number)) for number in self.shells}
        try:
            outcomes = {number: task.result() for number, task in tasks.items()}
        finally:
            if any(task.running for task in tasks.values()):
                self._give_up()
        assert set(outcomes.values()) == {report.FINISHED}
        assert all(shell.endpoint.counter.malformed == 0 for shell in self.shells.values())
        return {pipe: counts for shell in self.shells.values() for pipe, counts in shell.inputs.counts().items()}

    def _give_up(self) -> None:
        """Let the threads end after the test has failed."""
        for shell in self.shells.values():
            shell.abandon()
            shell.console.add(None)
            shell.notify()
            shell.wake()


class Source(PythonJob):
    """Sends the values of an iterable."""

    def __init__(self, values: Any, outputs: list[Any]) -> None:
        super().__init__(outputs=outputs)
        self.values = values

    def run(self) -> Iterator[Any]:
        yield from self.values


class Forward(PythonJob):
    """Sends what it receives; has one input."""

    def run(self, value: Any) -> Any:
        return (value,) * len(self.outputs)


class Sink(PythonJob):
    """Keeps what it receives."""

    def __init__(self, inputs: list[Any]) -> None:
        super().__init__(inputs=inputs)
        self.got: list[Any] = []

    def run(self, *values: Any) -> None:
        self.got.append(values if len(values) > 1 else values[0])


class NetworkConformance:
    """Whole jobs in threads: no stall with any window."""

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
        """Blocks that can have no partner are taken, counted and released."""
        sink = Sink([PicklePipe(1), PicklePipe(2)])
        counts = Network(place, [Source(range(3), [PicklePipe(1)]), Source(range(300), [PicklePipe(2)]), sink], blocks=8).run()
        assert sink.got == [(0, 0), (1, 1), (2, 2)]
        assert counts == {1: InputCounts(received=3), 2: InputCounts(received=300, unmatched=297)}

    def test_a_job_that_finishes_early_does_not_stop_the_others(self, place: Place) -> None:
        """One way of a diamond ends, and its source must continue for the other one."""

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

    def test_a_job_without_further_compute_blocks_reports_it_at_once(self, place: Place) -> None:
        """The end of all inputs is too late: the last join waits, and the long source with it."""

        class Join(PythonJob):
            def run(self, first: int, second: int) -> int:
                return first + second

        pipes = {number: PicklePipe(number) for number in (1, 2, 3, 4)}
        sink = Sink([pipes[3], pipes[4]])
        jobs = [
            Source(range(3), [pipes[1]]),
            Source(range(300), [pipes[2], pipes[3]]),
            Join(inputs=[pipes[1], pipes[2]], outputs=[pipes[4]]),
            sink,
        ]
        Network(place, jobs, blocks=8).run()
        assert sink.got == [(0, 0), (1, 2), (2, 4)]

    def test_a_circle_through_an_async_pipe_does_not_stall(self, place: Place) -> None:
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
        # the values fed back were sent before, in order; -1 and repetitions where they were late
        assert gain.fed_back == sorted(gain.fed_back)
        assert gain.fed_back[0] == -1

    def test_an_async_input_that_drops_does_not_wait_for_the_job(self, place: Place) -> None:
        """Its producer continues while the job waits for another input."""

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

    def test_a_job_that_waits_ends_when_no_job_needs_it(self, place: Place) -> None:
        """This holds even if no further block lets it check."""

        class First(Sink):
            def run(self, *values: Any) -> None:
                super().run(*values)
                self.finish()

        def values() -> Iterator[int]:
            yield 1
            eventually(lambda: network.shells[source.id].endpoint.unwanted, DEADLINE_S / 2, "the message that no consumer needs more")

        pipes = [PicklePipe(1), PicklePipe(2)]
        source, sink = Source(values(), [pipes[0]]), First([pipes[1]])
        network = Network(place, [source, Forward(inputs=[pipes[0]], outputs=[pipes[1]]), sink])
        network.run()
        assert sink.got == [1]

    # releases, step by step: the test plays the job's loop

    def one_block_further(self, place: Place) -> tuple[EndpointShell, Links]:
        """Return a job in the middle of a block, and its producer's links.

        The job has taken and sent one block, but not yet reported that it is done.
        """
        pipes = [PicklePipe(1), PicklePipe(2)]
        jobs = [Source([], [pipes[0]]), Forward(inputs=[pipes[0]], outputs=[pipes[1]]), Sink([pipes[1]])]
        network = Network(place, jobs)
        producer, middle = network.shells[1], network.shells[2]
        for shell in (producer, middle):
            shell.do(lambda: shell.endpoint.start(0.0))  # noqa: B023
        producer.outputs[0].put(b"x")
        producer.flush()
        while not middle.inputs.counts()[1].received:  # the block comes after what opens the pipe, and its time
            assert middle.receive()
        assert middle.inputs.aligner is not None
        middle.inputs.aligner.begin(1)
        assert middle.take() is not None
        middle.outputs[0].put(b"y")
        middle.flush()
        return middle, network.links[1]

    @staticmethod
    def released(links: Links) -> int:
        message = links.control(DEADLINE_S)
        assert message is not None, "no release"
        release = frames.decode(message)
        assert isinstance(release, Release)
        return release.released

    OUTPUT_RELEASED = [frames.encode_release(Release(2, 1, 0, 1, 1))]

    def test_a_release_is_passed_on_at_once(self, place: Place) -> None:
        middle, producer = self.one_block_further(place)
        middle.advance(1)
        assert producer.control(0) is None
        middle.on_message(self.OUTPUT_RELEASED)
        assert self.released(producer) == 1

    def test_a_release_that_overtakes_the_job_is_passed_on(self, place: Place) -> None:
        """The consumer may finish a block before its producer's loop has reported it."""
        middle, producer = self.one_block_further(place)
        middle.control.start()
        middle.on_message(self.OUTPUT_RELEASED)
        middle.advance(1)
        assert self.released(producer) == 1
        middle.control.stop()

    def test_a_wake_up_is_not_lost(self, place: Place) -> None:
        """The check before the wait must not consume it."""
        pipe = PicklePipe(1)
        network = Network(place, [Source([], [pipe]), Sink([pipe])])
        shell = network.shells[2]
        for _ in range(3):
            shell.wake()
            assert place.start(shell.receive).result() is False
        waiting = place.start(shell.receive)
        shell.wake()
        assert waiting.result() is False

    def test_a_wake_up_comes_between_messages(self, place: Place) -> None:
        pipe = PicklePipe(1)
        network = Network(place, [Source([], [pipe]), Sink([pipe])])
        producer, consumer = network.shells[1], network.shells[2]
        producer.do(lambda: producer.endpoint.start(0.0))
        assert consumer.receive()
        for number in range(1, 101):
            consumer.wake()
            producer.outputs[0].put(b"x")
            producer.outputs[0].flush()
            while consumer.inputs.counts()[1].received < number:
                place.start(consumer.receive).result()  # it was woken, or got the time of a block
        assert consumer.inputs.counts()[1].received == 100
