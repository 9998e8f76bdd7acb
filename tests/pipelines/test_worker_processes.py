"""What the jobs of one process share and what they do not: the store, the process's state, background processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from fission.pipelines import Job, Pipeline
from fission.pipelines.slots import Slots
from fission.protocol.messages.pipelines.router_to_worker import JobOrder
from tests.pipelines.daemons import Cluster
from tests.waiting import eventually, is_running


def values_of_one_file(cluster: Cluster, store: str) -> tuple[set[str], int]:
    """The values that are there after twelve jobs at the same time, and how many stores were made."""
    cluster.config["store"]["folder"] = str(cluster.folder)
    cluster.all(store=store, number_of_workers=4)
    with cluster.manager() as manager:
        manager.start(Pipeline([(Job("A", {"n": number}), None) for number in range(12)]))
        assert manager.wait(60), cluster.logs()
        assert manager.failed_pipelines == 0 or store == "OneFileInParallel"
    made = (cluster.folder / "made").read_text().splitlines()
    try:
        return set(json.loads((cluster.folder / "values.json").read_text())), len(made)
    except ValueError:  # two processes wrote into each other's text
        assert store == "OneFileInParallel"
        return set(), len(made)


@pytest.mark.parametrize("store", ["OneFile", "OneFileInParallel"])
@pytest.mark.slow
@pytest.mark.timeout(150)
def test_the_published_store_is_made_once_a_broker_and_loses_nothing(cluster: Cluster, store: str) -> None:
    values, made = values_of_one_file(cluster, store)
    if store == "OneFile":
        assert values == {str(number) for number in range(12)}
        assert made == 1
    else:  # the same store declared as parallel is the broken variant
        assert len(values) < 12
        assert made > 1


@pytest.mark.slow
@pytest.mark.timeout(150)
def test_a_store_that_dies_or_hangs_fails_its_job_only(cluster: Cluster) -> None:
    """Each job that waits for the store has its own call: it fails of that call, not of another one's."""
    _, broker, _ = cluster.all(store="DyingStore", number_of_workers=4)
    with cluster.manager() as manager:
        hang = [Pipeline({Job("A", {"breaks": "hangs"}, timeout=1): None}) for _ in range(2)]
        die = [Pipeline({Job("A", {"breaks": "dies"}): None}) for _ in range(3)]
        well = [Pipeline({Job("A", {"breaks": "no"}): None}) for _ in range(4)]
        manager.start_all([hang[0], die[0], well[0], hang[1], die[1], well[1], die[2], *well[2:]])
        assert manager.wait(60), cluster.logs()
    assert {(one.error or {})["error"] for one in die} == {"the store's process died before it answered"}
    assert all("ran for longer than 1 s" in (one.error or {})["error"] for one in hang)
    assert [one.error for one in well] == [None] * 4, cluster.logs()
    eventually(lambda: broker.said.count("The store's process") == 3, 5, "three deaths were reported")
    assert "was killed by signal 9 (SIGKILL); starting it again" in broker.said


@pytest.mark.slow
@pytest.mark.timeout(150)
def test_each_job_finds_the_same_world(cluster: Cluster) -> None:
    cluster.all(number_of_workers=1)
    with cluster.manager() as manager:
        for _ in range(2):
            for worker in ("World", "Spoils"):
                manager.start(pipeline := Pipeline({Job(worker): None}))
                assert manager.wait(60), cluster.logs()
                assert pipeline.error is None, pipeline.error
        manager.start(Pipeline({Job("World"): None}))
        assert manager.wait(60), cluster.logs()
    first, *others = [one["data"] for one in cluster.runs("world")]
    assert first["folder"] == str(cluster.folder)
    for other in others:
        assert {name: (first[name], other[name]) for name in first if first[name] != other[name]} == {}
    assert len({one["pid"] for one in cluster.runs("world")}) == 1


def test_without_putting_back_the_next_job_would_notice() -> None:
    """The broken variant: what `Spoils` does is seen."""
    code = """
import os, signal
from fission.pipelines.process_state import ProcessState
from tests.pipelines.process_description import describe
before, state = describe(), ProcessState()
os.chdir("/"); os.environ["X"] = "1"; signal.signal(signal.SIGALRM, lambda *a: None); signal.setitimer(signal.ITIMER_REAL, 60)
spoiled = describe()
state.restore()
print([name for name in before if spoiled[name] != before[name]], describe() == before)
"""
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "['folder', 'environment', 'handlers', 'timers'] True\n"


def test_a_slot_knows_what_ran_last_until_it_is_cleared() -> None:
    slots = Slots(2)
    slots.begin(1, JobOrder("p-0", "A", None, 5.0, 3))
    running = slots.current(1)
    assert running is not None
    assert (running.job, running.attempt, slots.last(1)) == ("p-0", 3, running)
    slots.end(1)
    assert slots.current(1) is None
    assert slots.last(1) == replace(running, since=0.0)
    assert slots.last(0) is None
    slots.clear(1)
    assert slots.last(1) is None
    slots.close()


GUARDED = """
import os
from fission.pipelines.process_state import DescriptorGuard
guard = DescriptorGuard()
print(guard.intact())
os.closerange(3, 100)
print(guard.intact())
files = [open(os.__file__) for _ in range(20)]  # one of them gets its number
print(guard.intact())
"""


def test_closed_descriptors_are_noticed() -> None:
    done = subprocess.run([sys.executable, "-c", GUARDED], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["True", "False", "False"]


LEFT_BEHIND = """
import os, select, signal, subprocess, sys, time
from fission.posix.fork_server_process import ForkServerProcess

def live(slot, payload):
    subprocess.Popen(["sleep", "600"])
    subprocess.Popen(["sleep", "600"], start_new_session=True)
    if os.fork() == 0:  # a daemon, as they are made: two forks and a session of its own
        os.setsid()
        if os.fork() == 0:
            os.execvp("sleep", ["sleep", "600"])
        os._exit(0)
    os.wait()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if payload == b"ends":
        os._exit(0)
    time.sleep(600)

server = ForkServerProcess(lambda: None, live)
server.fork(0, b"")
server.fork(1, b"")
server.fork(2, b"ends")
print(server.pid, flush=True)
END
"""


def sleepers(session: int) -> list[int]:
    """Pids of all ``sleep 600`` that come from the process with this marker in its environment."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            if (folder / "cmdline").read_bytes() == b"sleep\x00600\x00" and f"MARK={session}".encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


@pytest.mark.parametrize(
    ("end", "number"),
    [("signal.pause()", signal.SIGKILL), ("sys.stdin.read(); server.close()", None), ("sys.stdin.read(); os.kill(server.pid, 15)", None)],
)
def test_background_processes_of_workers_end_with_the_broker(end: str, number: int | None) -> None:
    """Children, sessions of their own, daemons that have forked twice; however the Broker ends, SIGKILL too."""
    mark = os.getpid() * 1000 + (number or len(end))
    with subprocess.Popen(
        [sys.executable, "-c", LEFT_BEHIND.replace("END", end)],
        env={**os.environ, "MARK": str(mark)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as broker:
        assert broker.stdout is not None
        server = int(broker.stdout.readline())
        eventually(
            lambda: len(sleepers(mark)) == 6, 30, lambda: f"what two workers start, and nothing of the one that ended: {sleepers(mark)}"
        )
        if number is not None:
            broker.send_signal(number)
        else:
            assert broker.stdin is not None
            broker.stdin.close()
        eventually(lambda: not sleepers(mark) and not is_running(server), 20, lambda: f"their end: {sleepers(mark)}")
        broker.wait(20)
