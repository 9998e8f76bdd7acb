"""echo, hz and top on running networks, from other processes."""

from __future__ import annotations

import json
import os
import re
import signal
from typing import Any

import pytest

from tests.e2e.support import column, descendants, finish, network, stop
from tests.waiting import CommandLine, Running, eventually

JOBS = """
class Pass(PythonJob):
    def run(self, value):
        return value

class Late(PythonJob):
    HEAD = True
    def run(self, value):
        self.head[7] = value % 2
        return {"value": value}

class Fast(PythonJob):
    def run(self):
        number = 0
        while True:
            number += 1
            yield number

class Big(PythonJob):
    def run(self):
        import numpy
        number = 0
        while True:
            number += 1
            yield numpy.full(200_000, number)
            time.sleep(0.002)

class Quiet(PythonJob):
    def run(self, *values):
        pass

class Waits(PythonJob):
    def run(self, value):
        time.sleep(0.01)

class Ten(PythonJob):
    def run(self):
        while not os.path.exists("go"):
            time.sleep(0.005)
        yield from range(1, 11)
"""
LISTED = """
Endless(outputs=[PicklePipe(101)]),
Pass(inputs=[PicklePipe(101)], outputs=[PicklePipe(102)]),
Late(inputs=[PicklePipe(102)], outputs=[JSONPipe(103)]),
Quiet(inputs=[JSONPipe(103)]),
"""


def simulate(fission: CommandLine, listed: str = LISTED, last: str = "Quiet 4", *options: str) -> Running:
    fission.project(network(JOBS, listed))
    client = fission.start("net", "simulate", *options)
    client.wait_for(f"{last} started", stream="stderr")
    return client


def looked(fission: CommandLine, *words: str, **options: Any) -> Any:
    return fission.run("net", *words, exit_code=0, **options).stdout


def test_echo_shows_blocks_with_their_numbers(fission: CommandLine) -> None:
    client = simulate(fission)
    lines = looked(fission, "echo", "101", "--count", "5").splitlines()
    numbers = [int(re.fullmatch(r"101 #(\d+): \1", line)[1]) for line in lines]
    assert numbers == list(range(numbers[0], numbers[0] + 5))
    rows = [json.loads(line) for line in looked(fission, "echo", "103", "--count", "4", "--json").splitlines()]
    for row in rows:
        assert row["value"] == {"value": row["sqn"]}
        assert (row["pipe"], row["head"]) == (103, row["sqn"] % 2)
    assert re.search(r"^103 #\d+ head 0x01: \{'value': \d+\}$", looked(fission, "echo", "103", "--count", "2"), re.MULTILINE)
    stop(client, fission.root)


def test_echo_until_ctrl_c_and_until_the_end(fission: CommandLine) -> None:
    client = simulate(fission)
    echo = fission.start("net", "echo", "102")
    echo.wait_for("102 #", count=3)
    echo.interrupt()
    echo.wait(exit_code=130)
    other = fission.start("net", "echo", "102")
    other.wait_for("102 #", count=3)
    stop(client, fission.root)
    other.wait(exit_code=0)


def test_echo_has_every_block_of_a_pipe_that_ends(fission: CommandLine) -> None:
    client = simulate(fission, "Ten(outputs=[PicklePipe(1)]), Quiet(inputs=[PicklePipe(1)])", "Quiet 2")
    echo = fission.start("net", "echo", "1")
    eventually(lambda: "pipe 1 has a viewer" in (fission.root / "net/simulation/fission.log").read_text(), 10, "the tap")
    (fission.root / "net/simulation/1/go").touch()
    assert echo.wait(exit_code=0).stdout.splitlines() == ["1 #1 head 0x40: 1", *(f"1 #{number}: {number}" for number in range(2, 11))]
    finish(client, fission.root, 0)


def test_echo_follows_a_failover(fission: CommandLine) -> None:
    client = simulate(fission)
    echo = fission.start("net", "echo", "102")
    echo.wait_for("102 #", count=3)
    pids = [process.pid for process in descendants(client.pid) if os.path.basename(os.readlink(f"/proc/{process.pid}/cwd")) == "2"]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    client.wait_for("Failover", stream="stderr")
    seen = len(echo.stdout.splitlines())
    eventually(lambda: len(echo.stdout.splitlines()) > seen + 20, 10, "blocks of the new incarnation")
    numbers = [int(line.partition("#")[2].partition(":")[0]) for line in echo.stdout.splitlines() if line.startswith("102 #")]
    assert numbers == sorted(set(numbers))  # none twice
    stop(client, fission.root)


def test_hz(fission: CommandLine) -> None:
    client = simulate(fission)
    row = json.loads(looked(fission, "hz", "101", "--for", "2", "--json"))
    assert row["pipe"] == 101
    assert row["missed"] == 0
    assert 20 < row["per_s"] <= 201
    assert 0.0049 < row["mean_s"] < 0.05
    assert row["least_s"] <= row["mean_s"] <= row["most_s"]
    assert row["jitter_s"] >= 0
    text = looked(fission, "hz", "101", "--for", "1.5").splitlines()
    assert re.fullmatch(r"PicklePipe 101: [\d.]+ blocks/s, interval [\d.e-]+ s, jitter [\d.e-]+ s, [\d.e-]+ to [\d.e-]+ s", text[0])
    assert text[-1].startswith("in all: PicklePipe 101: ")
    stop(client, fission.root)


def test_top_once_as_json(fission: CommandLine) -> None:
    listed = """
    Fast(outputs=[PicklePipe(1)]), Waits(inputs=[PicklePipe(1)]), Endless(outputs=[PicklePipe(2)]), Quiet(inputs=[PicklePipe(2)]),
    """
    client = simulate(fission, listed)
    report = json.loads(looked(fission, "top", "--once", "--json"))
    assert report["network"] == "net"
    fast, waits, endless, quiet = report["jobs"]
    assert [row["name"] for row in report["jobs"]] == ["Fast 1", "Waits 2", "Endless 3", "Quiet 4"]
    assert all(row["state"] == "running" and row["node"] == "client" and row["restarts"] == 0 for row in report["jobs"])
    assert all(row["memory_used_bytes"] > 1 << 20 and row["cpu_used_percent"] >= 0 for row in report["jobs"])
    assert fast["blocked"] > 0.8  # its consumer takes 10 ms a block
    assert fast["queue"] > 100
    assert waits["idle"] > 0.8  # it sleeps in `run`
    assert 20 < waits["in_per_s"] <= 101
    assert quiet["starved"] > 0.8
    assert 20 < endless["out_per_s"] <= 201
    assert 0 < endless["latency_s"] < 1
    assert quiet["out_per_s"] == 0
    for row in report["jobs"]:
        assert row["busy"] + row["idle"] + row["starved"] + row["blocked"] == pytest.approx(1, abs=0.01)
    stop(client, fission.root)


def test_top_as_text_names_nodes_and_jobs_that_are_over(fission: CommandLine) -> None:
    listed = (
        "Count(3, outputs=[PicklePipe(1)]), Show(inputs=[PicklePipe(1)]), Endless(outputs=[PicklePipe(2)]), Quiet(inputs=[PicklePipe(2)])"
    )
    client = simulate(fission, listed, "Quiet 4", "--nodes", "2")
    client.wait_for("Show 2 finished", stream="stderr")
    lines = looked(fission, "top", "--once").splitlines()
    assert lines[0].split()[:4] == ["JOB", "NODE", "STATE", "PID"]
    assert re.match(r"Count 1\s+-\s+finished\s+-", lines[1])
    assert re.match(r"Endless 3\s+[12]\s+running\s+\d+\s+[\d.]+\s+\d+\s", lines[3])
    stop(client, fission.root)


def test_top_in_a_terminal(fission: CommandLine) -> None:
    client = simulate(fission)
    top = fission.start("net", "top", "--interval", "0.2", terminal=True)
    top.wait_for(re.compile("Endless 1.*running"), count=2)
    top.interrupt()
    top.wait(exit_code=130)
    other = fission.start("net", "top", "--interval", "0.2", terminal=True)
    other.wait_for(re.compile("Endless 1.*running"))
    stop(client, fission.root)
    assert "the network has ended" in other.wait(exit_code=0).stdout


def test_many_viewers_at_once(fission: CommandLine) -> None:
    client = simulate(fission)
    viewers = [
        fission.start("net", *words) for words in (("echo", "101"), ("echo", "101"), ("hz", "101"), ("echo", "102"), ("top", "--json"))
    ]
    for viewer in viewers:
        viewer.wait_for("10" if viewer.args[1] != "top" else "Endless")
    done = stop(client, fission.root)
    assert "Warning" not in done.stderr
    for viewer in viewers:
        viewer.wait()


@pytest.mark.slow
@pytest.mark.soak
def test_a_viewer_that_never_reads_stops_nothing(fission: CommandLine) -> None:
    """It is frozen with its buffers full: the network continues, and its memory does not grow with the blocks that pass."""
    listed = """
    Fast(outputs=[PicklePipe(1)]), Pass(inputs=[PicklePipe(1)], outputs=[PicklePipe(3)]), Quiet(inputs=[PicklePipe(3)]),
    Endless(outputs=[PicklePipe(2)]), CSVSinkJob("numbers.csv", inputs=[PicklePipe(2)]),
    """
    client = simulate(fission, listed, "CSVSinkJob 5")
    echo = fission.start("net", "echo", "1")
    echo.wait_for("1 #")
    os.kill(echo.pid, signal.SIGSTOP)
    numbers = fission.root / "net/simulation/5/numbers.csv"
    so_far = len(column(numbers))
    eventually(lambda: len(column(numbers)) > so_far + 100, 20, "that the network continues")
    before, after = (json.loads(looked(fission, "top", "--once", "--json", "--interval", "0.5"))["jobs"][0] for _ in range(2))
    assert after["blocks"] > before["blocks"] + 1000
    assert after["memory_used_bytes"] < before["memory_used_bytes"] + (30 << 20)
    os.kill(echo.pid, signal.SIGCONT)

    def gap() -> bool:
        numbers = [int(number) for number in re.findall(r"^1 #(\d+): \d+$", echo.stdout, re.MULTILINE)]
        return numbers[-1] - numbers[0] > len(numbers)

    eventually(gap, 20, "that the viewer continues after what it has missed")
    echo.interrupt()
    assert "blocks were missed" in echo.wait(exit_code=130).stderr
    stop(client, fission.root)


def test_big_blocks_in_shared_memory_are_seen(fission: CommandLine) -> None:
    client = simulate(fission, "Big(outputs=[PicklePipe(1)]), Quiet(inputs=[PicklePipe(1)])", "Quiet 2")
    lines = looked(fission, "echo", "1", "--count", "2").splitlines()
    assert len(lines) == 2
    for line in lines:
        number = re.match(r"1 #(\d+)(?: head 0x40)?: array", line)[1]  # the first block of a network has the reset bit
        assert f"[{number}, {number}, {number}, ..." in line
    stop(client, fission.root)


# -- what goes wrong --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [("echo", "101"), ("hz", "101"), ("top",), ("top", "--once", "--json")])
def test_no_running_network(fission: CommandLine, words: tuple[str, ...]) -> None:
    fission.project(network(JOBS, LISTED))
    done = fission.run("net", *words, exit_code=2)
    assert "Error: the network net is not running on this machine; start it in another terminal: fission net simulate" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("command", ["echo", "hz"])
def test_an_unknown_pipe(fission: CommandLine, command: str) -> None:
    fission.project(network(JOBS, LISTED))
    done = fission.run("net", command, "1011", exit_code=2)
    assert "Error: there is no pipe 1011 in net; did you mean '101'? Pipes: 101, 102, 103" in done.stderr


def test_a_pipe_that_has_ended(fission: CommandLine) -> None:
    listed = (
        "Count(3, outputs=[PicklePipe(1)]), Show(inputs=[PicklePipe(1)]), Endless(outputs=[PicklePipe(2)]), Quiet(inputs=[PicklePipe(2)])"
    )
    client = simulate(fission, listed)
    client.wait_for("Show 2 finished", stream="stderr")
    assert "Error: PicklePipe 1 has ended: Count 1 finished" in fission.run("net", "echo", "1", exit_code=2).stderr
    stop(client, fission.root)


@pytest.mark.parametrize("words", [("hz", "101", "--for", "0"), ("top", "--interval", "nan"), ("echo", "101", "--count", "0")])
def test_wrong_numbers_are_refused(fission: CommandLine, words: tuple[str, ...]) -> None:
    fission.project(network(JOBS, LISTED))
    assert "Invalid value" in fission.run("net", *words, exit_code=2).stderr
