"""SIGKILL for any daemon at any moment: every accepted pipeline finishes, and no finished job runs again."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import time
from pathlib import Path

import pytest

from fission.pipelines import Job, Pipeline, PipelineManager
from fission.pipelines.stores import SQLStore
from tests.pipelines.daemons import Cluster, Daemon
from tests.waiting import eventually, is_running

pytestmark = [pytest.mark.slow, pytest.mark.timeout(150)]  # each starts real daemons: seconds on a busy machine

DIAMOND = {Job("Top"): (Job("Left"), Job("Right")), (Job("Left"), Job("Right")): Job("Bottom")}


def finished_jobs(cluster: Cluster) -> set[str]:
    """Jobs that the Router has recorded as finished."""
    with contextlib.closing(sqlite3.connect(cluster.folder / "state.sqlite", timeout=5)) as database:
        rows = database.execute("select pipeline, job from fission_jobs where state = 'finished'").fetchall()
    return {f"{pipeline}-{job}" for pipeline, job in rows}


def waiting_job(cluster: Cluster, manager: PipelineManager, gate: Path) -> tuple[Pipeline, int]:
    """Start a pipeline whose first job has finished and whose second one runs until *gate* exists; return it and that job's pid."""
    pipeline = Pipeline({Job("A"): Job("Wait"), Job("Wait"): Job("B")}, data={"file": str(gate)})
    manager.start(pipeline)
    return pipeline, eventually(lambda: cluster.runs("begin", "Wait"), 15, cluster.logs)[-1]["pid"]


def test_the_router_dies_while_a_job_runs(cluster: Cluster, tmp_path: Path) -> None:
    router, _, _ = cluster.all()
    with cluster.manager() as manager:
        pipeline, pid = waiting_job(cluster, manager, tmp_path / "gate")
        waiting = [Pipeline({Job("A"): None}) for _ in range(5)]
        manager.start_all(waiting)
        router.kill()
        eventually(lambda: not is_running(pid), 10, "the end of what runs for a Router that is no more")
        (tmp_path / "gate").touch()
        cluster.start("Router")
        assert manager.wait(30), cluster.logs()
        assert manager.failed_pipelines == 0
    assert len(cluster.runs("begin", "Wait")) == 2
    assert len({one["job"] for one in cluster.runs("begin", "Wait")}) == 1, "the same job id"
    assert [one for one in cluster.runs("begin", "A") if one["job"].startswith(str(pipeline.id))] == cluster.runs("begin", "A")[:1]


def test_the_pipeliner_dies_while_a_job_runs(cluster: Cluster, tmp_path: Path) -> None:
    _, _, pipeliner = cluster.all()
    with cluster.manager() as manager:
        pipeline, _ = waiting_job(cluster, manager, tmp_path / "gate")
        pipeliner.kill()
        cluster.start("Pipeliner")
        eventually(lambda: cluster.ask(command="status")["held"] == [1], 20, cluster.logs)
        (tmp_path / "gate").touch()
        assert manager.wait(20), cluster.logs()
        assert pipeline.error is None
    assert [one["worker"] for one in cluster.runs("begin")] == ["A", "Wait", "B"], "nothing is run twice"


def test_the_broker_dies_while_a_job_runs(cluster: Cluster, tmp_path: Path) -> None:
    _, broker, _ = cluster.all()
    with cluster.manager() as manager:
        pipeline, pid = waiting_job(cluster, manager, tmp_path / "gate")
        other = cluster.start("Broker")
        cluster.ready(4)
        broker.kill()
        assert not is_running(pid)
        (tmp_path / "gate").touch()
        assert manager.wait(20), cluster.logs()
        assert pipeline.error is None, "it was not the job's fault: there is no try less"
        assert other.process.poll() is None
    assert [one["worker"] for one in cluster.runs("save")] == ["A", "Wait", "B"]
    begun = cluster.runs("begin", "Wait")
    assert len(begun) == 2
    assert begun[0]["job"] == begun[1]["job"]


def test_all_are_killed_and_started_in_another_order(cluster: Cluster, tmp_path: Path) -> None:
    daemons = cluster.all()
    with cluster.manager() as manager:
        waiting_job(cluster, manager, tmp_path / "gate")
        manager.start_all(Pipeline({Job("A"): Job("B")}) for _ in range(20))
        for daemon in daemons:
            daemon.kill()
        (tmp_path / "gate").touch()
        for kind in ("Pipeliner", "Broker", "Router"):
            cluster.start(kind)
        assert manager.wait(40), cluster.logs()
        assert manager.failed_pipelines == 0
    assert len({one["job"] for one in cluster.runs("save")}) == 3 + 40


def test_pipelines_that_a_router_accepted_while_it_was_alone_finish(cluster: Cluster) -> None:
    router = cluster.start("Router")
    with cluster.manager() as manager:
        manager.start_all(Pipeline({Job("A"): Job("B")}) for _ in range(10))
        router.kill()
        router = cluster.start("Router")
        cluster.start("Pipeliner")
        cluster.start("Broker")
        assert manager.wait(30), cluster.logs()
    assert len(cluster.runs("save")) == 20


@pytest.mark.slow
@pytest.mark.soak
def test_a_frozen_pipeliner_loses_its_lease_and_does_no_harm_later(cluster: Cluster, tmp_path: Path) -> None:
    _, _, pipeliner = cluster.all()
    with cluster.manager() as manager:
        waiting_job(cluster, manager, tmp_path / "gate")
        pipeliner.process.send_signal(signal.SIGSTOP)
        try:
            cluster.start("Pipeliner")
            eventually(lambda: "pipelines are reassigned" in cluster.daemons[0].said, 20, cluster.logs)
            (tmp_path / "gate").touch()
            assert manager.wait(20), cluster.logs()
        finally:
            pipeliner.process.send_signal(signal.SIGCONT)
        manager.start_all(Pipeline({Job("A"): Job("B")}) for _ in range(20))
        assert manager.wait(20), cluster.logs()
        eventually(lambda: len(cluster.ask(command="status")["held"]) == 2, 20, cluster.logs)
    assert len(cluster.runs("begin", "Wait")) == 1


@pytest.mark.slow
@pytest.mark.soak
def test_a_frozen_broker_is_judged_dead_and_comes_back(cluster: Cluster, tmp_path: Path) -> None:
    _, broker, _ = cluster.all()
    with cluster.manager() as manager:
        pipeline, pid = waiting_job(cluster, manager, tmp_path / "gate")
        broker.process.send_signal(signal.SIGSTOP)
        os.kill(pid, signal.SIGSTOP)
        try:
            cluster.start("Broker")
            assert eventually(lambda: len(cluster.runs("begin", "Wait")) == 2, 30, cluster.logs)
            (tmp_path / "gate").touch()
            assert manager.wait(20), cluster.logs()
            assert pipeline.error is None
        finally:
            os.kill(pid, signal.SIGCONT)
            broker.process.send_signal(signal.SIGCONT)
        eventually(lambda: cluster.ask(command="status")["processes"] == 4, 30, cluster.logs)


@pytest.mark.soak
@pytest.mark.timeout(480)
@pytest.mark.parametrize("seed", [int(os.environ.get("FISSION_SEED", "7"))])
def test_twenty_random_kills_during_three_hundred_diamonds(cluster: Cluster, tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    place = str(tmp_path / "results.sqlite")
    cluster.config["store"] = {"url": place}
    broker = {"store": "DiamondStore", "workers": "diamonds", "number_of_workers": 2}
    daemons: list[tuple[str, Daemon]] = [("Router", cluster.start("Router"))]
    daemons += [("Broker", cluster.start("Broker", **broker)) for _ in range(2)]
    daemons += [("Pipeliner", cluster.start("Pipeliner")) for _ in range(2)]
    cluster.ready(4, 2)
    with cluster.manager(timeout=30) as manager:
        manager.start_all(Pipeline(DIAMOND, data={"document": f"calm {x}", "x": x}) for x in range(300))
        assert manager.wait(180), cluster.logs()  # each job's values are synced
        cluster.environment["JOB_S"] = "0.02"  # from the next start of a Broker on
        calm = len(cluster.runs())
        manager.start_all(Pipeline(DIAMOND, data={"document": f"wild {x}", "x": x}) for x in range(300))
        seen: list[tuple[int, set[str]]] = []
        for kill in range(20):
            begin = time.monotonic()
            pause = rng.uniform(0.0, 0.8)
            # some progress between two kills, so that they meet everything at work
            eventually(lambda begin=begin, pause=pause: time.monotonic() - begin > pause, 5, "a pause")
            index = rng.randrange(len(daemons))
            kind, daemon = daemons[index]
            daemon.kill()
            finished = finished_jobs(cluster)  # first: what finishes between the two looks was begun in time
            seen.append((len(cluster.runs()), finished))
            daemons[index] = (kind, cluster.start(kind, **(broker if kind == "Broker" else {})))
            if kill % 5 == 0:
                manager.update(0.01)
        assert manager.wait(200), cluster.logs()
        assert (manager.finished_pipelines, manager.failed_pipelines) == (600, 0)
    runs = cluster.runs()
    for position, finished in seen:
        again = [one["job"] for one in runs[position:] if one["what"] == "begin" and one["job"] in finished]
        assert not again, f"were finished and run again: {again}"
    assert len({one["job"] for one in runs[calm:] if one["what"] == "save"}) == 1200
    store = SQLStore(place)
    assert [store.values(f"wild {x}") for x in range(300)] == [store.values(f"calm {x}") for x in range(300)]
    assert store.values("wild 7") == {"top": 8, "left": 16, "right": 24, "bottom": [16, 24, 40]}
    store.close()
