"""Router, Brokers and Pipeliners as real processes: where jobs run, how they fail, and that nothing stops a daemon."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from fission.pipelines import Job, Pipeline, PipelineError, PipelineRefused, RouterUnreachable
from tests.pipelines.daemons import Cluster, whole_lines
from tests.ports import free_ports
from tests.waiting import eventually, is_running

pytestmark = [pytest.mark.slow, pytest.mark.timeout(150)]  # each starts real daemons: seconds on a busy machine


def test_jobs_run_in_order_with_data_and_job_id(cluster: Cluster) -> None:
    cluster.all()
    with cluster.manager() as manager:
        pipeline = Pipeline({Job("A"): (Job("B"), Job("C")), (Job("B"), Job("C")): Job("D", data={"own": 1})}, data={"foo": "bar"})
        before = time.time()
        name = manager.start(pipeline)
        assert pipeline.id == name
        assert not pipeline.finished
        while not manager.finished(pipeline):
            pass
        assert before <= (pipeline.started_at or 0) <= time.time()
        assert 0 < (pipeline.duration or 0) <= time.time() - before + 0.1
        assert (manager.started_pipelines, manager.finished_pipelines, manager.failed_pipelines) == (1, 1, 0)
        assert manager.pipelines == [pipeline]
        assert pipeline.error is None
    saved = cluster.runs("save")
    assert (saved[0]["worker"], saved[-1]["worker"]) == ("A", "D")
    assert {one["worker"]: one["data"] for one in saved} == {"A": {"foo": "bar"}, "B": {"foo": "bar"}, "C": {"foo": "bar"}, "D": {"own": 1}}
    assert len({one["job"] for one in saved}) == 4
    shown = cluster.show(name)
    assert [(job["worker"], job["state"], job["tries"]) for job in shown["jobs"]] == [(worker, "finished", 1) for worker in "ABCD"]
    assert all(job["node"] and job["duration"] >= 0 and job["job id"].startswith(name) for job in shown["jobs"])


def test_the_log_lines_and_the_clean_end_of_each_daemon(cluster: Cluster) -> None:
    router, broker, pipeliner = cluster.all()
    assert "Router - INFO - Entering main loop" in router.said
    for line in ("Starting worker processes", "Broker started", "Trying to connect to router...", "'command': 'get configuration'"):
        assert f"Broker - INFO - {line}" in broker.said or line in broker.said
    assert "[API] Reply from router: {'store': {" in broker.said
    assert "Pipeliner - INFO - Pipeliner started" in pipeliner.said
    assert pipeliner.end(signal.SIGINT) == 0
    assert broker.end(signal.SIGTERM) == 0
    assert router.end(signal.SIGINT) == 0
    assert "Traceback" not in cluster.logs()
    assert "has left" in router.said, "a daemon that ends in order says so"


def test_a_worker_that_raises_is_tried_again_and_then_reported(cluster: Cluster, tmp_path: Path) -> None:
    cluster.all()
    with cluster.manager() as manager:
        bad = Pipeline({Job("A"): (Job("Bad", retries=2), Job("B")), Job("Bad"): Job("C")}, data={"n": 1})
        once = Pipeline([(Job("Once", {"file": str(tmp_path / "once")}, retries=1), None)])
        exits = Pipeline({Job("Exits"): []})
        manager.start_all([bad, once, exits])
        assert manager.wait(20)
        assert manager.failed_pipelines == 2
    assert bad.error is not None
    assert (bad.error["worker"], bad.error["error"]) == ("Bad", "ValueError: cannot do {'n': 1}")
    assert 'raise ValueError(f"cannot do' in bad.error["traceback"]
    assert bad.error["data"] == {"n": 1}
    assert "fission/pipelines" not in bad.error["traceback"], "only the user's frames"
    assert once.error is None
    assert exits.error is not None
    assert exits.error["error"] == "SystemExit: goodbye"
    states = {job["worker"]: (job["state"], job["tries"]) for job in cluster.show(bad.id)["jobs"]}
    assert states == {"A": ("finished", 1), "Bad": ("failed", 3), "B": ("finished", 1), "C": ("skipped", 0)}
    assert len(cluster.runs("begin", "Bad")) == 3
    assert not cluster.runs(worker="C")


def test_a_time_limit_kills_the_process_even_if_it_is_stuck(cluster: Cluster) -> None:
    cluster.all()
    with cluster.manager() as manager:
        begin = time.monotonic()
        slow, stuck = Pipeline({Job("Slow", {}, timeout=0.5, retries=1): Job("A")}), Pipeline({Job("Stuck", timeout=0.5): None})
        manager.start_all([slow, stuck])
        assert manager.wait(20)
        assert time.monotonic() - begin < 10
        for pipeline in (slow, stuck):
            assert pipeline.error is not None
            assert pipeline.error["error"] == "timeout: it ran for longer than 0.5 s; its process was killed"
        manager.start(again := Pipeline({Job("A"): None}))
        assert manager.wait(20)
    assert again.error is None, "there are processes again"
    pids = {one["pid"] for one in cluster.runs("begin") if one["worker"] != "A"}
    assert len(pids) == 3
    assert not any(is_running(pid) for pid in pids)
    assert not cluster.runs("save", "Slow")


def test_a_job_that_kills_its_process_fails_and_its_neighbours_do_not(cluster: Cluster) -> None:
    _, broker, _ = cluster.all()
    with cluster.manager() as manager:
        dies = Pipeline({Job("Dies", retries=1): None})
        leaves = [Pipeline({Job("Leaves", {"code": code}, retries=1): None}) for code in (0, 1)]
        closes = Pipeline({Job("Closes", retries=1): None})
        others = [Pipeline({Job("A"): Job("B")}) for _ in range(50)]
        manager.start_all([*others[:25], dies, closes, *leaves, *others[25:]])
        assert manager.wait(60), cluster.logs()
        assert manager.failed_pipelines == 4
    assert dies.error is not None
    assert dies.error["error"] == "its process was killed by signal 9 (SIGKILL)"
    assert [(one.error or {})["error"] for one in leaves] == ["its process exited with code 0", "its process exited with code 1"]
    assert closes.error is not None
    assert closes.error["error"].startswith("its process exited with code "), "0 or 1, whichever of its threads notices first"
    assert len(cluster.runs("begin", "Dies")) == len(cluster.runs("begin", "Closes")) == 2
    assert len(cluster.runs("begin", "Leaves")) == 4
    for how in ("was killed by signal 9", "exited with code 0", "exited with code 1"):
        assert how in broker.said


@pytest.mark.parametrize(("breaks", "error"), [("retrieve", "OSError: the store is gone"), ("save", "OSError: the store is full")])
def test_a_broken_store_fails_the_job_and_stops_no_daemon(cluster: Cluster, breaks: str, error: str) -> None:
    daemons = cluster.all(store="BrokenStore")
    with cluster.manager() as manager:
        broken = Pipeline({Job("A"): Job("B")}, data={"breaks": breaks})
        well = Pipeline({Job("A"): Job("B")}, data={"breaks": "nothing"})
        manager.start_all([broken, well])
        assert manager.wait(20)
    assert broken.error is not None
    assert (broken.error["worker"], broken.error["error"]) == ("A", error)
    assert "store.py" in broken.error["traceback"]
    assert well.error is None
    assert all(daemon.process.poll() is None for daemon in daemons)
    words = "cannot save monitoring information: OSError: no monitoring"
    eventually(lambda: words in daemons[1].said, 30, cluster.logs)


def test_monitoring(cluster: Cluster) -> None:
    _, broker, _ = cluster.all()
    with cluster.manager() as manager:
        manager.start(Pipeline({Job("Slow", {"seconds": 60}): None}))
        file = cluster.folder / "monitoring.jsonl"

        def busy() -> dict[str, object] | None:
            rows = whole_lines(file)
            return rows[-1] if rows and any("worker" in process for process in rows[-1]["processes"]) else None

        row = eventually(busy, 10, "monitoring of a process with a job")
        cluster.ask(**{"command": "cancel", "pipeline id": manager.pipelines[0].id})
    host = row["host"]
    assert isinstance(host, dict)
    assert host.keys() == {"cpu", "memory", "swap", "storage", "network", "uptime"}
    assert host["network"]["cluster ip"] == "127.0.0.1"
    assert abs(time.time() - float(str(row["timestamp"]))) < 60
    processes = row["processes"]
    assert isinstance(processes, list)
    assert [process["type"] for process in processes] == ["broker", "worker", "worker"]
    assert processes[0]["pid"] == broker.process.pid
    assert processes[0]["active workers"] == 1
    assert all({"pid", "cpu percent", "resident memory", "virtual memory"} <= process.keys() for process in processes)
    assert [(process["worker"], process["data"]) for process in processes if "worker" in process] == [("Slow", {"seconds": 60})]


def test_a_store_that_hangs_in_monitoring_stops_nothing(cluster: Cluster) -> None:
    router, broker, _ = cluster.all(store="HangingStore")
    eventually(lambda: "still busy with the last monitoring" in broker.said, 15, cluster.logs)
    with cluster.manager() as manager:
        manager.start(Pipeline({Job("Slow", {"seconds": 6}): Job("A")}))  # longer than a Broker may be silent
        assert manager.wait(20)
        assert manager.failed_pipelines == 0
    assert " is lost" not in router.said
    assert len(cluster.runs("begin", "Slow")) == 1


def test_unknown_workers_are_refused_or_fail(cluster: Cluster) -> None:
    cluster.start("Router")
    with cluster.manager() as manager:
        early = Pipeline({Job("A"): Job("Nowhere")})
        manager.start(early)  # no broker is known yet
        cluster.start("Broker")
        cluster.start("Pipeliner")
        cluster.ready()
        with pytest.raises(PipelineRefused, match="no Broker has a worker 'Bat'; did you mean 'Bad'"):
            manager.start(Pipeline({Job("A"): Job("Bat")}))
        assert manager.started_pipelines == 1
        assert manager.wait(30)
        assert early.error is not None
        assert "no Broker has a worker 'Nowhere'; there are A, B" in early.error["error"]


def test_brokers_with_other_workers(cluster: Cluster) -> None:
    (cluster.folder / "others.py").write_text("from workers import A\n__all__ = ['E']\nclass E(A): pass\n")
    cluster.all(number_of_workers=1)
    cluster.start("Broker", workers="others", number_of_workers=1)
    cluster.ready(2)
    with cluster.manager() as manager:
        manager.start_all(Pipeline({Job("A"): Job("E"), Job("E"): Job("B")}) for _ in range(30))
        assert manager.wait(30)
        assert manager.failed_pipelines == 0
    pids = {worker: {one["pid"] for one in cluster.runs("begin", worker)} for worker in "AEB"}
    assert len(pids["E"]) == 1
    assert pids["A"] == pids["B"]
    assert not pids["A"] & pids["E"]


def test_a_known_worker_whose_broker_is_away_waits_for_it(cluster: Cluster) -> None:
    _, broker, _ = cluster.all()
    broker.kill()
    with cluster.manager() as manager:
        manager.start(pipeline := Pipeline({Job("A"): Job("B")}))
        eventually(
            lambda: "waits for a Broker" in cluster.show(pipeline.id)["jobs"][0]["error"], 15, lambda: str(cluster.show(pipeline.id))
        )
        assert not manager.wait(0.01)
        cluster.start("Broker")
        assert manager.wait(30)
        assert pipeline.error is None


def test_several_pipeliners_share_the_work(cluster: Cluster) -> None:
    cluster.start("Router")
    cluster.start("Pipeliner", poll_time=10)
    cluster.start("Pipeliner")
    with cluster.manager() as manager:
        cluster.start("Broker")
        cluster.ready(2, pipeliners=2)
        gate = cluster.folder / "gate"
        manager.start_all(Pipeline({Job("Wait", {"file": str(gate)}): Job("A")}) for _ in range(40))
        eventually(lambda: cluster.ask(command="status")["leased"] == 40, 10, "all leased")
        held = cluster.ask(command="status")["held"]
        assert sorted(held)[0] >= 5, f"both have some: {held}"
        assert sum(held) == 40
        gate.touch()
        assert manager.wait(30)
    assert len(cluster.runs("save", "A")) == 40
    assert len({one["job"] for one in cluster.runs("save", "A")}) == 40


def test_a_second_router_is_refused(cluster: Cluster) -> None:
    cluster.start("Router")
    eventually(lambda: "Entering main loop" in cluster.daemons[0].said, 20, cluster.logs)
    second = cluster.start("Router", state=str(cluster.folder / "other.sqlite"))
    assert second.process.wait(20) == 1
    assert f"is in use by process {cluster.daemons[0].process.pid} (" in second.said
    assert "), maybe by another Router: there can be only one" in second.said
    api, broadcast = free_ports(2)
    third = cluster.start("Router", api=["127.0.0.1", api], broadcast=["127.0.0.1", broadcast])
    assert third.process.wait(20) == 1
    assert "belongs to another Router that is running" in third.said


def test_a_router_that_is_not_there(cluster: Cluster) -> None:
    with cluster.manager(timeout=0.5) as manager:
        begin = time.monotonic()
        pipeline = Pipeline({Job("A"): None})
        with pytest.raises(RouterUnreachable, match=r"no Router answers at tcp://127.0.0.1:\d+ within 0.5 s: start it"):
            manager.start(pipeline)
        assert time.monotonic() - begin < 3
        assert manager.pipelines == []
        cluster.all()
        manager.start(pipeline)
        assert manager.wait(20)


def test_cancel_kills_running_jobs_and_retry_runs_the_remaining_ones(cluster: Cluster) -> None:
    cluster.all()
    gate = cluster.folder / "gate"
    with cluster.manager() as manager:
        pipeline = Pipeline({Job("A"): Job("Wait"), Job("Wait"): Job("B")}, data={"file": str(gate)})
        manager.start(pipeline)
        pid = eventually(lambda: cluster.runs("begin", "Wait"), 10, "a running job")[0]["pid"]
        cluster.ask(**{"command": "cancel", "pipeline id": pipeline.id})
        assert manager.wait(10)
        assert pipeline.error is not None
        assert pipeline.error["error"] == "cancelled"
        eventually(lambda: not is_running(pid), 5, "the end of its process")
        assert [job["state"] for job in cluster.show(pipeline.id)["jobs"]] == ["finished", "cancelled", "cancelled"]
        gate.touch()
        with pytest.raises(PipelineError):
            cluster.ask(**{"command": "cancel", "pipeline id": pipeline.id})
        cluster.ask(**{"command": "retry", "pipeline id": pipeline.id})
        eventually(lambda: cluster.show(pipeline.id)["state"] == "finished", 10, "its end")
    assert [one["worker"] for one in cluster.runs("save")] == ["A", "Wait", "B"], "A is not run again"


def test_a_store_that_cannot_be_constructed(cluster: Cluster) -> None:
    cluster.start("Router")
    broker = cluster.start("Broker", store="NoStore")
    assert broker.process.wait(60) == 1
    assert (
        "cannot be constructed: ConnectionError('no database there'); the arguments come from the Router's config['store']" in broker.said
    )
    assert ", and secret ones from this Broker (--store-secret)" in broker.said


def test_managers_that_missed_the_broadcast_learn_the_ends(cluster: Cluster) -> None:
    """A manager that starts later, and one whose broadcasts were lost, learn the ends too."""
    cluster.all()
    with cluster.manager() as deaf, cluster.manager() as other:
        deaf._listener.close()
        deaf._listener = _Deaf()  # type: ignore[assignment]
        deaf.start(pipeline := Pipeline({Job("A"): None}))
        other.start(Pipeline({Job("A"): None}))
        assert other.wait(10)
        assert deaf.wait(10)
        assert pipeline.finished


class _Deaf:
    def receive(self, timeout: float) -> list[tuple[str, bytes]]:
        return []

    def close(self) -> None:
        pass
