"""`self.block_time` as jobs see it: what sources give, what joins and sinks get, and what is said to a job that did not ask."""

from __future__ import annotations

import math
import pickle
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest

from fission.cli.looking import value_reader
from fission.core.audio_block import AudioBlock
from fission.core.base import collecting
from fission.core.block_time import BlockTime
from fission.core.jobs import BytesSinkJob, CSVSinkJob, ForwardingJob, PythonJob
from fission.core.network import Network
from fission.core.network_time import NetworkTime
from fission.core.pipes import OptionalPicklePipe, PicklePipe
from fission.core.registry import current
from fission.errors import JobFailed
from fission.protocol.block_times import pack
from fission.recordings import Recorder, Recording
from fission.testing.emulator import emulate
from fission.testing.replay import Replay
from fission.testing.small_network import run_network
from tests.testing import alone_jobs


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    with collecting():
        yield


class Pairs(PicklePipe):
    BLOCK_COUNT = 2


class Source(PythonJob):
    """Takes 10 s for each block."""

    def run(self) -> Iterator[Any]:
        for number in range(4):
            time.sleep(10.0)
            yield number


class Given(PythonJob):
    """Says when its samples were taken, for every other block."""

    BLOCK_TIME = True

    def __init__(self, times: list[Any], **pipes: Any) -> None:
        super().__init__(**pipes)
        self.times = times

    def run(self) -> Iterator[Any]:
        for given in self.times:
            if given is not None:
                self.block_time = given
            yield 0


class Sounds(PythonJob):
    def run(self) -> Iterator[Any]:
        yield AudioBlock(numpy.zeros(3), 16000, time=77.0)
        yield AudioBlock(numpy.zeros(3), 16000, time=78.0), "for the other output"


class Join(PythonJob):
    def run(self, one: Any, pair: Any) -> Any:
        return one


class Show(PythonJob):
    BLOCK_TIME = True

    def run(self, *values: Any) -> None:
        self.seen = [*getattr(self, "seen", []), self.block_time]
        Show.last = self.seen

    last: list[BlockTime] = []


def test_blocks_have_the_time_at_which_their_source_yielded_them(tmp_path: Path) -> None:
    began = time.time()
    run_network(
        [Source(outputs=[PicklePipe(1)]), ForwardingJob(inputs=[PicklePipe(1)], outputs=[PicklePipe(2)]), Show(inputs=[PicklePipe(2)])],
        folder=tmp_path,
    )
    assert [round(one.earliest - began) for one in Show.last] == [10, 20, 30, 40]
    assert all(one.earliest == one.latest and one.known for one in Show.last)
    steps = [round(two.earliest_monotonic - one.earliest_monotonic, 3) for one, two in zip(Show.last, Show.last[1:], strict=False)]
    assert steps == [10.0, 10.0, 10.0]


def test_a_join_sees_the_earliest_and_the_latest(tmp_path: Path) -> None:
    jobs = [
        Given([1000.0, 2000.0], outputs=[PicklePipe(1)]),
        Given([900.0, 1100.0, 1900.0, 1950.0], outputs=[Pairs(2)]),
        Join(inputs=[PicklePipe(1), Pairs(2)], outputs=[PicklePipe(3)]),
        CSVSinkJob("times.csv", inputs=[PicklePipe(3)], time=True),
    ]
    assert Network("this", current().jobs).timed == {1, 2, 3}
    run_network(jobs, folder=tmp_path)
    assert (tmp_path / "4/times.csv").read_text().splitlines() == [
        "time_earliest,time_latest,pipe_3",
        "900.0,1100.0,0",
        "1900.0,2000.0,0",
    ]


def test_a_source_may_give_the_time_of_a_block(tmp_path: Path) -> None:
    whole = BlockTime(5.0, 6.0, 1.0, 2.0)
    began = time.time()
    run_network([Given([123.5, None, whole], outputs=[PicklePipe(1)]), Show(inputs=[PicklePipe(1)])], folder=tmp_path)
    first, second, third = Show.last
    assert (first.earliest, first.latest, third) == (123.5, 123.5, whole)
    assert second.earliest >= began
    assert second.earliest - first.earliest == pytest.approx(second.earliest_monotonic - first.earliest_monotonic, abs=0.01)


def test_sound_has_the_time_of_its_first_frame(tmp_path: Path) -> None:
    jobs = [Sounds(outputs=[PicklePipe(1), PicklePipe(2)]), Show(inputs=[PicklePipe(1)]), Show(inputs=[PicklePipe(2)])]
    run_network(jobs, folder=tmp_path)
    assert [one.earliest for one in Show.last] == [77.0, 78.0]


NO_TIMES = ["noon", "5", b"5", True, math.nan, math.inf, 10**400, (1.0, 2.0, 3.0, 4.0), object()]
NO_BLOCK_TIMES = [("a", "b", "c", "d"), (1.0, 2.0, 3.0, None), (5.0, 1.0, 5.0, 1.0), (1.0, math.nan, 1.0, 1.0), (1.0, math.inf, 1.0, 1.0)]


@pytest.mark.parametrize("given", [*NO_TIMES, *(BlockTime(*fields) for fields in NO_BLOCK_TIMES)])
def test_what_is_not_a_time_is_refused(tmp_path: Path, given: Any) -> None:
    with pytest.raises(JobFailed, match=r"Given 1: block_time must be seconds since 1970 \(a float\), or a BlockTime whose"):
        run_network([Given([given], outputs=[PicklePipe(1)]), Show(inputs=[PicklePipe(1)])], folder=tmp_path)


@pytest.mark.parametrize("given", [5, 5.0, numpy.float32(5), numpy.int64(5), NetworkTime(5.0, 0.1), BlockTime(5, 5, 0, 0)])
def test_numbers_of_all_types_are_times(tmp_path: Path, given: Any) -> None:
    run_network([Given([given], outputs=[PicklePipe(1)]), Show(inputs=[PicklePipe(1)])], folder=tmp_path)
    assert [one[:2] for one in Show.last] == [(5.0, 5.0)]


def test_a_source_may_say_that_a_time_is_unknown(tmp_path: Path) -> None:
    run_network([Given([BlockTime(*[math.nan] * 4)], outputs=[PicklePipe(1)]), Show(inputs=[PicklePipe(1)])], folder=tmp_path)
    assert [one.known for one in Show.last] == [False]


class Outside(PythonJob):
    """Reads the time where there is no block, and in a thread."""

    BLOCK_TIME = True
    read: dict[str, Any] = {}

    def setup(self, *args: Any, **kwargs: Any) -> None:
        super().setup(*args, **kwargs)
        self.read["setup"] = self.block_time

    def run(self, *values: Any) -> None:
        thread = threading.Thread(target=lambda: self.read.update(thread=self.block_time))
        thread.start()
        thread.join()
        self.read["run"] = self.block_time
        if self.read["run"].earliest == 2.0:
            self.finish()  # the third block of the faster source is there already

    def teardown(self) -> None:
        self.read["teardown"] = self.block_time


def test_there_is_a_time_only_while_there_is_a_block(tmp_path: Path) -> None:
    jobs = [
        Given([1.0, 2.0, 3.0], outputs=[PicklePipe(1)]),
        Source(outputs=[PicklePipe(2)]),
        Outside(inputs=[PicklePipe(1), PicklePipe(2)]),
    ]
    run_network(jobs, folder=tmp_path)
    assert [Outside.read[place].known for place in ("setup", "run", "thread", "teardown")] == [False, True, True, False]
    assert Outside.read["thread"] == Outside.read["run"]


class SetsIts(PythonJob):
    """Means to give its blocks a time, which only a source can."""

    BLOCK_TIME = True

    def __init__(self, place: str, **pipes: Any) -> None:
        super().__init__(**pipes)
        self.place = place

    def setup(self, *args: Any, **kwargs: Any) -> None:
        super().setup(*args, **kwargs)
        if self.place == "setup":
            self.block_time = 5.0

    def run(self, value: Any) -> Any:
        if self.place == "run":
            self.block_time = 5.0
        return 0


@pytest.mark.parametrize("place", ["setup", "run"])
def test_a_job_with_inputs_that_sets_a_time_is_refused(tmp_path: Path, place: str) -> None:
    with pytest.raises(JobFailed, match="SetsIts 2 has inputs and must not set block_time: its blocks have the time of those"):
        run_network(
            [
                Given([1.0], outputs=[PicklePipe(1)]),
                SetsIts(place, inputs=[PicklePipe(1)], outputs=[PicklePipe(2)]),
                Show(inputs=[PicklePipe(2)]),
            ],
            folder=tmp_path,
        )


class Careless(PythonJob):
    def run(self, value: Any) -> Any:
        return self.block_time


def test_a_job_that_did_not_ask_fails_and_the_message_says_what_to_write(tmp_path: Path) -> None:
    says = "Careless 2: block_time is known only to jobs that ask for it; write BLOCK_TIME = True in class Careless"
    with pytest.raises(JobFailed, match=says):
        run_network([Source(outputs=[PicklePipe(1)]), Careless(inputs=[PicklePipe(1)])], folder=tmp_path)


class Own(PythonJob):
    """The name is the user's, as always."""

    def __init__(self, **pipes: Any) -> None:
        super().__init__(**pipes)
        self.block_time = 0.25

    def run(self, value: Any) -> Any:
        return self.block_time


class OwnSource(Own):
    def run(self) -> Iterator[Any]:  # type: ignore[override]
        yield self.block_time
        yield self.block_time


def test_a_class_may_use_the_name_itself(tmp_path: Path) -> None:
    own, show = Own(inputs=[PicklePipe(1)], outputs=[PicklePipe(2)]), Show(inputs=[PicklePipe(2)])
    ran = run_network([OwnSource(outputs=[PicklePipe(1)]), own, show], folder=tmp_path)
    assert ran[show] == [0.25, 0.25]
    assert Own().snapshot()["block_time"] == 0.25


def test_only_pipes_on_the_way_to_a_job_that_asks_carry_times() -> None:
    Source(outputs=[PicklePipe(1), PicklePipe(2), OptionalPicklePipe(6)])
    ForwardingJob(inputs=[PicklePipe(1), PicklePipe(7), OptionalPicklePipe(6)], outputs=[PicklePipe(3)] * 1)
    ForwardingJob(inputs=[PicklePipe(2)], outputs=[PicklePipe(4)])
    Source(outputs=[PicklePipe(7)])
    sink = CSVSinkJob("a.csv", inputs=[PicklePipe(3)])
    BytesSinkJob("b", inputs=[PicklePipe(4)])
    network = Network("this", current().jobs)
    assert network.timed == frozenset()
    sink.BLOCK_TIME = True
    assert network.timed == {1, 3, 7}


def test_a_csv_file_with_other_columns_is_not_continued(tmp_path: Path) -> None:
    (tmp_path / "2").mkdir()
    assert CSVSinkJob("x.csv", inputs=[PicklePipe(1)], time=True)._fission_header() == ["time_earliest", "time_latest", "pipe_1"]
    wrong = CSVSinkJob("x.csv", inputs=[PicklePipe(2)], time="yes")  # type: ignore[arg-type]
    assert "time must be True or False, but is 'yes'" in wrong._fission_faults()


def test_outside_of_a_network_it_is_now() -> None:
    before = time.time()
    assert before <= Show().block_time.earliest <= time.time()
    assert not BlockTime(math.nan, math.nan, math.nan, math.nan).known


def test_an_emulated_job_gets_the_present(tmp_path: Path) -> None:
    before = time.time()
    with emulate(alone_jobs.Made(inputs=[PicklePipe(1)], outputs=[PicklePipe(2)]), tmp_path) as job:
        assert before <= job(1)[0] <= time.time()


def replayed(folder: Path) -> list[float]:
    """Return the times that a job reads to which ``old.rec`` is replayed, as fast as it can."""
    made: list[float] = []
    with collecting():
        job = alone_jobs.Made(inputs=[PicklePipe(1)], outputs=[PicklePipe(2)])
        replay = Replay(job, Recording(folder / "old.rec"), folder, speed=None)
        read = value_reader(job.outputs[0])
        replay.run(lambda data: made.extend(map(read, data.payloads)), lambda name, text: None)
    return made


def test_a_replayed_job_gets_the_times_of_the_recording(tmp_path: Path) -> None:
    """As fast as it can, and with two blocks in one entry of the file."""
    with Recorder(tmp_path / "old.rec", "net", [PicklePipe(1)]) as recorder:
        for when, number, count in ((1000.0, 1, 1), (2000.5, 2, 2), (1500.0, 4, 1)):  # times never decrease
            recorder.write(when, 1, 0, number, [pickle.dumps(0)] * count)
    assert replayed(tmp_path) == [1000.0, 2000.5, 2000.5, 2000.5]


def test_a_replayed_job_gets_the_times_that_its_blocks_had(tmp_path: Path) -> None:
    """Small blocks that travel together, and large ones, which travel alone."""
    times = [BlockTime(float(number), number + 0.5, number + 1.0, number + 1.5) for number in range(1, 6)]
    small, large = pickle.dumps(0), [pickle.dumps(0), b"x" * 100_000]
    with Recorder(tmp_path / "old.rec", "net", [PicklePipe(1)]) as recorder:
        recorder.write(1000.0, 1, 0, 1, [small, small], None, b"".join(map(pack, times[:2])))
        recorder.write(1000.0, 1, 0, 3, [small, large, small], None, b"".join(map(pack, times[2:])))
    assert [block.block_time for block in Recording(tmp_path / "old.rec")] == times
    assert replayed(tmp_path) == [1.0, 2.0, 3.0, 4.0, 5.0]


class Tells(PythonJob):
    """Stamps its blocks in the network's time."""

    BLOCK_TIME = True

    def run(self) -> Iterator[Any]:
        self.block_time = self.network_time()
        yield self.block_time.error_s


def test_a_source_may_stamp_in_the_networks_time(tmp_path: Path) -> None:
    before = time.time()
    show = Show(inputs=[PicklePipe(1)])
    assert run_network([Tells(outputs=[PicklePipe(1)]), show], folder=tmp_path)[show] == [0.0]
    assert before <= Show.last[0].earliest <= time.time()


def test_the_time_of_the_network_is_a_float_with_an_error() -> None:
    now = PythonJob.network_time(Show())
    assert type(now - 1.0) is float
    assert pickle.loads(pickle.dumps(now)) == now
    assert pickle.loads(pickle.dumps(NetworkTime(5.0, 0.25))).error_s == 0.25
