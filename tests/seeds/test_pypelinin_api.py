"""The names of pypelinin in a user's program: Job, Pipeline, PipelineForPipeliner, PipelineManager, Client behave as published."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
import zmq
from hypothesis import given, settings
from hypothesis import strategies as st

import pypelinin
from fission.errors import FissionError
from fission.pipelines import Job as PlainJob
from fission.pipelines import PipelineManager as PlainManager
from pypelinin import Client, Job, Pipeline, PipelineForPipeliner, PipelineManager, RouterAnswer, RouterUnreachable, Worker
from tests.pipelines.daemons import Cluster
from tests.ports import free_ports
from tests.waiting import CommandLine, eventually

pytestmark = pytest.mark.timeout(240)  # real daemons, on machines that may be busy


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(tmp_path) as found:
        yield found


@pytest.mark.parametrize(
    "name", ["Router", "Broker", "Pipeliner", "Client", "Job", "Pipeline", "PipelineManager", "PipelineForPipeliner", "Worker"]
)
def test_every_published_name_is_there(name: str) -> None:
    assert name in pypelinin.__all__
    assert isinstance(getattr(pypelinin, name), type)


def test_the_version_is_a_text_of_numbers() -> None:
    assert [int(part) for part in pypelinin.__version__.split(".")] >= [0, 1, 0]


# Job


DATA: list[Any] = [None, {}, {"a": 1}, {"python": 42, "spam": "eggs"}, {"deep": [{"x": [1, None]}]}]


@pytest.mark.parametrize(("one", "other"), list(itertools.product(DATA, DATA)))
def test_jobs_are_equal_by_worker_name_alone(one: Any, other: Any) -> None:
    assert Job("A", one) == Job("A", other)
    assert hash(Job("A", one)) == hash(Job("A", other))
    assert Job("A", one) != Job("B", other)
    assert Job("A", one) != "A"
    assert {Job("A", one), Job("A", other)} == {Job("A")}


@pytest.mark.parametrize("data", DATA)
def test_a_jobs_repr_names_its_worker(data: Any) -> None:
    assert repr(Job("Downloader", data)) == f"<Job worker=Downloader{'' if data is None else ', data=...'}>"


NAMES = ["8", "w2.1", "10", "count-words", "a/b", "Größe", "class", "A", "x" * 200, "(x)", "'x'", "-", "1e5", "None"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("job_class", [Job, PlainJob])
def test_any_word_is_a_workers_name(name: str, job_class: type[PlainJob]) -> None:
    job = job_class(name)
    assert job.worker_name == name
    again = job_class.deserialize(json.loads(json.dumps(job.serialize())))
    assert again == job
    assert name in str(Pipeline({Job(name): None}))


@pytest.mark.parametrize("name", ["", " ", "two words", "line\n", "\0", "\ud800", "\x1b[2J", 3, None, b"A", "x" * 201])
def test_values_that_name_no_worker_are_refused(name: Any) -> None:
    with pytest.raises(ValueError, match="a job's worker name must"):
        Job(name)


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("more", [{}, {"retries": 2}, {"retries": 1, "timeout": 2.5}])
def test_a_job_is_serialized_as_tuples_and_comes_back(data: Any, more: dict[str, Any]) -> None:
    job = Job("test", data, **more)
    sent = job.serialize()
    assert isinstance(sent, tuple)
    assert all(isinstance(pair, tuple) and len(pair) == 2 for pair in sent)
    assert dict(sent)["worker_name"] == "test"
    assert ("data" in dict(sent)) == (data is not None)
    if data is not None:
        assert dict(sent)["data"] == tuple(data.items())
    for form in (sent, json.loads(json.dumps(sent)), dict(sent)):
        again = Job.deserialize(form)
        assert (again, again.data, again.retries, again.timeout) == (job, job.data, job.retries, job.timeout)
        assert again.serialize() == sent
    with pytest.raises(ValueError, match="worker_name"):
        Job.deserialize({})


# Pipeline

GRAPHS: list[Callable[[], Any]] = [
    lambda: {Job("A"): None},
    lambda: {Job("A"): [], Job("B"): ()},
    lambda: {Job("A"): Job("B"), Job("B"): (Job("C"), Job("D"))},
    lambda: {(Job("A"), Job("B")): [Job("C")], Job("E"): (Job("B"), Job("F"))},
    lambda: {Job("w1"): (Job("w2.1"), Job("w2.2")), (Job("w2.1"), Job("w2.2")): Job("8")},
    lambda: [(Job("A"), Job("B")), (Job("C"), None)],
]


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("kind", [Pipeline, PipelineForPipeliner])
def test_a_pipeline_is_serialized_as_tuples_and_comes_back(graph: Callable[[], Any], data: Any, kind: type[Pipeline]) -> None:
    pipeline = kind(graph(), data=data)
    sent = pipeline.serialize()
    assert isinstance(sent, tuple)
    assert set(dict(sent)) == {"graph", "data"}
    assert dict(sent)["data"] == (None if data is None else tuple(data.items()))
    for before, after in dict(sent)["graph"]:
        assert Job.deserialize(before) in pipeline.jobs
        assert after is None or Job.deserialize(after) in pipeline.jobs
    if data != {"deep": [{"x": [1, None]}]}:
        hash(sent)  # as published: a pipeline could be looked up by it
    for form in (sent, json.loads(json.dumps(sent)), pipeline.as_message()):
        again = kind.deserialize(form)
        assert type(again) is kind
        assert again == pipeline
        assert hash(again) == hash(pipeline)
        assert again.serialize() == sent
    assert pipeline != kind({Job("other"): None}, data=data)
    assert pipeline != kind(graph(), data={"other": 1})


@pytest.mark.parametrize("information", [None, 3, [], [1], [["graph", 3]], [["graph", [[1, 2, 3]]]], [["graph", [[[], None]]]], "graph"])
def test_invalid_serialized_pipelines_are_refused(information: Any) -> None:
    with pytest.raises(ValueError, match=r"a pipeline|an edge|a job"):
        Pipeline.deserialize(information)


@pytest.mark.parametrize("own", [None, {"own": 1}])
def test_a_pipelines_data_are_for_all_jobs_and_the_given_ones_get_them(own: Any) -> None:
    jobs = [Job("w1", own), Job("w2"), Job("8", own)]
    again = Job("w2")
    pipeline = Pipeline({jobs[0]: jobs[1], again: jobs[2]}, data={"python": 42})
    for job in [*jobs, again]:
        assert job.data == {"python": 42}
        assert job.pipeline is pipeline
    assert all(any(job is given for given in jobs) for job in pipeline.jobs)
    assert [job.get("data") for job in pipeline.as_message()["jobs"]] == [None] * 3
    assert pipeline.as_message()["data"] == {"python": 42}


def test_the_same_jobs_are_written_into_many_pipelines_each_with_its_data() -> None:
    graph = {Job("Downloader"): (Job("GetText"), Job("GetLinks"))}
    pipelines = [Pipeline(graph, data={"file": number}) for number in range(5)]
    assert [pipeline.as_message()["data"] for pipeline in pipelines] == [{"file": number} for number in range(5)]
    assert all("data" not in job for pipeline in pipelines for job in pipeline.as_message()["jobs"])
    assert len({pipeline.id for pipeline in pipelines}) == 1, "none has one before it is started"


def test_without_data_of_the_pipeline_each_job_has_its_own_also_if_they_come_late() -> None:
    first, second = Job("A", {"n": 1}), Job("B")
    pipeline = Pipeline({first: second})
    second.data = {"late": True}
    assert [job.get("data") for job in pipeline.as_message()["jobs"]] == [{"n": 1}, {"late": True}]
    assert pipeline.jobs == (first, second)


def test_jobs_of_one_worker_with_other_data_stay_several_where_they_are_seen() -> None:
    pipeline = Pipeline({Job("A"): [Job("B", {"n": 1}), Job("B", {"n": 2})]})
    assert [job.get("data") for job in pipeline.as_message()["jobs"]] == [None, {"n": 1}, {"n": 2}]


def test_a_pipeline_before_it_is_started() -> None:
    pipeline = Pipeline({Job("test"): None})
    assert (pipeline.data, pipeline.id, pipeline.jobs, pipeline.sent_jobs) == (None, None, (Job("test"),), set())
    assert pipeline.has_cycle() is False
    assert repr(pipeline) == "<Pipeline: test>"
    assert repr(Pipeline({Job("A"): None}, data={"a": 1})) == "<Pipeline: A, data=...>"


@pytest.mark.parametrize(
    "graph",
    [
        lambda: {Job("A"): Job("A")},
        lambda: {Job("A"): [Job("B")], Job("B"): [Job("A")]},
        lambda: {Job("A"): [Job("B")], Job("B"): [Job("C")], Job("C"): [Job("B")]},
        lambda: {Job("A"): Job("B"), Job("B"): Job("C"), Job("C"): Job("D"), Job("D"): Job("B")},
        lambda: {"test": 123},
        lambda: {Job("A"): "B"},
    ],
)
@pytest.mark.parametrize("kind", [Pipeline, PipelineForPipeliner])
def test_circles_and_other_objects_than_jobs_are_value_errors(graph: Callable[[], Any], kind: type[Pipeline]) -> None:
    with pytest.raises(ValueError, match=r"pipeline|Job objects"):
        kind(graph())


def test_has_cycle_looks_at_the_graph() -> None:
    pipeline = Pipeline({Job("A"): Job("B"), Job("B"): Job("C")})
    pipeline._after[0].add(2)  # what no constructor lets through
    circle = pipeline.has_cycle()
    assert isinstance(circle, list)
    assert set(circle) == {Job("A"), Job("B"), Job("C")}


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "utf-16", "cp1252"])
def test_save_dot_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    pipeline = Pipeline({Job("Größe"): Job("B")})
    pipeline.save_dot(str(tmp_path / "graph.dot"), encoding)
    assert (tmp_path / "graph.dot").read_bytes().decode(encoding) == f"{pipeline}\n"
    pipeline.save_dot(tmp_path / "graph.dot")
    assert (tmp_path / "graph.dot").read_text(encoding="utf-8") == f"{pipeline}\n"


# PipelineForPipeliner


@settings(max_examples=60, deadline=None)
@given(number=st.integers(1, 9), seed=st.integers(0, 10**6), data=st.sampled_from([None, {"n": 1}]))
def test_a_pipeliner_of_the_users_own_runs_any_graph(number: int, seed: int, data: Any) -> None:
    """Its loop as published: take `available_jobs` without `sent_jobs`, send them, and note in any order which are finished."""
    rng = Random(seed)
    jobs = [Job(str(index)) for index in range(number)]
    edges = [(before, after) for before in range(number) for after in range(before + 1, number) if rng.random() < 0.4]
    graph: list[tuple[Job, Job | None]] = [(jobs[before], jobs[after]) for before, after in edges]
    pipeline = PipelineForPipeliner([*graph, *((job, None) for job in jobs)], data=data)
    assert pipeline.available_jobs() == set(pipeline.starters)
    running: list[PlainJob] = []
    done: list[int] = []
    while not pipeline.finished():
        fresh = pipeline.available_jobs() - pipeline.sent_jobs
        for job in fresh:
            assert {str(before) for before, after in edges if str(after) == job.worker_name} <= {str(one) for one in done}
        pipeline.sent_jobs |= fresh
        running += sorted(fresh, key=lambda job: job.worker_name)
        job = running.pop(rng.randrange(len(running)))
        assert isinstance(job, Job)
        assert not pipeline.finished_job(job)
        pipeline.add_finished_job(Job(job.worker_name) if rng.random() < 0.5 else job)
        assert pipeline.finished_job(job)
        done.append(int(job.worker_name))
    assert sorted(done) == list(range(number))
    assert not running
    assert pipeline.available_jobs() == set()


def test_a_finished_job_is_noted_once_and_must_be_there() -> None:
    pipeline = PipelineForPipeliner({Job("A"): Job("B")}, data={"n": 1})
    assert pipeline.finished() is False
    pipeline.add_finished_job(Job("A"))
    with pytest.raises(RuntimeError, match="was reported before"):
        pipeline.add_finished_job(Job("A"))
    with pytest.raises(ValueError, match="must be in the pipeline"):
        pipeline.add_finished_job(Job("Z"))


# PipelineManager


def test_start_waits_for_a_router_that_comes_later(cluster: Cluster, caplog: pytest.LogCaptureFixture, monkeypatch: Any) -> None:
    monkeypatch.setattr("fission.pipelines.manager.PATIENCE_S", 0.2)
    manager = PipelineManager(cluster.api, cluster.broadcast)
    pipeline = Pipeline({Job("A"): None})
    started = threading.Thread(target=lambda: manager.start(pipeline))
    started.start()
    try:
        eventually(lambda: "waiting for it" in caplog.text, 20, "a word of the manager that waits")
        assert started.is_alive()
        cluster.start("Router")
        started.join(60)
        assert not started.is_alive()
        assert cluster.show(pipeline.id)["state"] == "waiting"
        assert caplog.text.count("waiting for it") == 1, "one word is enough"
    finally:
        started.join(60)
        manager.disconnect()


def test_with_a_timeout_it_gives_up() -> None:
    api, broadcast = (f"tcp://127.0.0.1:{port}" for port in free_ports(2))
    with PipelineManager(api, broadcast, timeout=0.3) as manager, pytest.raises(RouterUnreachable, match="no Router answers"):
        manager.start(Pipeline({Job("A"): None}))


class Fake:
    """A Router's two addresses: answers each request with the result of `answer`, in a thread."""

    def __init__(self, answer: Callable[[dict[str, Any]], Any]) -> None:
        self._context: zmq.Context[Any] = zmq.Context()
        self.rep, self.pub = self._context.socket(zmq.REP), self._context.socket(zmq.PUB)
        self.ports = [socket.bind_to_random_port("tcp://127.0.0.1") for socket in (self.rep, self.pub)]
        self.api, self.broadcast = (f"tcp://127.0.0.1:{port}" for port in self.ports)
        self.requests: list[dict[str, Any]] = []
        self._answer = answer
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Fake:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(20)
        self.pub.close(0)
        self._context.term()

    def _run(self) -> None:
        while not self._stop.is_set():
            if self.rep.poll(20):
                self.requests.append(self.rep.recv_json())
                self.rep.send_json(self._answer(self.requests[-1]))
        self.rep.close(0)

    def end(self, names: list[str], first: int) -> None:
        ends = [[name, "finished", 1.5, number, None] for number, name in enumerate(names, first)]
        self.pub.send_multipart([b"ended", json.dumps({"before": first - 1, "ends": ends}).encode()])


def modern(request: dict[str, Any]) -> dict[str, Any]:
    if request["command"] == "add pipelines":
        return {"answer": "pipelines accepted", "number": len(request["pipelines"])}
    return {"answer": "ok", "number": 0, "ends": []}


@pytest.fixture(params=[PipelineManager, PlainManager])
def managed(request: pytest.FixtureRequest) -> Iterator[tuple[Fake, PlainManager]]:
    with Fake(modern) as fake, request.param(fake.api, fake.broadcast) as manager:
        yield fake, manager


def test_one_query_of_finished_updates_all_pipelines(managed: tuple[Fake, PlainManager]) -> None:
    """``while [p.finished for p in ps].count(True) < 40: manager.finished(ps[0])`` ends."""
    fake, manager = managed
    pipelines = [Pipeline({Job("A"): None}, data={"n": number}) for number in range(40)]
    names = [manager.start(pipeline) for pipeline in pipelines]
    assert (manager.started_pipelines, manager.finished_pipelines) == (40, 0)
    assert repr(manager) == "<PipelineManager: 40 submitted, 0 finished>"
    assert set(manager.pipelines) == set(pipelines)
    sent = 0
    deadline = time.monotonic() + 60
    while [pipeline.finished for pipeline in pipelines].count(True) < 40:
        assert time.monotonic() < deadline
        if pipelines[max(0, sent - 1)].finished or sent == 0:  # the next one ends when the news of this one have come
            fake.end(names[sent : sent + 1], sent + 1)
            sent += bool(manager.finished(pipelines[0])) or sent > 0
        manager.finished(pipelines[0])
    assert repr(manager) == "<PipelineManager: 40 submitted, 40 finished>"


def test_update_returns_early_when_nothing_more_comes(managed: tuple[Fake, PlainManager]) -> None:
    fake, manager = managed
    pipelines = [Pipeline({Job("A"): None}, data={"n": number}) for number in range(10)]
    names = [manager.start(pipeline) for pipeline in pipelines]
    begin = time.monotonic()
    manager.update(600)
    assert time.monotonic() - begin < 60
    for number, name in enumerate(names[:5], 1):  # all of what is there is taken by one call, or a few if the subscription is slow
        fake.end([name], number)
    eventually(lambda: (manager.update(5), manager.finished_pipelines >= 5)[1] or fake.end(names[:5], 1), 30, "five ends")
    manager.update()
    assert manager.finished_pipelines == 5
    with pytest.raises(ValueError, match="was not started by this"):
        manager.finished(Pipeline({Job("A"): None}))
    with pytest.raises(ValueError, match="was already started"):
        manager.start(pipelines[0])


def test_the_manager_is_a_client(cluster: Cluster) -> None:
    cluster.start("Router")
    manager = PipelineManager(cluster.api, cluster.broadcast)
    assert isinstance(manager, Client)
    manager.send_api_request({"command": "status"})
    assert manager.get_api_reply()["answer"] == "ok"
    assert manager.broadcast_poll(1) is False
    manager.disconnect()
    with pytest.raises(RuntimeError):
        manager.disconnect()
    with pytest.raises(RuntimeError):
        manager.send_api_request({"command": "status"})
    manager.disconnect(silent=True)


FOREIGN: list[dict[str, Any]] = [{"answer": "unknown command"}, {"answer": "undefined command"}, {"answer": "syntax error"}, {}]


@pytest.mark.parametrize("answer", FOREIGN)
def test_an_older_router_is_a_clear_error_for_a_manager(answer: dict[str, Any]) -> None:
    with Fake(lambda request: answer) as fake, PipelineManager(fake.api, fake.broadcast) as manager:
        with pytest.raises(RouterAnswer, match=r"Router") as found:
            manager.start(Pipeline({Job("A"): None}))
        assert not answer or "an older one or pypelinin's own" in str(found.value)
        assert isinstance(found.value, FissionError)


@pytest.mark.parametrize(
    "words",
    [["list"], ["show", "x"], ["cancel", "x"], ["retry", "x"], ["retry", "--all-failed"], ["submit", "p.json"], ["send", "p.json"]],
    ids=" ".join,
)
@pytest.mark.parametrize("answer", [FOREIGN[0], {}], ids=["unknown", "empty"])
def test_an_older_router_is_a_clear_error_for_every_command(fission: CommandLine, words: list[str], answer: dict[str, Any]) -> None:
    fission.project({"p.json": '[{"graph": {"A": null}}]'})
    with Fake(lambda request: answer) as fake:
        where = ["--api", fake.api, *(["--broadcast", fake.broadcast] if words[0] in ("submit", "send") else [])]
        done = fission.run("pipelines", *words, *where, exit_code=None)
    assert done.exit_code not in (0, None)
    assert "Traceback" not in done.stderr + done.stdout
    assert "KeyError" not in done.stderr
    assert "Error: " in done.stderr
    assert "Router" in done.stderr


@pytest.mark.parametrize("kind", ["Broker", "Pipeliner"])
def test_an_older_router_is_a_clear_error_for_a_daemon(cluster: Cluster, kind: str) -> None:
    def older(request: dict[str, Any]) -> dict[str, Any]:
        return {"store": {}, "monitoring interval": 60} if request["command"] == "get configuration" else {"answer": "unknown command"}

    with Fake(older) as fake:
        cluster.ports = fake.ports
        daemon = cluster.start(kind)
        assert daemon.process.wait(60) != 0
    assert "older" in daemon.said
    assert "KeyError" not in daemon.said


# Client


def test_a_client_must_be_connected() -> None:
    client = Client()
    with pytest.raises(ValueError, match="api"):
        client.connect()
    calls: list[Callable[[], Any]] = [
        lambda: client.send_api_request({}),
        client.get_api_reply,
        lambda: client.api_poll(1),
        client.disconnect_api,
        lambda: client.broadcast_subscribe("x"),
        lambda: client.broadcast_unsubscribe("x"),
        lambda: client.broadcast_poll(1),
        client.broadcast_receive,
        client.disconnect_broadcast,
        client.disconnect,
    ]
    for call in calls:
        with pytest.raises(RuntimeError, match="connect"):
            call()
    client.disconnect(silent=True)
    client.disconnect_api(silent=True)
    client.disconnect_broadcast(silent=True)


@pytest.mark.parametrize("times", [1, 3])
def test_a_client_asks_and_listens_and_connects_again(times: int) -> None:
    with Fake(lambda request: {"spam": request}) as fake:
        client = Client()
        for turn in range(times):
            client.connect(api=fake.api, broadcast=fake.broadcast)
            assert (client.api_address, client.broadcast_address) == (fake.api, fake.broadcast)
            client.send_api_request({"command": "get configuration", "turn": turn})
            assert client.api_poll(20_000) is True
            assert client.get_api_reply() == {"spam": {"command": "get configuration", "turn": turn}}
            assert client.api_poll() is False
            client.broadcast_subscribe("spam" if turn % 2 else b"spam")

            def heard() -> bool:
                fake.pub.send(b"ham")
                fake.pub.send("spam eggs é".encode())
                return client.broadcast_poll(50)

            eventually(heard, 20, "news")
            assert client.broadcast_receive() == "spam eggs é"
            client.broadcast_unsubscribe("spam")

            def quiet() -> bool:
                while client.broadcast_poll(1):
                    assert client.broadcast_receive().startswith("spam")
                fake.pub.send(b"spam")
                return not client.broadcast_poll(50)

            eventually(quiet, 20, "silence after broadcast_unsubscribe")
            client.disconnect_api()
            assert client.broadcast_poll(1) is False, "the other one is still connected"
            client.disconnect()
            with pytest.raises(RuntimeError):
                client.get_api_reply()
            with pytest.raises(RuntimeError):
                client.broadcast_receive()


# stores, as published


FILE_STORE = '''
import json
import os


class SimpleFileStore:
    """One file for each document: read, changed, written; what is only in memory must stay there too."""

    def __init__(self, **configuration):
        self.monitoring = open(configuration["monitoring"], "w")
        self.calls = 0

    def retrieve(self, info):
        with open(info["data"]["filename"]) as file:
            values = json.load(file)
        return {name: values[name] for name in info["worker_requires"]}

    def save(self, info):
        self.calls += 1
        with open(info["data"]["filename"]) as file:
            values = json.load(file)
        values.update(info["worker_result"])
        values.setdefault("calls", []).append(self.calls)
        with open(info["data"]["filename"], "w") as file:
            json.dump(values, file)

    def save_monitoring(self, data):
        self.monitoring.write(json.dumps(data) + "\\n")
        self.monitoring.flush()
'''
TWO_WORKERS = """
from pypelinin import Worker

__all__ = ["First", "Second", "8"]


class First(Worker):
    requires = ["text"]

    def process(self, data):
        return {"first": data["text"].upper()}


class Second(Worker):
    requires = ["first"]

    def process(self, data):
        return {"second": data["first"] + "!"}


globals()["8"] = type("8", (Second,), {})
"""


def test_the_published_file_store_loses_nothing(cluster: Cluster) -> None:
    (cluster.folder / "store.py").write_text(FILE_STORE)
    (cluster.folder / "two_workers.py").write_text(TWO_WORKERS)
    cluster.config["store"] = {"monitoring": str(cluster.folder / "monitoring.log")}
    cluster.config["monitoring interval"] = 0.2
    cluster.all(store="SimpleFileStore", workers="two_workers")
    manager = PipelineManager(cluster.api, cluster.broadcast)
    pipelines = []
    for number in range(20):
        file = cluster.folder / f"{number}.data"
        file.write_text(json.dumps({"text": f"n{number}"}))
        pipelines.append(Pipeline({Job("First"): (Job("Second"), Job("8"))}, data={"filename": str(file)}))
        manager.start(pipelines[-1])
    eventually(lambda: manager.finished(pipelines[0]) and manager.finished_pipelines == 20, 60, cluster.logs)
    manager.disconnect()
    assert not [pipeline.error for pipeline in pipelines if pipeline.error]
    calls = []
    for number in range(20):
        values = json.loads((cluster.folder / f"{number}.data").read_text())
        assert (values["first"], values["second"]) == (f"N{number}", f"N{number}!")
        calls += values["calls"]
    assert sorted(calls) == list(range(1, 61)), "one store, called serially"
    assert "\0" not in (cluster.folder / "monitoring.log").read_text()
    assert Worker().requires == ()
