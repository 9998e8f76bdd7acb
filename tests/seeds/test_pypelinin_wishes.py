"""What pypelinin's users have asked for: programs as workers, several modules, tags of Brokers, results for the caller, UTC."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fission.pipelines import DaemonError, ExecutableFailed, Job, Pipeline
from fission.pipelines.executables import executable_worker
from fission.pipelines.jobs import load_all_workers
from fission.protocol.pipeline_records import RESULT_LIMIT
from tests.pipelines.daemons import Cluster
from tests.waiting import eventually, is_running

#: A program as a user would write it: reads JSON, and acts by its argument.
PROGRAM = """#!{python}
import json, os, subprocess, sys, time

data = json.load(sys.stdin)["data"]
what = data.get("what", "count")
if what == "count":
    print(json.dumps({{"count": len(data["text"].split())}}))
elif what == "fails":
    sys.exit("the text is empty")
elif what == "no json":
    print("three words")
elif what == "nan":
    print("NaN")
elif what == "nothing":
    pass
elif what == "two":
    print("1\\n2")
elif what == "much":
    while True:
        print("x" * 65536)
elif what == "hangs":
    time.sleep(600)
elif what == "killed":
    os.kill(os.getpid(), 9)
elif what == "closes":
    os.close(1), os.close(2)
    time.sleep(600)
elif what == "child":
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=data["session"])
    with open(data["file"], "w") as file:
        print(child.pid, file=file)
    if data["then"] == "hangs":
        time.sleep(600)
    print("true")
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "count"
    path.write_text(PROGRAM.format(python=sys.executable))
    path.chmod(0o755)
    return path


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(tmp_path) as found:
        yield found


def _call(program: Path, data: dict[str, Any], **settings: Any) -> Any:
    worker = executable_worker("Count", {"command": [str(program)], **settings})
    return worker().process({"data": data})


def test_a_program_is_a_worker(program: Path) -> None:
    assert _call(program, {"text": "to be or not"}) == {"count": 4}


FAILURES = {
    "fails": "exited with code 1: the text is empty",
    "no json": "must write one JSON value to standard output, but wrote 'three words",
    "nan": "NaN is not JSON",
    "nothing": "must write one JSON value to standard output, but wrote ''",
    "two": "must write one JSON value",
    "much": "must write at most 1000000 bytes",
    "hangs": "timeout: ",
    "closes": "timeout: ",
    "killed": "was killed by signal 9 (SIGKILL)",
}


@pytest.mark.parametrize("what", FAILURES)
def test_a_program_that_fails_is_one_clear_error(program: Path, what: str) -> None:
    begin = time.monotonic()
    with pytest.raises(ExecutableFailed) as caught:
        _call(program, {"what": what}, timeout=2 if what in ("hangs", "closes") else 60, max_output=1_000_000)
    assert FAILURES[what] in str(caught.value)
    assert str(program) in str(caught.value)
    assert time.monotonic() - begin < 50


@pytest.mark.parametrize("then", ["ends", "hangs"])
@pytest.mark.parametrize("session", [False, True])
def test_children_of_a_program_do_not_survive_it(program: Path, tmp_path: Path, then: str, session: bool) -> None:
    file = tmp_path / "pid"
    data = {"what": "child", "then": then, "session": session, "file": str(file)}
    if then == "ends":
        assert _call(program, data, timeout=60) is True
    else:
        with pytest.raises(ExecutableFailed, match="timeout"):
            _call(program, data, timeout=5)
    assert not is_running(int(file.read_text()))


def test_the_tests_of_children_notice_a_worker_that_kills_only_the_session(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "pid"
    with monkeypatch.context() as broken:
        broken.setattr("fission.pipelines.executables.children_of", lambda pid: [])
        _call(program, {"what": "child", "then": "ends", "session": True, "file": str(file)}, timeout=60)
    left = int(file.read_text())
    assert is_running(left)
    os.kill(left, signal.SIGKILL)
    os.waitpid(left, 0)  # we have adopted it


def test_programs_modules_and_tags_on_the_command_line(cluster: Cluster, program: Path) -> None:
    cluster.start("Router")
    cluster.start("Pipeliner")
    words = ["--workers", "workers", "--workers", "diamonds", "--store", "store.Store", "--tag", "gpu", "--number-of-workers", "1"]
    words += ["--executable", f"Plain={program}", "--executable", "Count=" + json.dumps({"command": [str(program)], "timeout": 60})]
    words += ["--api", cluster.api, "--broadcast", cluster.broadcast]
    environment = {**os.environ, "RUNS": str(cluster.runs_file)}
    command = [sys.executable, "-m", "fission", "pipelines", "broker", *words]
    with (
        open(cluster.folder / "broker.log", "wb") as log,
        subprocess.Popen(command, cwd=cluster.folder, env=environment, stderr=log) as broker,
    ):
        try:
            assert {"A", "Top", "Plain", "Count"} <= set(cluster.ready(processes=1)["workers"])
            with cluster.manager() as manager:
                pipeline = Pipeline({Job("Plain", {"text": "a"}): Job("Count", {"text": "a b"}, tag="gpu")})
                manager.start(pipeline)
                assert manager.wait(60), cluster.logs()
            assert pipeline.result == {"count": 2}
        finally:
            broker.terminate()


def test_a_program_that_is_not_there_is_named() -> None:
    with pytest.raises(ExecutableFailed, match="no-such-program cannot be started: No such file"):
        executable_worker("Count", "no-such-program")().process({})


def test_much_data_reach_a_program_that_reads_nothing() -> None:
    assert executable_worker("Count", "echo 1")().process({"text": "x" * 5_000_000}) == 1


def test_all_faults_of_programs_are_reported_together() -> None:
    with pytest.raises(DaemonError) as caught:
        executable_worker("Count", {"comand": "x", "requires": "text", "timeout": 0, "max_output": "1"})
    text = str(caught.value)
    assert len(text.splitlines()) == 5
    assert all(word in text for word in ("comand", "command of", "requires of", "timeout of", "max_output of"))


def test_workers_of_several_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, worker in (("first_w12", "One"), ("second_w12", "Two"), ("third_w12", "One")):
        (tmp_path / f"{name}.py").write_text(f"class {worker}:\n    def process(self, data): ...\n__all__ = ['{worker}']\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert set(load_all_workers(["first_w12", "second_w12", "first_w12"], {})) == {"One", "Two"}
    assert set(load_all_workers("first_w12", {"Three": "cat"})) == {"One", "Three"}
    with pytest.raises(DaemonError, match="'One' must be defined once, but is in module 'first_w12' and module 'third_w12'"):
        load_all_workers(["first_w12", "third_w12"], {})
    with pytest.raises(DaemonError) as caught:
        load_all_workers(["none_w12", "nor_w12"], {"Bad": ""})
    assert len(str(caught.value).splitlines()) == 3


def test_a_cluster_runs_programs_modules_and_returns_results(cluster: Cluster, program: Path) -> None:
    settings = {"command": [str(program)], "timeout": 60}
    cluster.all(workers=["workers", "diamonds"], executables={"Count": settings})
    with cluster.manager() as manager:
        good = Pipeline({Job("A", {"x": 1}): Job("Count", {"text": "a b c"})})
        two = Pipeline({Job("A", {"x": 1}): (Job("B", {"y": 1}), Job("C", {"z": 1}))})
        bad = Pipeline({Job("Count", {"what": "fails"}): []})
        manager.start_all([good, two, bad])
        assert manager.wait(60), cluster.logs()
    assert good.result == {"count": 3}
    assert two.result == [{"B": ["y"]}, {"C": ["z"]}]
    assert [one["worker"] for one in two.results] == ["B", "C"]
    assert bad.result is None
    assert bad.error is not None
    assert "exited with code 1: the text is empty" in bad.error["error"]
    assert cluster.show(good.id)["results"][0]["value"] == {"count": 3}


@pytest.mark.parametrize("end", ["timeout", "cancel", "kill"])
@pytest.mark.slow
@pytest.mark.soak
def test_a_program_ends_with_its_job(cluster: Cluster, program: Path, tmp_path: Path, end: str) -> None:
    _, broker, _ = cluster.all(executables={"Count": str(program)})
    file = tmp_path / "pid"
    data = {"what": "child", "then": "hangs", "session": True, "file": str(file)}
    with cluster.manager() as manager:
        pipeline = Pipeline({Job("Count", data, timeout=3 if end == "timeout" else None): []})
        manager.start(pipeline)
        child = int(eventually(lambda: file.exists() and file.read_text().strip(), 60, "the program's child"))
        if end == "cancel":
            cluster.ask(**{"command": "cancel", "pipeline id": pipeline.id})
        elif end == "kill":
            broker.kill()
        if end != "kill":
            assert manager.wait(60), cluster.logs()
    eventually(lambda: not is_running(child), 60, "the end of the program's child")


def test_results_survive_a_restart_of_the_router(cluster: Cluster, tmp_path: Path) -> None:
    router, _, _ = cluster.all()
    file = tmp_path / "go"
    with cluster.manager() as manager:
        pipeline = Pipeline({Job("A", {"x": 1}): [], Job("Wait", {"file": str(file)}): []})
        manager.start(pipeline)
        eventually(lambda: cluster.show(pipeline.id)["jobs"][0]["state"] == "finished", 60, "the end of the first job")
        router.kill()
        cluster.start("Router")
        cluster.ready()
        file.touch()
        assert manager.wait(60), cluster.logs()
    assert pipeline.result == [{"A": ["x"]}, {"waited": True}]


@pytest.mark.parametrize(("length", "kept"), [(RESULT_LIMIT - 100, True), (RESULT_LIMIT, False)])
@pytest.mark.slow
@pytest.mark.soak
def test_results_are_bounded(cluster: Cluster, tmp_path: Path, length: int, kept: bool) -> None:
    program = tmp_path / "large"
    program.write_text(f"#!{sys.executable}\nprint('\"' + {length} * 'x' + '\"')\n")
    program.chmod(0o755)
    cluster.all(executables={"Large": str(program)})
    with cluster.manager() as manager:
        pipeline = Pipeline({Job("Large"): []})
        manager.start(pipeline)
        assert manager.wait(60), cluster.logs()
    assert pipeline.error is None
    assert pipeline.result == (length * "x" if kept else None)
    assert kept or f"more than {RESULT_LIMIT}" in pipeline.results[0]["omitted"]


def test_a_job_with_a_tag_waits_for_a_broker_that_has_it(cluster: Cluster) -> None:
    cluster.all()
    with cluster.manager() as manager:
        pipeline = Pipeline({Job("A", {"x": 1}, tag="gpu"): []})
        plain = Pipeline({Job("A", {"x": 2}): []})
        manager.start_all([pipeline, plain])
        eventually(lambda: cluster.ask(command="status")["missing tags"] == {"gpu": 1}, 60, "a missing tag")
        eventually(lambda: manager.finished(plain), 60, "the end of the job without a tag")
        shown = cluster.show(pipeline.id)
        assert shown["jobs"][0]["error"] == "waits for a Broker with the worker 'A' and the tag 'gpu'"
        assert shown["waits for"] == ["waits for a Broker with the worker 'A' and the tag 'gpu'"]
        listed = subprocess.run(
            [sys.executable, "-m", "fission", "pipelines", "list", "--api", cluster.api], capture_output=True, text=True, check=True
        )
        assert "the tag 'gpu'" in listed.stdout
        assert not pipeline.finished
        cluster.start("Broker", tags=["gpu", "large"], number_of_workers=1)
        assert manager.wait(60), cluster.logs()
    assert pipeline.result == {"A": ["x"]}
    status = cluster.ask(command="status")
    assert status["tags"] == {"gpu": 1, "large": 1}
    assert status["missing tags"] == {}


def test_times_are_utc_and_say_so(cluster: Cluster, tmp_path: Path) -> None:
    cluster.environment["TZ"] = "Pacific/Kiritimati"  # 14 hours ahead
    cluster.all()
    with cluster.manager() as manager:
        pipeline = Pipeline({Job("A", {"x": 1}): []})
        manager.start(pipeline)
        assert manager.wait(60), cluster.logs()
    shown = cluster.show(pipeline.id)
    _same(shown["accepted utc"], shown["accepted"])
    _same(shown["ended utc"], shown["ended"])
    file = tmp_path / "monitoring.jsonl"
    eventually(lambda: file.exists() and file.read_text().endswith("\n"), 60, "monitoring")
    data = json.loads(file.read_text().splitlines()[0])
    _same(data["timestamp utc"], data["timestamp"])
    _same(data["processes"][0]["started at utc"], data["processes"][0]["started at"])
    listed = subprocess.run(
        [sys.executable, "-m", "fission", "pipelines", "list", "--api", cluster.api],
        env={**os.environ, "TZ": "Pacific/Kiritimati"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"{shown['accepted utc'][:19].replace('T', ' ')} UTC" in listed.stdout


def _same(text: str, seconds: float) -> None:
    found = datetime.fromisoformat(text.replace("Z", "+00:00"))
    assert text.endswith("Z")
    assert found.utcoffset() == timedelta(0)
    assert abs(found.timestamp() - seconds) < 1e-3


def test_a_router_takes_the_database_of_an_earlier_version(tmp_path: Path) -> None:
    from fission.adapters.sqlalchemy_store import SqlPipelines

    place = str(tmp_path / "old.sqlite")
    SqlPipelines(place).close()
    with sqlite3.connect(place) as old:
        old.execute("ALTER TABLE fission_jobs DROP COLUMN result")
        old.execute("INSERT INTO fission_jobs VALUES ('p', 0, 'finished', 1, 0.5, 'n', '', '')")
    old.close()
    store = SqlPipelines(place)
    try:
        assert store.jobs(["p"])["p"][0].result == ""
    finally:
        store.close()


def test_up_reports_all_wrong_arguments_together(tmp_path: Path) -> None:
    words = [
        "--workers",
        "none_w12",
        "--store",
        "none_w12.Store",
        "--store-arg",
        "x",
        "--interval",
        "-1",
        "--api",
        "nowhere",
        "--tag",
        "a b",
    ]
    words += ["--executable", "x", "--executable", 'Y={"command": 1}', "--keys", str(tmp_path / "none"), "--store-secret", "y"]
    done = subprocess.run(
        [sys.executable, "-m", "fission", "pipelines", "up", *words], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    for wrong in (
        "no module 'none_w12'",
        "StoreClass",
        "--store-arg",
        "interval",
        "--api",
        "tags",
        "--executable",
        "'Y'",
        "none",
        "secret",
    ):
        assert wrong in done.stderr, (wrong, done.stderr)
    assert "Traceback" not in done.stderr
