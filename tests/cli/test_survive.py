"""check --survive and --pairs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Outcome

CONFIG = """\
from fission.core.jobs import CSVSinkJob, PythonJob
from fission.core.nodes import BaseNode, MultiNode
from fission.core.pipes import PicklePipe

class Board(BaseNode):
    max_jobs = {room}

class Mic(Board):
    GROUPS = ["MIC", "ALL"]

class Source(PythonJob):
    GROUPS = ["MIC"]
    def run(self):
        yield 1

class Join(PythonJob):
    PRIORITY = {priority}
    def run(self, *values):
        return values[0]

JOBS = [
    Source(outputs=[PicklePipe(1)]),
    Source(outputs=[PicklePipe(2)]),
    Join(inputs=[PicklePipe(1), PicklePipe(2)], outputs=[PicklePipe(3)]),
    CSVSinkJob("x.csv", inputs=[PicklePipe(3)]),
]
NODES = [{nodes}]
"""
THREE = "Mic('10.0.0.1', 'a'), Mic('10.0.0.2', 'b'), Board('10.0.0.3', 'c')"
Cli = Callable[..., Outcome]


def write(root: Path, nodes: str = THREE, room: int = 2, priority: int = 0, extra: str = "") -> None:
    (root / "net/config.py").write_text(CONFIG.format(nodes=nodes, room=room, priority=priority) + extra)


def losses(cli: Cli, *options: str, code: int) -> list[tuple[list[str], list[str], dict[str, str]]]:
    done = cli("net", "check", "--survive", "--json", *options)
    assert done.code == code, done.err
    return [(entry["lost"], sorted(entry["unplaced"]), entry["moved"]) for entry in json.loads(done.out)["survive"]]


def test_every_single_loss_is_survived(root: Path, cli: Cli) -> None:
    write(root)
    found = losses(cli, code=0)
    assert [lost for lost, _, _ in found] == [[], ["a"], ["b"], ["c"]]
    assert all(not unplaced for _, unplaced, _ in found)
    begun = found[0][2]
    assert begun["CSVSinkJob 4"] == "the client"
    for (node,), _, moved in found[1:]:
        assert sorted(moved) == sorted(job for job, place in begun.items() if place == node)
        assert node not in moved.values()


def test_jobs_that_would_be_without_a_place_are_named_with_the_reason(root: Path, cli: Cli) -> None:
    write(root, "Mic('10.0.0.1', 'a'), Board('10.0.0.3', 'c')")
    done = cli("net", "check", "--survive")
    assert done.code == 3
    assert done.out.splitlines() == [
        "net: OK (4 jobs, 3 pipes, 2 nodes)",
        "  with all nodes: every job has a place",
        "  without a: no place for Source 1, Source 2",
        "    Source 1: a: lost; c: not in MIC; the client: not in MIC",
        "    Source 2: a: lost; c: not in MIC; the client: not in MIC",
        "  without c: no place for Join 3",
        "    Join 3: a: full (2/2 jobs); c: lost; the client: not in ALL",
    ]


@pytest.mark.parametrize(("priority", "homeless"), [(0, "Join 3"), (1, "Source 2")])
def test_priority_decides_which_jobs_keep_a_place(root: Path, cli: Cli, priority: int, homeless: str) -> None:
    """Two nodes with room for two: without the one with two jobs, one of them stays outside."""
    write(root, "Mic('10.0.0.1', 'a'), Mic('10.0.0.2', 'b')", priority=priority, extra="for job in JOBS[:3]: job.GROUPS = 'MIC'\n")
    found = losses(cli, code=3)
    assert [unplaced for _, unplaced, _ in found if unplaced] != []
    assert all(len(unplaced) <= 1 for _, unplaced, _ in found)
    both = next(lost for lost, unplaced, _ in found if unplaced)
    assert len(both) == 1


def test_pairs(root: Path, cli: Cli) -> None:
    write(root, room=3)
    found = losses(cli, "--pairs", code=3)
    assert [lost for lost, _, _ in found] == [[], ["a"], ["b"], ["c"], ["a", "b"], ["a", "c"], ["b", "c"]]
    assert {"+".join(lost): unplaced for lost, unplaced, _ in found if unplaced} == {"a+b": ["Source 1", "Source 2"]}


def test_a_network_that_does_not_fit_at_all(root: Path, cli: Cli) -> None:
    write(root, "Board('10.0.0.3', 'c')")
    found = losses(cli, code=3)
    assert found[0][:2] == ([], ["Source 1", "Source 2"])


def test_guesses_are_reported(root: Path, cli: Cli) -> None:
    write(root, "MultiNode('10.0.0.*', 'many'), BaseNode('10.0.0.3', 'c')", extra="for job in JOBS[:3]: job.GROUPS = 'ALL'\n")
    done = cli("net", "check", "--survive", "--jobs-per-node", "3")
    assert done.code == 0, done.err
    assert "many, c: how many jobs they take is not said (max_jobs)" in done.err
    assert "many: each may stand for many machines, and counts as one" in done.err
    assert cli("net", "check", "--survive", "--jobs-per-node", "2").code == 3
    report = json.loads(cli("net", "check", "--survive", "--json").out)
    assert len(report["warnings"]) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [(("--pairs",), "--pairs must be used with --survive"), (("--survive", "--jobs-per-node", "0"), "Invalid value for '--jobs-per-node'")],
)
def test_wrong_use(root: Path, cli: Cli, words: tuple[str, ...], message: str) -> None:
    write(root)
    done = cli("net", "check", *words)
    assert (done.code, message in done.err) == (2, True)


def test_no_nodes(root: Path, cli: Cli) -> None:
    write(root, "")
    done = cli("net", "check", "--survive")
    assert (done.code, "net has no NODES, so it has no node to lose" in done.err) == (2, True)


def test_a_preference_that_fails(root: Path, cli: Cli) -> None:
    write(root, extra="Join.preference = lambda self, nodes: 1 / 0\n")
    done = cli("net", "check", "--survive")
    assert (done.code, "the jobs cannot be placed: Join 3: preference raised ZeroDivisionError" in done.err) == (2, True)


def test_without_the_option_nothing_changes(root: Path, cli: Cli) -> None:
    write(root)
    assert cli("net", "check").out == "net: OK (4 jobs, 3 pipes, 3 nodes)\n"
    assert "survive" not in json.loads(cli("net", "check", "--json").out)


def test_a_preference_that_never_returns(root: Path, cli: Cli) -> None:
    write(root, extra="import threading\nJoin.preference = lambda self, nodes: threading.Event().wait()\n")
    done = cli("net", "check", "--survive")
    assert (done.code, "the jobs cannot be placed: Join 3: preference has not returned within 0.5 s" in done.err) == (2, True)


def test_it_counts_places_as_a_run_does(root: Path, cli: Cli) -> None:
    """Four nodes of three places and twelve jobs: whichever is lost, its three jobs have no place."""
    nodes = ", ".join(f"Board('10.0.0.{number}', 'n{number}')" for number in range(1, 5))
    pipes = "JOBS = [Source(outputs=[PicklePipe(n)]) for n in range(10, 16)] + [Join(inputs=[PicklePipe(n)]) for n in range(10, 16)]\n"
    write(root, nodes, room=3, extra=f"{pipes}for job in JOBS: job.GROUPS = 'ALL'\n")
    found = losses(cli, code=3)
    assert [(lost, len(unplaced), moved if lost else {}) for lost, unplaced, moved in found] == [
        ([], 0, {}),
        *[([f"n{number}"], 3, {}) for number in range(1, 5)],
    ]
