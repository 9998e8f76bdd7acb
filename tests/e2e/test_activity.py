"""What `top` says of how each kind of job spends its time: one network in which all of them do something known."""

from __future__ import annotations

import json

import pytest

from tests.e2e.support import finish, network
from tests.waiting import CommandLine, eventually

JOBS = """
import socket

def compute():  # about 2 ms, without asking for the time: a loop of system calls can keep a kernel from running anything else
    sum(range(100_000))

class Sleeps(PythonJob):  # as a clock does
    def run(self):
        while True:
            time.sleep(0.02)
            yield b"1234"

class Listens(PythonJob):  # as one that waits for a socket or a microphone
    def setup(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
    def run(self):
        return self.socket.recv(100)

class Computes(PythonJob):
    def run(self):
        while True:
            compute()
            yield b"1234"

class Children(PythonJob):  # what it computes, it lets others compute
    def run(self):
        yield b"1234"
        while True:
            subprocess.run([sys.executable, "-c", "sum(range(200_000_000))"], check=True)
            yield b"1234"

class Fast(PythonJob):
    def run(self):
        while True:
            yield b"1234"

class Filter(PythonJob):
    def run(self, value):
        compute()
        return value

class Sink(PythonJob):
    def run(self, value):
        pass

class SleepingSink(PythonJob):  # as one that waits for a disk
    def run(self, value):
        time.sleep(0.01)

class Four(BytesPipe):
    def __init__(self, number):
        super().__init__(number, 4)

class Optional(Four):
    ASYNC = True
    OPTIONAL_DEFAULT = b"0000"

class AsyncSleeps(PythonJob):  # runs without waiting for its input
    def run(self, value):
        time.sleep(0.02)
        return value

class Program(MARVELOJob):
    EXECUTABLE = sys.executable
    DEPENDENCIES = "net/source"

class SleepingProgram(Program):
    PARAMETERS = "sleeps.py"

class ComputingProgram(Program):
    PARAMETERS = "computes.py"

class ProgramThatSleepsWithBlocksWaiting(Program):
    PARAMETERS = "slow.py"

class BlockedProgram(Program):
    PARAMETERS = "writes.py"

class StarvedProgram(Program):
    PARAMETERS = "copies.py"
"""
START = """
import sys, time
ends = {sys.argv[place]: int(sys.argv[place + 1]) for place in range(1, len(sys.argv) - 1) if sys.argv[place] in ("-i", "-o")}
source = open(ends["-i"], "rb", buffering=0) if "-i" in ends else None
target = open(ends["-o"], "wb", buffering=0) if "-o" in ends else None
"""
PROGRAMS = {
    "sleeps.py": "while True:\n    target.write(b'1234')\n    time.sleep(0.02)\n",
    "computes.py": """
while block := source.read(4):
    sum(range(100_000))
    target.write(block)
""",
    "slow.py": "while block := source.read(4):\n    time.sleep(0.01)\n",
    "writes.py": "while True:\n    target.write(b'1234' * 10000)\n",
    "copies.py": "while block := source.read(4):\n    target.write(block)\n",
}
#: Each job of the network, and what it does most of the time.
LISTED = (
    ("Sleeps(outputs=[Four(1)])", "idle"),
    ("Sink(inputs=[Four(1)])", "starved"),
    ("Listens(outputs=[Four(2)])", "idle"),
    ("Sink(inputs=[Four(2)])", "starved"),
    ("Computes(outputs=[Four(3)])", "busy"),
    ("Sink(inputs=[Four(3)])", "starved"),
    ("Children(outputs=[Four(4)])", "busy"),
    ("Sink(inputs=[Four(4)])", "starved"),
    ("Fast(outputs=[Four(5)])", "blocked"),
    ("Filter(inputs=[Four(5)], outputs=[Four(6)])", "busy"),
    ("Sink(inputs=[Four(6)])", "starved"),
    ("Fast(outputs=[Four(7)])", "blocked"),
    ("SleepingSink(inputs=[Four(7)])", "idle"),
    ("Sleeps(outputs=[Optional(8)])", "idle"),
    ("AsyncSleeps(inputs=[Optional(8)], outputs=[Four(9)])", "idle"),
    ("Sink(inputs=[Four(9)])", "starved"),
    ("SleepingProgram(outputs=[Four(10)])", "idle"),
    ("StarvedProgram(inputs=[Four(10)], outputs=[Four(11)])", "starved"),
    ("Sink(inputs=[Four(11)])", "starved"),
    ("Fast(outputs=[Four(12)])", "blocked"),
    ("ComputingProgram(inputs=[Four(12)], outputs=[Four(13)])", "busy"),
    ("Sink(inputs=[Four(13)])", "starved"),
    ("Fast(outputs=[Four(14)])", "blocked"),
    ("ProgramThatSleepsWithBlocksWaiting(inputs=[Four(14)])", "idle"),
    ("BlockedProgram(outputs=[Four(15)])", "blocked"),
    ("SleepingSink(inputs=[Four(15)])", "idle"),
    ("InteractiveJob(outputs=[PicklePipe(16)])", "idle"),
    ("Sink(inputs=[PicklePipe(16)])", "starved"),
)


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.alone  # it keeps both cores of a small machine busy, and other processes wait for seconds
@pytest.mark.timeout(400)  # 28 processes and their programs on a busy machine
def test_each_kind_of_job_is_what_it_is(fission: CommandLine) -> None:
    files = network(JOBS, ",\n".join(text for text, _ in LISTED))
    fission.project(files | {f"net/source/{name}": START + text for name, text in PROGRAMS.items()})
    client = fission.start("net", "simulate")
    client.wait_for(f"Sink {len(LISTED)} started", 120, stream="stderr")
    expected = {f"{text.partition('(')[0]} {number}": word for number, (text, word) in enumerate(LISTED, 1)}
    found: list[dict[str, object]] = []

    def right() -> bool:
        """Look again: the windows fill up in the first moments."""
        report = json.loads(fission.run("net", "top", "--once", "--json", "--interval", "2", exit_code=0, deadline_s=120).stdout)
        found[:] = report["jobs"]
        return {row["name"]: row["mostly"] for row in report["jobs"]} == expected

    def wrong() -> str:
        return "each job is what it is; these are not:\n" + "\n".join(
            str(row) for row in found if row["mostly"] != expected[str(row["name"])]
        )

    eventually(right, 150, wrong)
    for row in found:
        assert sum(float(str(row[word])) for word in ("busy", "idle", "starved", "blocked")) == pytest.approx(1, abs=0.01)
    client.interrupt()
    finish(client, fission.root, 130)
