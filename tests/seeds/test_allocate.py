"""`allocate` of MARVELO's shell, which shows where the jobs would go now, and the successors of its other commands."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.support import Site
from tests.e2e.failover import CHAIN, chain_rows
from tests.waiting import CommandLine

JOBS = """\
import os
import time

from fission.core.jobs import CSVSinkJob, PythonJob
from fission.core.nodes import BaseNode
from fission.core.pipes import PicklePipe


class Microphone(PythonJob):
    GROUPS = ["MIC"]

    def run(self):
        while not os.path.exists({end!r}):
            time.sleep(0.01)
            yield 1


class Beamformer(PythonJob):
    PRIORITY = 1

    def run(self, *values):
        return sum(values)


JOBS = [
    Microphone(outputs=[PicklePipe(1)]),
    Microphone(outputs=[PicklePipe(2)]),
    Beamformer(inputs=[PicklePipe(1), PicklePipe(2)], outputs=[PicklePipe(3)]),
    CSVSinkJob("beam.csv", inputs=[PicklePipe(3)]),
]
"""
NAMES = ["Microphone 1", "Microphone 2", "Beamformer 3", "CSVSinkJob 4"]


@pytest.fixture
def room(fission: CommandLine) -> Iterator[Callable[..., Path]]:
    """Makes a project with the network ``room``; returns the file that ends it."""
    end = fission.root / "end"

    def make(extra: str = "") -> Path:
        fission.project({"room/config.py": JOBS.format(end=str(end)) + extra})
        return end

    yield make
    end.touch()


def report(fission: CommandLine, exit_code: int = 0, network: str = "room", **options: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(fission.run(network, "allocate", "--json", exit_code=exit_code, **options).stdout)
    return found


def places(found: dict[str, Any]) -> dict[str, str | None]:
    return {job["name"]: job["node"] for job in found["jobs"]}


def test_without_other_machines_all_jobs_go_to_this_one(fission: CommandLine, room: Callable[..., Path]) -> None:
    room()
    before = sorted(path.name for path in (fission.root / "room").iterdir())
    found = report(fission)
    assert (found["network"], found["running"], found["ok"], found["missing"]) == ("room", False, True, {})
    assert places(found) == dict.fromkeys(NAMES, "client")
    assert [job["now"] for job in found["jobs"]] == [None] * 4
    assert [node["name"] for node in found["nodes"]] == ["client"]
    assert sorted(found["nodes"][0]["jobs"]) == sorted(NAMES)
    after = sorted(path.name for path in (fission.root / "room").iterdir() if path.name != "__pycache__")
    assert after == before, "nothing is started, so no folder of a run is there"


def test_of_a_running_network_its_client_knows_the_nodes(fission: CommandLine, room: Callable[..., Path]) -> None:
    end = room()
    client = fission.start("room", "simulate", "--nodes", "2")
    for name in NAMES:
        client.wait_for(f"{name} started", stream="stderr")
    found = report(fission)
    assert found["running"] is True
    running = {row["name"]: row["node"] for row in json.loads(fission.run("room", "status", "--json", exit_code=0).stdout)["jobs"]}
    assert {job["name"]: job["now"] for job in found["jobs"]} == running
    assert set(places(found)) == set(NAMES)
    assert places(found)["CSVSinkJob 4"] == "client"
    assert {places(found)["Microphone 1"], places(found)["Microphone 2"]} <= {"1", "2"}
    shown = fission.run("room", "allocate", exit_code=0).stdout
    assert re.search(r"^JOB +NODE +NOW +WHY$", shown, re.MULTILINE)
    assert max(map(len, shown.splitlines())) <= 80, shown
    end.touch()
    client.wait(exit_code=0)


NOWHERE = "Beamformer.GROUPS = []\nBeamformer.DEFAULT_NODE = 'attic'\n"


def test_a_job_without_a_place(fission: CommandLine, room: Callable[..., Path]) -> None:
    """As in a run: exit code 3, and for each node why not."""
    end = room()
    client = fission.start("room", "simulate", "--nodes", "2")
    client.wait_for("Beamformer 3 started", stream="stderr")
    config = fission.root / "room" / "config.py"
    config.write_text(config.read_text() + NOWHERE)
    done = fission.run("room", "allocate", exit_code=3)
    lines = " ".join(done.stdout.split())
    assert "Beamformer 3 - " in lines
    assert "no place: 1: not its default node attic; 2: not its default node attic; client:" in lines
    assert max(map(len, done.stdout.splitlines())) <= 80, done.stdout
    found = report(fission, 3)
    assert (found["ok"], places(found)["Beamformer 3"]) == (False, None)
    end.touch()
    client.wait(exit_code=0)


def test_allocate_in_the_shell(fission: CommandLine, room: Callable[..., Path]) -> None:
    room()
    done = fission.run("room", "shell", stdin="allocate\nhelp\nstartcluster\n", exit_code=2)
    assert "Microphone 1  client  group MIC: the only node with room" in done.stdout
    assert "  allocate " in done.stdout
    assert done.stderr == (
        "Error: there is no command 'startcluster': there is no cluster to start: fission room run finds the nodes itself; "
        "fission room allocate shows them\n"
    )


@pytest.mark.parametrize(
    ("word", "instead"),
    [
        ("startcluster", "fission room run finds the nodes itself"),
        ("closecluster", "fission room stop or Ctrl-C"),
        ("reboot", "ssh NODE sudo reboot"),
        ("start", "fission room run"),
        ("clear", "Ctrl-L"),
    ],
)
def test_commands_of_the_old_shell_name_their_successors(fission: CommandLine, room: Callable[..., Path], word: str, instead: str) -> None:
    room()
    done = fission.run("room", word, exit_code=2)
    assert done.stderr.startswith(f"Error: there is no command {word!r}: ")
    assert instead in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("word", ["senddata", "removedata"])
def test_files_of_no_nodes(fission: CommandLine, room: Callable[..., Path], word: str) -> None:
    room()
    assert "NODES of room names no other machine" in fission.run("room", word, exit_code=2).stderr


# with real nodes

MakeSite = Callable[..., Site]
PLACED = """
EndsByFile.DEFAULT_NODE = Relay.DEFAULT_NODE = "n2"
Double.DEFAULT_NODE = "n1"
"""


def of_site(site: Site, exit_code: int = 0) -> dict[str, Any]:
    return report(site.fission, exit_code, "net", env=site.env)


def test_it_is_where_a_run_puts_them(cluster: MakeSite) -> None:
    """Before, during and after a run; the nodes answer with what they measure, and are free for the run."""
    site = cluster(2)
    site.project(CHAIN.format(limit=0), PLACED)
    before = of_site(site)
    nodes = {node["name"]: node for node in before["nodes"]}
    assert list(nodes) == ["client", "n1", "n2"]
    assert [nodes[name]["max_jobs"] for name in ("n1", "n2")] == [8, 8]
    assert all(nodes[name]["memory_free_bytes"] > 0 and nodes[name]["ip"] == site.nodes[name].ip for name in ("n1", "n2"))
    client = site.start()
    site.rows(20)
    assert {job["id"]: job["node"] for job in before["jobs"] if job["id"] <= 3} == {
        job: node for job, (_, node) in site.incarnations().items() if job <= 3
    }
    during = of_site(site)
    assert during["running"] is True
    assert {job["id"]: job["now"] for job in during["jobs"]} == {job: node for job, (_, node) in site.incarnations().items()}
    assert [places(during)[name] for name in ("EndsByFile 1", "Relay 2", "Double 3")] == ["n2", "n2", "n1"]
    site.finish(client, chain_rows)
    assert {job: node for job, node in places(of_site(site)).items() if job in ("EndsByFile 1", "Relay 2", "Double 3")} == {
        "EndsByFile 1": "n2",
        "Relay 2": "n2",
        "Double 3": "n1",
    }


def test_a_node_that_is_not_there(cluster: MakeSite) -> None:
    site = cluster(2, start=False)
    site[1].start()
    site.project(CHAIN.format(limit=0))
    found = of_site(site)
    assert list(found["missing"]) == ["n2"]
    assert "node n2 does not answer" in found["missing"]["n2"]
    assert set(places(found).values()) == {"client", "n1"}
    site[2].start(jobs=8)
    site[2].logged("waits for a client")
    assert of_site(site)["missing"] == {}


def test_it_disturbs_no_jobs_of_a_killed_client(cluster: MakeSite) -> None:
    """Who asks where jobs would go must not end those that `run --resume` continues."""
    site = cluster(2)
    client = site.run(CHAIN.format(limit=0))
    site.rows(20)
    client.signal(9)
    client.wait(exit_code=-9)
    incarnations = site.incarnations()
    there = {node.name: node.jobs() for node in site.nodes.values()}
    assert any(there.values())
    assert places(of_site(site))
    assert {node.name: node.jobs() for node in site.nodes.values()} == there
    resumed = site.start("--resume")
    site.more_rows(20)
    assert {job: incarnation for job, incarnation in site.incarnations().items() if incarnation[1] != "client"} == {
        job: incarnation for job, incarnation in incarnations.items() if incarnation[1] != "client"
    }
    site.finish(resumed, chain_rows)


def test_files_are_sent_to_the_nodes_before_a_run_and_removed_again(cluster: MakeSite) -> None:
    site = cluster(2)
    site.project(CHAIN.format(limit=0), files={"net/source/big.dat": "x" * 10_000})
    sent = json.loads(site.fission.run("net", "senddata", "--json", exit_code=0, env=site.env).stdout)
    assert (sorted(sent["done"]), sent["failed"]) == (["n1", "n2"], {})
    archives = {node.name: sorted(path.name for path in (node.root / ".archives").iterdir()) for node in site.nodes.values()}
    assert archives["n1"] == archives["n2"] != []
    client = site.start()
    site.rows(20)
    assert archives["n1"] == sorted(path.name for path in (site[1].root / ".archives").iterdir()), "the run sent nothing more"
    refused = site.fission.run("net", "removedata", exit_code=2, env=site.env)
    assert "the network net is running" in refused.stderr
    site.finish(client, chain_rows)
    assert (site[1].root / "net").is_dir()
    removed = site.fission.run("net", "removedata", exit_code=0, env=site.env)
    assert re.fullmatch(r"n[12]: removed, \d+\.\d MB\nn[12]: removed, \d+\.\d MB\n", removed.stdout)
    for node in site.nodes.values():
        assert not (node.root / "net").exists()
        assert not (node.root / ".archives").exists()
    (site.end).unlink()
    Path(f"{site.end}.number").unlink()
    client = site.start()
    site.rows(20)
    site.finish(client, chain_rows)
