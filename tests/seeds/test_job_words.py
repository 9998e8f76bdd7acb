"""The words with which commands name a job: its id, its name, its class."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator

import pytest

from tests.waiting import CommandLine, eventually

CONFIG = """\
import time

from fission.core.jobs import InteractiveJob, PythonJob
from fission.core.pipes import OptionalPicklePipe, PicklePipe


class Mic(PythonJob):
    CHECKPOINT = 1

    def setup(self):
        self.number = 0

    def run(self):
        time.sleep(0.01)
        self.number += 1
        return self.number


class Beamformer(PythonJob):
    def run(self, word, first, second):
        print("beam", word, first + second)


JOBS = [
    InteractiveJob(outputs=[OptionalPicklePipe(1)]),
    Mic(outputs=[PicklePipe(2)]),
    Mic(outputs=[PicklePipe(3)]),
    Beamformer(inputs=[OptionalPicklePipe(1), PicklePipe(2), PicklePipe(3)]),
]
"""
WORDS = ["4", "Beamformer 4", "Beamformer"]
WRONG = [
    ("Mic", "2 jobs of room are called 'Mic'; name one by its id: 2 (Mic 2), 3 (Mic 3)"),
    ("Beamfromer", "there is no job 'Beamfromer' in room; did you mean 'Beamformer'? Jobs: InteractiveJob 1, Mic 2, Mic 3, Beamformer 4"),
]
Start = Callable[..., None]


@pytest.fixture
def room(fission: CommandLine) -> Iterator[Start]:
    """Starts the network; it ends here."""
    fission.project({"room/config.py": CONFIG})
    clients = []

    def start(*options: str) -> None:
        clients.append(fission.start("room", "simulate", *options))
        clients[-1].wait_for("[Beamformer 4] beam", count=3)

    yield start
    for client in clients:
        client.interrupt()
        client.wait(exit_code=130)


def test_debug(fission: CommandLine, room: Start) -> None:
    room()
    views = [fission.start("room", "debug", "--job", word) for word in WORDS]
    for view in views:
        view.wait_for("[Beamformer 4] beam", count=2)
        view.interrupt()
        assert "[Mic" not in view.wait(exit_code=130).stdout
    for word, message in WRONG:
        assert fission.run("room", "debug", "--job", word, exit_code=2).stderr == f"Error: {message}\n"


def test_send(fission: CommandLine, room: Start) -> None:
    room()
    view = fission.start("room", "debug")
    for number, word in enumerate(("1", "InteractiveJob 1", "InteractiveJob")):
        fission.run("room", "send", word, "--line", f"word{number}", exit_code=0)
        view.wait_for(f"[Beamformer 4] beam word{number}")
    for word, message in WRONG:
        assert fission.run("room", "send", word, "--line", "x", exit_code=2).stderr == f"Error: {message}\n"
    assert "is not an InteractiveJob of room" in fission.run("room", "send", "Beamformer", "--line", "x", exit_code=2).stderr
    view.interrupt()
    view.wait(exit_code=130)


def test_record_and_replay(fission: CommandLine, room: Start) -> None:
    room()
    fission.run("room", "record", "2", "3", "--out", "some.rec", "--count", "4", exit_code=0)
    for word in WORDS:
        done = fission.run("room", "replay", "some.rec", "--job", word, "--speed", "max", exit_code=0)
        assert "Beamformer 4: 4 blocks were fed in" in done.stderr
    for word, message in WRONG:
        assert f"Error: {message}\n" in fission.run("room", "replay", "some.rec", "--job", word, exit_code=2).stderr


def test_kill(fission: CommandLine, room: Start) -> None:
    room("--kill", "job:Beamformer@0.2", "--for", "60")
    for word, message in WRONG:
        assert fission.run("room", "simulate", "--kill", f"job:{word}@1", exit_code=2).stderr == f"Error: {message}\n"

    def restarts() -> dict[str, int]:
        rows = json.loads(fission.run("room", "status", "--json", exit_code=0).stdout)["jobs"]
        return {row["name"]: row["restarts"] for row in rows}

    eventually(lambda: restarts()["Beamformer 4"] == 1, 30, lambda: f"a restart: {restarts()}")
    assert restarts() == {"InteractiveJob 1": 0, "Mic 2": 0, "Mic 3": 0, "Beamformer 4": 1}


def test_completion(fission: CommandLine, room: Start) -> None:
    env = {"_FISSION_COMPLETE": "bash_complete", "COMP_WORDS": "fission room debug --job ", "COMP_CWORD": "4"}
    offered = fission.run(env=env, exit_code=0).stdout.split()
    assert offered == ["plain,1", "plain,2", "plain,3", "plain,4", "plain,InteractiveJob", "plain,Beamformer"]


NAMED = """
class Shown(Beamformer):
    def __str__(self):
        return "what its author prints"

    __repr__ = __str__

PIPES = [OptionalPicklePipe(11), PicklePipe(12), PicklePipe(13)]
JOBS = [
    InteractiveJob(outputs=[PIPES[0]], name="Gain"),
    Mic(outputs=[PIPES[1]], name="left mic"),
    Mic(outputs=[PIPES[2]]),
    Shown(inputs=PIPES, name="Beam"),
]
"""


def test_a_given_name_is_what_commands_show_and_take(fission: CommandLine) -> None:
    """Even if the job's class prints itself in its own way."""
    fission.project({"room/config.py": CONFIG[: CONFIG.index("JOBS = [")] + NAMED})
    found = json.loads(fission.run("room", "allocate", "--json", exit_code=0).stdout)
    names = [job["name"] for job in found["jobs"]]
    assert (names[0], names[1], names[3]) == ("Gain", "left mic", "Beam")
    assert re.search(r"^Beam +client ", fission.run("room", "allocate", exit_code=0).stdout, re.MULTILINE)
    assert all(name in fission.run("room", "graph", exit_code=0).stdout for name in names)
    client = fission.start("room", "simulate")
    client.wait_for("[Beam] beam", count=2)
    view = fission.start("room", "debug", "--job", "Beam")
    view.wait_for("[Beam] beam")
    view.interrupt()
    view.wait(exit_code=130)
    assert "job 2 is not an InteractiveJob of room" in fission.run("room", "send", "left mic", "--line", "x", exit_code=2).stderr
    fission.run("room", "send", "Gain", "--line", "loud", exit_code=0)
    client.wait_for("[Beam] beam loud")
    assert "Jobs: Gain, left mic, " in fission.run("room", "debug", "--job", "Bass", exit_code=2).stderr
    client.interrupt()
    client.wait(exit_code=130)
