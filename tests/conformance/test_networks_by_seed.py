"""Seeds of random networks of all documented features: see `tests.conformance.random_networks`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from fractions import Fraction
from typing import Any
from unittest import mock

import pytest

from fission.core import rates
from fission.protocol.output import Output
from fission.protocol.release import ReleaseRule
from fission.runtime.executable_host import ExecutableHost
from tests.conformance import random_in_threads
from tests.conformance.random_networks import Node, Plan, main, outcome, plan
from tests.e2e.support import column, finish, network
from tests.waiting import CommandLine

CHUNK = 10
SOAK = [pytest.mark.slow, pytest.mark.soak]
pytestmark = pytest.mark.usefixtures("own_modules")


@pytest.fixture
def own_modules() -> Any:
    """Forget the modules that a project's network has imported: the next one has others."""
    import sys

    before, path = set(sys.modules), list(sys.path)
    yield
    for name in set(sys.modules) - before:
        if name == "net" or name.startswith("net."):
            del sys.modules[name]
    sys.path[:] = path


def chunks(quick: int, seeds: int) -> list[Any]:
    """Return the first seeds of chunks; those of the quick round first."""
    return [pytest.param(first, marks=[] if first < quick else SOAK) for first in range(0, seeds, CHUNK)]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("first", chunks(20, 320))
def test_each_sink_gets_what_a_calculation_gives(first: int) -> None:
    for seed in range(first, first + CHUNK):
        assert not (wrong := outcome(seed)), wrong


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kills", [False, True], ids=["quiet", "kills"])
@pytest.mark.parametrize("first", [pytest.param(first, marks=[] if first < 2 else SOAK) for first in range(0, 16, 2)])
def test_the_same_in_real_processes(first: int, kills: bool) -> None:
    for seed in range(first, first + 2):
        assert not (wrong := outcome(seed, real=True, kills=kills)), wrong


def test_a_seed_is_the_same_network_each_time() -> None:
    assert str(plan(7)) == str(plan(7)) != str(plan(8))


# -- rules that are broken on purpose: seeds stall, and say where


def no_periods() -> AbstractContextManager[Any]:
    """Let windows be too small for a join.

    It gathers blocks on one way until the other has its groups.
    """
    return mock.patch.object(rates, "_periods", return_value={})


def deaf_programs() -> AbstractContextManager[Any]:
    """Let an executable's host ignore pressure."""
    return mock.patch.object(ExecutableHost, "_answer_pressed", return_value=None)


def no_pressure() -> AbstractContextManager[Any]:
    """Do not pass pressure on."""
    return mock.patch.object(Output, "press", return_value=None)


def released_as_read() -> AbstractContextManager[Any]:
    """Release the inputs of a job that holds snapshots back only at its end."""
    return mock.patch.object(ReleaseRule, "finished_upto", return_value=0)


def stalls(seed: int) -> bool:
    return "stalled" in random_in_threads.run(plan(seed), 4.0)


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.timeout(300)
# The seeds from which on each rule is broken: programs get their blocks in batches, and few networks need their answer to a producer.
@pytest.mark.parametrize(("broken", "first"), [(deaf_programs, 110), (no_pressure, 0), (released_as_read, 0)])
def test_a_broken_rule_makes_a_seed_stall(broken: Callable[[], AbstractContextManager[Any]], first: int) -> None:
    with broken():
        assert any(stalls(seed) for seed in range(first, first + 60))


def lumps() -> Plan:
    """Return a network in which one way gathers three blocks and sends six.

    The other way passes large blocks one by one.
    """
    source = Node("source", [], [], Fraction(1), 24, 80_000, None, 0)
    twice = Node("twice", [(0, 3)], [], Fraction(1, 2), None, 80_000, None, 0)
    join = Node("python", [(0, 1), (1, 2)], [], Fraction(1), None, 0, None, 0)
    sink = Node("sink", [(2, 1)], [], Fraction(1), None, 0, None, 0)
    return Plan(0, [source, twice, join, sink], 8, 200_000)


def test_a_window_holds_a_period_of_paths_that_meet_again() -> None:
    assert not random_in_threads.run(lumps())
    with no_periods():
        assert "stalled" in random_in_threads.run(lumps(), 2.0)


def test_a_stalled_network_says_which_jobs_wait(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random_in_threads.run, "__defaults__", (5.0,))
    with released_as_read():
        assert main(["--first", "7", "--seeds", "1"]) == 1
    printed = capsys.readouterr().out
    assert "stalled" in printed
    assert "in finish" in printed
    assert "again: python -m tests.conformance.random_networks --first 7 --seeds 1" in printed


# -- the two networks that were found first

BIG = """
import numpy as np

class Big(PythonJob):
    CHECKPOINT = 10
    def setup(self, *args, **kwargs):
        self.number = 0
    def run(self):
        self.number += 1
        if self.number == 360:
            self.finish()
        return self.values(self.number)

class Listed(Big):
    def values(self, number):
        return [number, np.full(60000, number)]

class Two(Big):
    def values(self, number):
        time.sleep(0.001)
        return np.full(60000, number), number

class Small(PythonJob):
    def run(self, value):
        return value[0]

class Cat(ExecutableJob):
    EXECUTABLE = "sh"
    PARAMETERS = "-c 'exec cat <$2 >$4' sh"

class Keeps(PythonJob):
    CHECKPOINT = 1000
    def run(self, value):
        return int(np.max(value))

class Often(Keeps):
    CHECKPOINT = 100

class Join(PythonJob):
    def run(self, arrays, numbers):
        return np.full(60000, numbers[-1])

class Twos(PicklePipe):
    BLOCK_COUNT = 2

class Threes(PicklePipe):
    BLOCK_COUNT = 3

class Fives(PicklePipe):
    BLOCK_COUNT = 5

class Last(PythonJob):
    def run(self, values):
        return values[-1]
"""
FOUND = {
    "big blocks, an executable, a snapshot and a group": (
        """
        Listed(outputs=[PicklePipe(1)]), Small(inputs=[PicklePipe(1)], outputs=[JSONPipe(2)]),
        Cat(inputs=[JSONPipe(2)], outputs=[JSONPipe(3)]),
        Keeps(inputs=[JSONPipe(3)], outputs=[Threes(4)]), Last(inputs=[Threes(4)], outputs=[PicklePipe(5)]),
        CSVSinkJob("r.csv", inputs=[PicklePipe(5)]),
        """,
        6,
        list(range(3, 361, 3)),
    ),
    "two outputs that meet again over groups": (
        """
        Two(outputs=[Fives(1), Fives(2)]), Join(inputs=[Fives(1), Fives(2)], outputs=[PicklePipe(3)]),
        Often(inputs=[PicklePipe(3)], outputs=[Twos(4)]), Last(inputs=[Twos(4)], outputs=[PicklePipe(5)]),
        CSVSinkJob("r.csv", inputs=[PicklePipe(5)]),
        """,
        5,
        list(range(10, 361, 10)),
    ),
}


@pytest.mark.parametrize("name", FOUND)
def test_networks_that_once_stalled_finish(fission: CommandLine, name: str) -> None:
    listed, sink, wanted = FOUND[name]
    fission.project(network(BIG, listed))
    client = fission.start("net", "simulate")
    client.end_input()
    finish(client, fission.root, 0)
    assert column(fission.root / f"net/simulation/{sink}/r.csv") == wanted
