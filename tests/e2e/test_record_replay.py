"""record and replay: a running network is recorded, and one of its jobs runs on the recording."""

from __future__ import annotations

import json
import pickle
import re
import resource
import signal
import time
from pathlib import Path

import pytest

from fission.core.pipes import PicklePipe
from fission.recordings import Recorder, read_recording
from tests.e2e.support import GONE_S, finish, network, remains, rows, stop
from tests.waiting import CommandLine, Running, eventually

JOBS = """
class Go(PythonJob):
    def __init__(self, limit, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.limit = limit
    def run(self):
        while not os.path.exists("go"):
            time.sleep(0.005)
        yield from range(1, self.limit + 1)

class Double(PythonJob):
    def run(self, value):
        return 2 * value

class Join(PythonJob):
    HEAD = True
    def run(self, first, gain, second):
        self.head[7] = first % 2
        print("joins", first, second)
        return first + second, [first, gain, second]

class Gain(OptionalPicklePipe):
    OPTIONAL_DEFAULT = "+"

class Three(PicklePipe):
    BLOCK_COUNT = 3

class Sum(PythonJob):
    def run(self, values):
        return sum(values)

class Quiet(PythonJob):
    def run(self, *values):
        pass

class Raises(PythonJob):
    def run(self, value):
        return 1 / (5 - value)

class Pair(PythonJob):
    def run(self):
        number = 0
        while True:
            number += 1
            yield number, -number, 10 * number
            time.sleep(0.005)
"""
CHAIN = "Go({limit}, outputs=[PicklePipe(1)]), Double(inputs=[PicklePipe(1)], outputs=[PicklePipe(2)]), Quiet(inputs=[PicklePipe(2)])"
JOIN = """
Pair(outputs=[PicklePipe(1), PicklePipe(2), Three(6)]),
InteractiveJob(outputs=[Gain(3)]),
Join(inputs=[PicklePipe(1), Gain(3), PicklePipe(2)], outputs=[PicklePipe(4), PicklePipe(5)]),
Quiet(inputs=[PicklePipe(4), PicklePipe(5)]),
Sum(inputs=[Three(6)], outputs=[PicklePipe(7)]),
Raises(inputs=[PicklePipe(7)], outputs=[PicklePipe(8)]),
Quiet(inputs=[PicklePipe(8)]),
"""


def looked_at(fission: CommandLine, *pipes: int) -> None:
    log = fission.root / "net/simulation/fission.log"
    eventually(lambda: all(f"pipe {pipe} has a viewer" in log.read_text() for pipe in pipes), 10, "the recorder's look")


def recorded(fission: CommandLine, limit: int, *options: str) -> tuple[Running, Running]:
    """The chain and its recorder, as soon as all runs; ``go`` starts it."""
    fission.project(network(JOBS, CHAIN.format(limit=limit)))
    client = fission.start("net", "simulate")
    client.wait_for("Quiet 3 started", stream="stderr")
    recorder = fission.start("net", "record", "1", "2", "--out", "chain.rec", *options)
    looked_at(fission, 1, 2)
    (fission.root / "net/simulation/1/go").touch()
    return client, recorder


def recorded_without_end(fission: CommandLine) -> tuple[Running, Running, Path]:
    """A network that does not end, its recorder, and the file as soon as it has blocks."""
    fission.project(network(JOBS, "Endless(outputs=[PicklePipe(1)]), Quiet(inputs=[PicklePipe(1)])"))
    client = fission.start("net", "simulate")
    client.wait_for("Quiet 2 started", stream="stderr")
    recorder = fission.start("net", "record", "1", "--out", "some.rec")
    path = fission.root / "some.rec"
    eventually(lambda: path.exists() and path.stat().st_size > 2000, 10, "blocks in the file")
    return client, recorder, path


def blocks(path: Path, pipe: int) -> list[tuple[int, int, object]]:
    return [(block.sqn, block.head, block.payload) for block in read_recording(path) if block.pipe == pipe]


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.timeout(180)
def test_a_million_blocks_recorded_and_replayed_are_equal(fission: CommandLine) -> None:
    limit = 1_000_000
    client, recorder = recorded(fission, limit)
    done = recorder.wait(90, exit_code=0)
    assert "Failover" not in finish(client, fission.root, 0).stderr  # all that goes through the client does not keep it from its work
    assert re.fullmatch(r"recorded 2000000 blocks into chain\.rec, \d+\.\d MB\n", done.stdout), done
    recording = fission.root / "chain.rec"
    done = fission.run("net", "replay", "chain.rec", "--job", "2", "--speed", "max", "--out", "new.rec", exit_code=0, deadline_s=90)
    assert f"Double 2: {limit} blocks were fed in, {limit} output blocks were recorded into new.rec" in done.stderr
    expected = blocks(recording, 2)
    assert [sqn for sqn, _, _ in expected] == list(range(1, limit + 1))
    assert blocks(fission.root / "new.rec", 2) == expected
    values = (block.value for block in read_recording(fission.root / "new.rec"))
    assert all(value == 2 * number for number, value in enumerate(values, 1))


def test_ctrl_c_leaves_a_whole_recording(fission: CommandLine) -> None:
    client, recorder, path = recorded_without_end(fission)
    recorder.interrupt()
    done = recorder.wait(exit_code=130)
    count = int(re.match(r"recorded (\d+) blocks into some\.rec", done.stdout)[1])
    recording = read_recording(path)
    numbers = [block.sqn for block in recording]
    assert recording.problem == ""
    assert len(numbers) == count > 10
    assert numbers == list(range(numbers[0], numbers[0] + count))
    stop(client, fission.root)


def test_after_a_kill_complete_entries_can_be_read(fission: CommandLine) -> None:
    client, recorder, _ = recorded_without_end(fission)
    recorder.process.send_signal(signal.SIGKILL)
    recorder.wait(exit_code=-9)
    stop(client, fission.root)
    done = fission.run("net", "replay", "some.rec", "--job", "Quiet", "--speed", "max", exit_code=0)
    assert "Warning: some.rec has no end: its writer was killed, or is still writing" in done.stderr
    assert int(re.search(r"Quiet 2: (\d+) blocks were fed in", done.stderr)[1]) > 10


def test_a_recording_has_the_times_of_the_blocks_and_replay_gives_them_again(fission: CommandLine) -> None:
    """Small blocks that travel together, and arrays in shared memory."""
    numpy = """
import numpy

class Twice(Go):
    def run(self):
        for number in super().run():
            yield number, numpy.full(100_000, number)

class First(PythonJob):
    def run(self, array):
        return int(array[0])
"""
    listed = """
Twice(40, outputs=[PicklePipe(1), PicklePipe(2)]),
First(inputs=[PicklePipe(2)], outputs=[PicklePipe(3)]),
CSVSinkJob("small.csv", inputs=[PicklePipe(1)], time=True),
CSVSinkJob("large.csv", inputs=[PicklePipe(3)], time=True),
"""
    fission.project(network(JOBS + numpy, listed))
    client = fission.start("net", "simulate")
    client.wait_for("CSVSinkJob 4 started", stream="stderr")
    recorder = fission.start("net", "record", "1", "2", "--out", "chain.rec")
    looked_at(fission, 1, 2)
    (fission.root / "net/simulation/1/go").touch()
    recorder.wait(exit_code=0)
    finish(client, fission.root, 0)
    written = [rows(fission.root / f"net/simulation/{name}.csv")[1:] for name in ("3/small", "4/large")]
    assert [row[:2] for row in written[0]] == [row[:2] for row in written[1]]
    times = [(float(first), float(last)) for first, last, _ in written[0]]
    assert len(times) == 40
    recording = list(read_recording(fission.root / "chain.rec"))
    for pipe in (1, 2):
        assert [block.block_time[:2] for block in recording if block.pipe == pipe and block.block_time] == times
    fission.run("net", "replay", "chain.rec", "--job", "3", "--speed", "max", exit_code=0)
    again = [path for path in fission.root.rglob("small.csv") if "simulation" not in str(path)]
    assert [rows(path) for path in again] == [rows(fission.root / "net/simulation/3/small.csv")]


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_a_network_that_is_killed_may_cut_the_recording_and_one_that_is_stopped_does_not(fission: CommandLine, how: str) -> None:
    client, recorder, path = recorded_without_end(fission)
    if how == "stopped":
        stop(client, fission.root)
    else:
        client.process.kill()
        client.wait()
    done = recorder.wait(exit_code=0)
    killed = [1] if how == "killed" else []
    assert ("the end of pipe 1 was not seen: last blocks may be missing" in done.stderr) == bool(killed)
    recording = read_recording(path)
    assert sum(1 for _ in recording) > 10
    assert (recording.problem, list(recording.cut)) == ("", killed)
    path = fission.root / "net/simulation/running.json"
    path.unlink(missing_ok=True)  # a killed client leaves it
    eventually(lambda: not remains(fission.root), GONE_S, lambda: "; ".join(remains(fission.root)))


def test_a_file_that_may_not_grow(fission: CommandLine) -> None:
    """As a full disk: the limit of the size of files is met in the middle."""
    client, recorder = recorded(fission, 10**7)
    pid = recorder.pid
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (3_000_000, resource.RLIM_INFINITY))
    done = recorder.wait(60, exit_code=1)
    assert "Error: chain.rec cannot be written: File too large; it is intact up to the last recorded block" in done.stderr
    path = fission.root / "chain.rec"
    assert 2_000_000 < path.stat().st_size <= 3_000_000
    recording = read_recording(path)
    assert sum(1 for _ in recording) > 50_000
    assert "has no end" in recording.problem
    stop(client, fission.root)


def test_ends_by_count_and_by_time(fission: CommandLine) -> None:
    client, recorder = recorded(fission, 100, "--count", "30", "--json")
    done = recorder.wait(exit_code=0)
    report = json.loads(done.stdout)
    path = fission.root / "chain.rec"
    assert report == {"file": "chain.rec", "blocks": 30, "bytes": path.stat().st_size, "missed": {"1": 0, "2": 0}, "cut": [], "error": ""}
    assert sum(1 for _ in read_recording(path)) == 30
    finish(client, fission.root, 0)
    fission.project(network(JOBS, JOIN), name="other")
    client = fission.start("net", "simulate", env={"DISPLAY": None})
    client.wait_for("Quiet 7 started", stream="stderr")
    assert fission.run("net", "record", "1", "--for", "0.5", "--out", "one.rec", exit_code=0).stdout.startswith("recorded ")
    stop(client, fission.root)


def test_a_join_with_an_optional_input_is_replayed(fission: CommandLine) -> None:
    fission.project(network(JOBS, JOIN))
    client = fission.start("net", "simulate", env={"DISPLAY": None})
    client.wait_for("Quiet 7 started", stream="stderr")
    recorder = fission.start("net", "record", "1", "2", "3", "6", "--out", "join.rec")
    looked_at(fission, 1, 2, 3, 6)
    so_far = client.stdout.count("joins")
    client.wait_for("joins", count=so_far + 20)
    client.send("*\n")
    client.wait_for("joins", count=so_far + 60)
    recorder.interrupt()
    recorder.wait(exit_code=130)
    stop(client, fission.root)
    done = fission.run("net", "replay", "join.rec", "--job", "3", "--speed", "max", "--json", exit_code=0)
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    sums = {row["sqn"]: row for row in rows if row["pipe"] == 4}
    lists = [row["value"] for row in rows if row["pipe"] == 5]
    assert len(sums) == len(lists) > 20
    assert all(row["value"] == 0 and row["head"] == sqn % 2 for sqn, row in sums.items())
    assert [value[1] for value in lists] == sorted((value[1] for value in lists), reverse=True)  # "+" and from some block on "*"
    assert {value[1] for value in lists} == {"+", "*"}
    assert "joins" in done.stderr  # what the job prints does not get into the JSON
    # blocks at once: whole compute blocks of what was recorded
    done = fission.run("net", "replay", "join.rec", "--job", "Sum", "--speed", "max", exit_code=0)
    for line in done.stdout.splitlines():
        sqn, value = map(int, re.match(r"7 #(\d+): (\d+)$", line).groups())
        assert value == 10 * 3 * (3 * sqn - 1)


def test_at_recorded_speed_and_faster(fission: CommandLine) -> None:
    fission.project(network(JOBS, "Endless(outputs=[PicklePipe(1)]), Quiet(inputs=[PicklePipe(1)])"))

    class Described:
        id, BLOCK_SIZE, BLOCK_COUNT = 1, "PKL", 1

    with Recorder(fission.root / "slow.rec", "net", [Described()]) as recorder:  # type: ignore[list-item]
        for number in range(1, 4):
            recorder.write(1000.0 + number, 1, 0, number, [b"\x80\x05K\x01."])
    began = time.monotonic()
    fission.run("net", "replay", "slow.rec", "--job", "2", exit_code=0)
    as_recorded = time.monotonic() - began
    began = time.monotonic()
    fission.run("net", "replay", "slow.rec", "--job", "2", "--speed", "20", exit_code=0)
    assert as_recorded > 2
    assert time.monotonic() - began < as_recorded


@pytest.fixture
def chain(fission: CommandLine) -> CommandLine:
    client, recorder = recorded(fission, 20)
    recorder.wait(exit_code=0)
    finish(client, fission.root, 0)
    return fission


def test_numbering_that_began_again_is_replayed_so(chain: CommandLine) -> None:
    with Recorder(chain.root / "two.rec", "net", [PicklePipe(1)]) as recorder:
        for generation in (0, 1):
            for sqn in range(1, 4):
                recorder.write(generation + sqn / 10, 1, generation, sqn, [pickle.dumps(10 * generation + sqn)])
    done = chain.run("net", "replay", "two.rec", "--job", "2", "--speed", "max", exit_code=0)
    assert done.stdout.splitlines() == ["2 #1: 2", "2 #2: 4", "2 #3: 6", "2 #1: 22", "2 #2: 24", "2 #3: 26"]


# -- what goes wrong --------------------------------------------------------------------------------------------------


def test_bad_replays(chain: CommandLine) -> None:
    bad = {
        ("chain.rec", "--job", "9"): "there is no job '9' in net. Jobs: Go 1, Double 2, Quiet 3",
        ("chain.rec", "--job", "Dubble"): "there is no job 'Dubble' in net; did you mean 'Double'?",
        ("chain.rec", "--job", "1"): "Go 1 is a source: nothing can be fed to it",
        ("none.rec", "--job", "2"): "none.rec cannot be read: No such file",
        ("manage.py", "--job", "2"): "manage.py is not a FISSION recording",
        ("chain.rec", "--job", "2", "--speed", "fast"): "must be a number above 0",
        ("chain.rec", "--job", "2", "--out", "chain.rec"): "chain.rec exists already",
    }
    for words, message in bad.items():
        done = chain.run("net", "replay", *words, exit_code=2)
        assert message in done.stderr, done
        assert "Traceback" not in done.stderr
    data = (chain.root / "chain.rec").read_bytes()
    (chain.root / "other.rec").write_bytes(data[:8] + b"\x03" + data[9:])
    assert "is a recording of version 3" in chain.run("net", "replay", "other.rec", "--job", "2", exit_code=2).stderr
    # With the first entry cut no block is fed, with the last one cut all others are: both are reported.
    header = 16 + int.from_bytes(data[12:16], "little")
    for cut in (header + 20, len(data) - 1):
        (chain.root / "cut.rec").write_bytes(data[:cut])
        done = chain.run("net", "replay", "cut.rec", "--job", "2", exit_code=0)
        assert re.search(r"Warning: cut\.rec is cut off at byte \d+; the blocks before that are intact", done.stderr)
        assert f"Double 2: {0 if cut < len(data) - 1 else 20} blocks were fed in" in done.stderr


def test_a_recording_without_the_input_that_the_job_waits_for(chain: CommandLine) -> None:
    config = chain.root / "net/config.py"
    config.write_text(config.read_text().replace("PicklePipe(2)", "PicklePipe(9)"))
    done = chain.run("net", "replay", "chain.rec", "--job", "3", exit_code=2)
    assert "chain.rec lacks PicklePipe 9, which Quiet 3 waits for; it has the pipes 1, 2" in done.stderr


def test_a_job_that_raises(chain: CommandLine) -> None:
    config = chain.root / "net/config.py"
    config.write_text(config.read_text().replace("Double(", "Raises("))
    done = chain.run("net", "replay", "chain.rec", "--job", "2", "--speed", "max", exit_code=1)
    assert "Raises 2 failed:" in done.stderr
    assert "Warning" not in done.stderr  # the recording is whole, though not all of it was read
    assert "return 1 / (5 - value)" in done.stderr
    assert "ZeroDivisionError" in done.stderr
    assert "2 #1 head 0x40: 0.25" in done.stdout


def test_bad_records(fission: CommandLine) -> None:
    fission.project(network(JOBS, CHAIN.format(limit=5)))
    assert "is not running on this machine" in fission.run("net", "record", "1", "--out", "x.rec", exit_code=2).stderr
    assert not (fission.root / "x.rec").exists()
    assert "there is no pipe 3 in net" in fission.run("net", "record", "3", "--out", "x.rec", exit_code=2).stderr
    client = fission.start("net", "simulate")
    client.wait_for("Quiet 3 started", stream="stderr")
    (fission.root / "x.rec").touch()
    assert "x.rec exists already" in fission.run("net", "record", "1", "--out", "x.rec", exit_code=2).stderr
    assert "cannot be written" in fission.run("net", "record", "1", "--out", "no/x.rec", exit_code=2).stderr
    stop(client, fission.root)
