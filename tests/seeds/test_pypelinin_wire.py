"""pypelinin's wire protocol, spoken by plain pyzmq in every role: a client, a broker, a Pipeliner that are not FISSION's."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from fission.adapters.keys import make_keys
from fission.pipelines import Job as PlainJob
from fission.pipelines import Pipeline as PlainPipeline
from fission.pipelines.broker_registry import UNKNOWN_S
from pypelinin import Client, Job, Pipeline, PipelineForPipeliner, PipelineManager
from tests.pipelines.daemons import Cluster
from tests.pipelines.test_router_api import Talk
from tests.waiting import eventually

WAIT_MS = 30_000
pytestmark = pytest.mark.timeout(240)  # real daemons, on machines that may be busy


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(tmp_path) as found:
        yield found


class Wire:
    """What a program of 2012 has: a REQ and a SUB socket, JSON, and lines."""

    def __init__(self, cluster: Cluster, *topics: str) -> None:
        self._context: zmq.Context[Any] = zmq.Context()
        self.api, self.broadcast = self._context.socket(zmq.REQ), self._context.socket(zmq.SUB)
        for socket, address in ((self.api, cluster.api), (self.broadcast, cluster.broadcast)):
            socket.setsockopt(zmq.LINGER, 0)
            socket.connect(address)
        for topic in topics:
            self.subscribe(topic)

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.api.close()
        self.broadcast.close()
        self._context.term()

    def subscribe(self, topic: str) -> None:
        self.broadcast.setsockopt_string(zmq.SUBSCRIBE, topic)

    def ask(self, command: str, **fields: Any) -> Any:
        """The fields' names have _ for a space."""
        self.api.send_json({"command": command, **{name.replace("_", " "): value for name, value in fields.items()}})
        assert self.api.poll(WAIT_MS), f"no answer to {command}"
        return self.api.recv_json()

    def hear(self) -> str:
        assert self.broadcast.poll(WAIT_MS), "no broadcast"
        frames = self.broadcast.recv_multipart()
        assert len(frames) == 1, "lines come in one frame"
        return str(frames[0].decode())

    def hear_until(self, beginning: str) -> str:
        while not (line := self.hear()).startswith(beginning):
            pass
        return line

    def wait_for_subscription(self) -> None:
        """A SUB socket's subscription takes effect some time after it was made."""
        self.subscribe("new job")

        def there() -> bool:
            self.ask("add job", worker="Unheard", data=None)
            return bool(self.broadcast.poll(100))

        eventually(there, 30, "the subscription")
        while self.ask("get job")["worker"] is not None:
            pass
        while self.broadcast.poll(300):
            self.broadcast.recv_multipart()


@pytest.fixture
def router(cluster: Cluster) -> Iterator[Cluster]:
    cluster.start("Router")
    eventually(lambda: _there(cluster), 60, cluster.logs)
    yield cluster
    assert "bug in FISSION" not in cluster.logs()
    assert "Traceback" not in cluster.logs()


def _there(cluster: Cluster) -> bool:
    with contextlib.suppress(Exception):
        return bool(cluster.ask(command="status")["answer"] == "ok")
    return False


ANY_DATA: list[Any] = ["y", None, 3, {"id": "1"}, [1, [2]], {"deep": {"x": None}}, "é", True]


def test_a_client_hands_in_single_jobs_and_a_broker_takes_and_finishes_them(router: Cluster) -> None:
    with Wire(router, "new job") as client, Wire(router) as broker:
        client.wait_for_subscription()
        configuration = broker.ask("get configuration")
        assert (configuration["store"], configuration["monitoring interval"]) == (router.config["store"], 0.5)
        assert broker.ask("get job") == {"worker": None}
        for data in ANY_DATA:
            accepted = client.ask("add job", worker="w2.1", data=data)
            assert accepted["answer"] == "job accepted"
            job_id = accepted["job id"]
            assert len(job_id) == 32
            assert client.hear() == "new job"
            client.subscribe(f"job finished: {job_id}")
            assert broker.ask("get job") == {"worker": "w2.1", "data": data, "job id": job_id}
            assert broker.ask("get job") == {"worker": None}, "it was taken"
            assert router.show(job_id)["jobs"][0]["state"] == "running"
            eventually(lambda: _subscribed(client, router), 30, "the subscription")
            assert broker.ask("job finished", job_id=job_id, duration=0.1) == {"answer": "good job!"}
            assert client.hear_until("job finished") == f"job finished: {job_id} duration: 0.1"
            assert router.show(job_id)["state"] == "finished"
            assert broker.ask("job finished", job_id=job_id, duration=0.1) == {"answer": "unknown job id"}


def _subscribed(wire: Wire, cluster: Cluster) -> bool:
    """Subscriptions of one socket take effect in order: when a later one works, so do all earlier ones."""
    wire.subscribe("new pipeline")
    name = PlainPipeline({PlainJob("Marker"): None}).as_message()
    answer = cluster.ask(command="add pipeline", pipeline=name)
    cluster.ask(**{"command": "cancel", "pipeline id": answer["pipeline id"]})
    heard = False
    while wire.broadcast.poll(100):
        heard = wire.broadcast.recv_multipart()[0] == b"new pipeline" or heard
    wire.broadcast.setsockopt_string(zmq.UNSUBSCRIBE, "new pipeline")
    return heard


BAD: list[tuple[dict[str, Any], str]] = [
    ({"command": "job finished"}, "syntax error"),
    ({"command": "job finished", "job id": "x"}, "syntax error"),
    ({"command": "job finished", "duration": 0.1}, "syntax error"),
    ({"command": "job finished", "job id": "x", "duration": "long"}, "syntax error"),
    ({"command": "job finished", "job id": "x", "duration": -1}, "syntax error"),
    ({"command": "job finished", "job id": "python rlz", "duration": 0.1}, "unknown job id"),
    ({"command": "job finished", "job id": ["x"], "duration": 0.1}, "unknown job id"),
    ({"command": "job finished", "job id": "x-0", "duration": 0.1}, "unknown job id"),
    ({"command": "job failed"}, "syntax error"),
    ({"command": "job failed", "job id": "x"}, "unknown job id"),
    ({"command": "pipeline finished"}, "syntax error"),
    ({"command": "pipeline finished", "pipeline id": "x", "duration": {}}, "syntax error"),
    ({"command": "pipeline finished", "pipeline id": "x", "duration": 1}, "unknown pipeline id"),
    ({"command": "pipeline finished", "pipeline id": 3}, "unknown pipeline id"),
    ({"command": "add job"}, "syntax error"),
    ({"command": "add job", "data": 1}, "syntax error"),
    ({"command": "add job", "worker": "two words"}, "syntax error"),
    ({"command": "add job", "worker": "A" * 201}, "syntax error"),
    ({"command": "add job", "worker": "A", "retries": -1}, "syntax error"),
    ({"command": "get job", "workers": 3}, "syntax error"),
    ({"command": "add pipeline", "pipeline": [["graph", []], ["data", None]]}, "error"),
    ({"command": "add pipeline", "pipeline": [["graph", [[1, 2]]], ["data", None]]}, "error"),
    ({"command": "add pipeline"}, "error"),
    ({"spam": "eggs"}, "error"),
    ({"command": "hello"}, "error"),
]


@pytest.mark.parametrize(("message", "answer"), BAD, ids=[json.dumps(message)[:60] for message, _ in BAD])
def test_malformed_and_unknown_ones_are_answered(message: dict[str, Any], answer: str) -> None:
    talk = Talk(":memory:")
    try:
        (found,) = talk.raw(json.dumps(message).encode())
        assert found["answer"] == answer
        assert answer.startswith("unknown") or found["error"]
        assert not [line for line in talk.records if "bug" in line]
        assert talk.ask(command="add job", worker="A")["answer"] == "job accepted"
    finally:
        talk.store.close()


def test_a_single_job_runs_on_brokers_of_ours_without_a_pipeliner(cluster: Cluster) -> None:
    cluster.start("Router")
    cluster.start("Broker")
    cluster.ready(pipeliners=0)
    with Wire(cluster, "job ") as client:
        good = client.ask("add job", worker="A", data={"b": 1, "a": 2})["job id"]
        bad = client.ask("add job", worker="Bad", data={}, retries=1)["job id"]
        eventually(lambda: cluster.show(good)["state"] == "finished" and cluster.show(bad)["state"] == "failed", 60, cluster.logs)
        assert cluster.show(bad)["jobs"][0]["tries"] == 2
        assert [run["data"] for run in cluster.runs("save", "A")] == [{"b": 1, "a": 2}]
        heard = [client.hear_until("job finished")]
        heard += [client.hear_until("job finished")]
        assert {line.split()[2] for line in heard} == {good, bad}
        assert cluster.ask(command="status")["pipeliners"] == 0, "the Router's own is none that was started"
        assert client.ask("get job") == {"worker": None}
        unknown = client.ask("add job", worker="Rare", data="x")["job id"]
        assert client.ask("get job") == {"worker": "Rare", "data": "x", "job id": unknown}, "only what no Broker of ours has"
        assert client.ask("job finished", job_id=unknown, duration=1) == {"answer": "good job!"}
        assert client.hear_until(f"job finished: {unknown}").endswith(" duration: 1")


def old_form(pipeline: Pipeline) -> Any:
    return json.loads(json.dumps(pipeline.serialize()))


def test_a_client_hands_in_a_pipeline_and_waits_for_the_broadcast(cluster: Cluster) -> None:
    """Run by the daemons of FISSION; the client is of 2012, also the one in `pypelinin.Client`."""
    cluster.all()
    pipeline = Pipeline({Job("A"): (Job("B"), Job("C"))}, data={"filename": "f"})
    client = Client()
    client.connect(api=cluster.api, broadcast=cluster.broadcast)
    client.broadcast_subscribe("pipeline finished: id=")
    for way in range(3):
        client.send_api_request({"command": "add pipeline", "pipeline": old_form(pipeline)})
        answer = client.get_api_reply()
        assert answer["answer"] == "pipeline accepted"
        name = answer["pipeline id"]
        eventually(lambda name=name: cluster.show(name)["state"] == "finished", 60, cluster.logs)  # type: ignore[misc]
        if way == 0 and not client.broadcast_poll(2000):
            continue  # the subscription was late
        assert client.broadcast_poll(WAIT_MS)
        line = client.broadcast_receive()
        identity, duration = line.split(": ")[1].split(", ")
        assert identity == f"id={name}"
        assert float(duration.split("=")[1]) > 0
    client.disconnect()
    assert len(cluster.runs("save")) == 9
    assert all(run["data"] == {"filename": "f"} for run in cluster.runs("save"))


class OldBroker:
    """A broker of 2012: asks for a job when it is notified of one or has finished one."""

    def __init__(self, cluster: Cluster, work: Callable[[str, Any], None]) -> None:
        self.done: list[tuple[str, Any]] = []
        self._cluster, self._work = cluster, work
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> OldBroker:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)

    def _run(self) -> None:
        with Wire(self._cluster, "new job") as wire:
            wire.ask("get configuration")
            self._jobs(wire)
            while not self._stop.is_set():
                if wire.broadcast.poll(50):
                    assert wire.broadcast.recv() == b"new job"
                    self._jobs(wire)

    def _jobs(self, wire: Wire) -> None:
        while (job := wire.ask("get job"))["worker"] is not None:
            self._work(job["worker"], job["data"])
            self.done.append((job["worker"], job["data"]))
            assert wire.ask("job finished", job_id=job["job id"], duration=0.01) == {"answer": "good job!"}


class OldPipeliner(OldBroker):
    """A Pipeliner of 2012, on pypelinin's own names."""

    def _run(self) -> None:
        jobs: dict[str, tuple[PipelineForPipeliner, Any]] = {}
        with Wire(self._cluster, "new pipeline", "job finished: ") as wire:
            self._pipelines(wire, jobs)
            while not self._stop.is_set():
                if not wire.broadcast.poll(50):
                    continue
                line = wire.broadcast.recv().decode()
                if line == "new pipeline":
                    self._pipelines(wire, jobs)
                elif (name := line.split(": ")[1].split(" ")[0]) in jobs:
                    pipeline, job = jobs.pop(name)
                    pipeline.add_finished_job(job)
                    if pipeline.finished():
                        assert wire.ask("pipeline finished", pipeline_id=pipeline.id, duration=0.25) == {"answer": "good job!"}
                    else:
                        self._send(wire, pipeline, jobs)

    def _pipelines(self, wire: Wire, jobs: dict[str, tuple[PipelineForPipeliner, Any]]) -> None:
        while (found := wire.ask("get pipeline"))["pipeline"] is not None:
            pipeline = PipelineForPipeliner.deserialize(found["pipeline"])
            assert isinstance(pipeline, PipelineForPipeliner)
            pipeline.id = found["pipeline id"]
            self._send(wire, pipeline, jobs)

    def _send(self, wire: Wire, pipeline: PipelineForPipeliner, jobs: dict[str, tuple[PipelineForPipeliner, Any]]) -> None:
        for job in pipeline.available_jobs() - pipeline.sent_jobs:
            jobs[wire.ask("add job", worker=job.worker_name, data=job.data)["job id"]] = (pipeline, job)
            pipeline.sent_jobs.add(job)


GRAPH = {Job("w1"): (Job("w2.1"), Job("w2.2")), (Job("w2.1"), Job("w2.2")): Job("w3")}


@pytest.mark.parametrize("pipeliner", ["ours", "theirs"])
@pytest.mark.parametrize("client", ["ours", "theirs"])
def test_pipelines_run_with_their_broker_and_any_pipeliner(router: Cluster, pipeliner: str, client: str) -> None:
    """Even if all of them are theirs, and only the Router is FISSION's."""
    with contextlib.ExitStack() as stack:
        brokers = [stack.enter_context(OldBroker(router, lambda worker, data: None)) for _ in range(2)]
        if pipeliner == "ours":
            router.start("Pipeliner")
        else:
            stack.enter_context(OldPipeliner(router, lambda worker, data: None))
        pipelines = [Pipeline(GRAPH, data={"index": index}) for index in range(10)]
        if client == "ours":
            manager = stack.enter_context(PipelineManager(router.api, router.broadcast))
            names = [manager.start(pipeline) for pipeline in pipelines]
            assert manager.wait(60), router.logs()
            assert manager.failed_pipelines == 0
        else:
            wire = stack.enter_context(Wire(router, "pipeline finished: id="))
            names = [wire.ask("add pipeline", pipeline=old_form(pipeline))["pipeline id"] for pipeline in pipelines]
        eventually(lambda: all(router.show(name)["state"] == "finished" for name in names), 60, router.logs)
        assert all(job["state"] == "finished" for name in names for job in router.show(name)["jobs"])
    done = [one for broker in brokers for one in broker.done]
    for index in range(10):
        mine = [worker for worker, data in done if data == {"index": index}]
        assert sorted(mine) == ["w1", "w2.1", "w2.2", "w3"], "each once"


def test_a_foreign_broker_gets_only_jobs_that_ours_cannot_run(cluster: Cluster) -> None:
    cluster.all()
    with OldBroker(cluster, lambda worker, data: None) as broker, cluster.manager() as manager:
        eventually(lambda: "other than FISSION's" in cluster.logs(), 30, cluster.logs)
        manager.start_all(PlainPipeline({PlainJob("A"): PlainJob("Theirs")}, data={"n": number}) for number in range(10))
        assert manager.wait(60), cluster.logs()
        assert manager.failed_pipelines == 0
    assert sorted(data["n"] for worker, data in broker.done if worker == "Theirs") == list(range(10))
    assert {worker for worker, _ in broker.done} == {"Theirs"}
    assert len(cluster.runs("save", "A")) == 10


def test_taken_and_accepted_jobs_outlive_the_router(router: Cluster) -> None:
    with Wire(router) as wire:
        jobs = [wire.ask("add job", worker="spam", data=number)["job id"] for number in range(5)]
        pipeline = wire.ask("add pipeline", pipeline=old_form(Pipeline({Job("eggs"): None}, data={"n": 1})))["pipeline id"]
        first = wire.ask("get job")
        wire.ask("job finished", job_id=first["job id"], duration=2.5)
        wire.ask("get job")  # never reported
        assert wire.ask("get pipeline")["pipeline id"] == pipeline  # never reported, too
    router.daemons[0].kill()
    router.start("Router")
    eventually(lambda: _there(router), 60, router.logs)
    with Wire(router) as wire:
        found = []
        while (job := wire.ask("get job"))["worker"] is not None:
            found.append((job["job id"], job["data"]))
            assert wire.ask("job finished", job_id=job["job id"], duration=0) == {"answer": "good job!"}
        assert found == [(name, number) for number, name in enumerate(jobs) if name != first["job id"]]
        again = wire.ask("get pipeline")
        assert again["pipeline id"] == pipeline
        assert Pipeline.deserialize(again["pipeline"]) == Pipeline({Job("eggs"): None}, data={"n": 1})
        assert wire.ask("pipeline finished", pipeline_id=pipeline, duration=3) == {"answer": "good job!"}
        assert wire.ask("pipeline finished", pipeline_id=pipeline, duration=3) == {"answer": "unknown pipeline id"}
        assert all(router.show(name)["state"] == "finished" for name in [*jobs, pipeline])


def test_with_keys_only_their_holders_speak_the_old_protocol(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    make_keys(keys)
    with Cluster(tmp_path, keys=keys) as cluster:
        cluster.start("Router")
        eventually(lambda: _there(cluster), 60, cluster.logs)
        client = Client(keys=keys)
        client.connect(api=cluster.api, broadcast=cluster.broadcast)
        client.send_api_request({"command": "add job", "worker": "spam", "data": "secret"})
        assert client.api_poll(WAIT_MS)
        assert client.get_api_reply()["answer"] == "job accepted"
        strangers: list[Client] = []
        for stranger_keys in (None, tmp_path / "others"):
            if stranger_keys is not None:
                make_keys(stranger_keys)
            strangers.append(Client(keys=stranger_keys))
            strangers[-1].connect(api=cluster.api, broadcast=cluster.broadcast)
            strangers[-1].broadcast_subscribe("")
            for command in ({"command": "get job"}, {"command": "get configuration"}):
                with contextlib.suppress(zmq.ZMQError):  # the first one still waits for its answer
                    strangers[-1].send_api_request(command)
        client.send_api_request({"command": "get job"})
        assert client.get_api_reply()["data"] == "secret"
        assert not any(stranger.api_poll(500) or stranger.broadcast_poll(100) for stranger in strangers)
        for one in (client, *strangers):
            one.disconnect()


# decisions, without sockets


@pytest.fixture
def talk() -> Iterator[Talk]:
    found = Talk(":memory:")
    yield found
    assert not [line for line in found.records if "bug" in line]
    found.store.close()


def over(talk: Talk, command: str, job: Any, **more: Any) -> str:
    return str(talk.ask(**{"command": command, "job id": job, **more})["answer"])


def test_jobs_that_a_broker_of_ours_may_have_begun_cannot_be_ended_by_others(talk: Talk) -> None:
    """The fake cluster has A and B."""
    talk.pulse()
    job = talk.ask(command="add job", worker="A", data=1)["job id"]
    assert talk.ask(command="get job") == {"worker": None}
    for command in ("job finished", "job failed"):
        for name in (job, f"{job}-0"):
            assert over(talk, command, name, duration=1) == "unknown job id"
    talk.add("x", PlainPipeline({PlainJob("A"): PlainJob("B")}))
    talk.exchange()
    assert over(talk, "pipeline finished", job) == "syntax error"
    assert talk.ask(**{"command": "pipeline finished", "pipeline id": "x", "duration": 1})["answer"] == "unknown pipeline id"
    talk.exchange(run=[["x", 0, 1]])
    assert over(talk, "job finished", "x-0", duration=1) == "unknown job id"
    assert talk.ask(command="get pipeline") == {"pipeline": None}
    assert talk.ask(**{"command": "pipeline", "pipeline id": "x"})["jobs"][0]["state"] == "running"
    assert talk.fake.forgotten == []


def test_a_job_that_was_taken_is_given_to_no_other_client_until_its_time_is_over(talk: Talk) -> None:
    job = talk.ask(command="add job", worker="spam", data=1, retries=1, timeout=30)["job id"]
    assert talk.ask(command="get job")["job id"] == job
    assert len(talk.fake.forgotten) == 1, "the cluster does not run it"
    talk.later(29)
    assert talk.ask(command="get job") == {"worker": None}
    talk.later(2)
    assert talk.ask(command="get job")["job id"] == job, "it has a retry"
    assert over(talk, "job failed", job, message="no such page", duration=1) == "good job!"
    shown = talk.ask(**{"command": "pipeline", "pipeline id": job})
    assert (shown["state"], shown["jobs"][0]["tries"], shown["jobs"][0]["error"]) == ("failed", 2, "no such page")
    assert talk.lines[-2:] == [f"job failed: {job} state: failed", f"job finished: {job} duration: 1.0"]


def test_a_cancelled_job_is_unknown_and_a_retried_one_is_offered_again(talk: Talk) -> None:
    job = talk.ask(command="add job", worker="spam", data=1)["job id"]
    talk.ask(command="get job")
    talk.ask(**{"command": "cancel", "pipeline id": job})
    assert over(talk, "job finished", job, duration=1) == "unknown job id"
    assert talk.ask(command="get job") == {"worker": None}
    talk.ask(**{"command": "retry", "pipeline id": job})
    assert talk.ask(command="get job") == {"worker": "spam", "data": 1, "job id": job}
    assert over(talk, "job finished", job, duration=1) == "good job!"


def test_urgent_jobs_come_first_the_oldest_among_equals_and_by_worker_on_request(talk: Talk) -> None:
    ids = {}
    for name, worker, priority in [("a", "x", 0), ("b", "y", 5), ("c", "x", 5), ("d", "y", 0), ("e", "z", -1)]:
        ids[talk.ask(command="add job", worker=worker, data=name, priority=priority)["job id"]] = name
    assert ids[talk.ask(command="get job", workers=["z", "other"])["job id"]] == "e"
    assert talk.ask(command="get job", workers=[]) == {"worker": None}
    assert [talk.ask(command="get job")["data"] for _ in range(4)] == ["b", "c", "a", "d"]


def test_many_single_jobs_wait_in_the_database_not_in_memory(talk: Talk) -> None:
    for number in range(1200):
        talk.ask(command="add job", worker="spam", data=number)
    assert len(talk.api.state.active) <= 1000
    assert talk.ask(command="status")["waiting"] >= 200
    found = []
    while (job := talk.ask(command="get job"))["worker"] is not None:
        found.append(job["data"])
        assert over(talk, "job finished", job["job id"], duration=0) == "good job!"
    assert found == list(range(1200))
    assert talk.api.state.active == {}
    assert talk.api.state.single_durations == {}
    assert talk.api.queue._open == talk.api.queue._by_worker == talk.api.queue.pulled == {}


def test_a_worker_that_no_broker_has_fails_unless_a_broker_of_others_is_there(talk: Talk) -> None:
    talk.pulse()
    lost = talk.ask(command="add job", worker="Typo", data=1)["job id"]
    talk.later(UNKNOWN_S + 1)
    assert talk.ask(**{"command": "pipeline", "pipeline id": lost})["state"] == "failed"
    talk.ask(command="get job")
    kept = talk.ask(command="add job", worker="Typo", data=1)["job id"]
    talk.later(60)
    assert talk.ask(command="get job")["job id"] == kept


def test_news_are_repeated_to_clients_that_may_have_missed_them(talk: Talk) -> None:
    talk.later(3)
    assert talk.lines == [], "none of their clients was seen"
    talk.ask(command="get job")
    talk.ask(command="get pipeline")
    talk.ask(command="add job", worker="spam", data=1)
    talk.add("x", PlainPipeline({PlainJob("A"): None}))
    assert talk.lines == ["new job", "new pipeline"]
    talk.later(3)
    assert talk.lines.count("new job") >= 3
    assert talk.lines.count("new pipeline") >= 3
    talk.ask(command="get job")
    talk.ask(command="get pipeline")
    talk.lines.clear()
    talk.later(3)
    assert talk.lines == []


def test_a_pipeline_that_their_format_cannot_express_is_left_to_ours(talk: Talk) -> None:
    twice = PlainPipeline({(PlainJob("A", {"n": 1}), PlainJob("A", {"n": 2})): PlainJob("B")})
    own = PlainPipeline({PlainJob("A", {"own": 1}): PlainJob("B")}, data={"n": 1})
    talk.add("twice", twice)
    talk.add("own", own)
    given = talk.ask(command="get pipeline")
    assert given["pipeline id"] == "own"
    pipeline = PipelineForPipeliner.deserialize(given["pipeline"])
    assert {job.worker_name: job.data for job in pipeline.jobs} == {"A": {"own": 1}, "B": {"n": 1}}
    assert talk.ask(command="get pipeline") == {"pipeline": None}
    assert [plan["id"] for plan in talk.exchange()[0]["pipelines"]] == ["twice"]
    assert talk.ask(command="pipelines", states=["running"])["pipelines"][0]["id"] == "own"


def test_a_pipeline_begun_by_our_pipeliners_is_not_given_away(talk: Talk) -> None:
    talk.add("x", PlainPipeline({PlainJob("A"): PlainJob("B")}))
    talk.exchange()
    talk.exchange(run=[["x", 0, 1]])
    talk.later(1.5)
    talk.later(6)
    assert "x" in talk.api.state.waiting
    assert talk.ask(command="get pipeline") == {"pipeline": None}
    assert talk.ask(**{"command": "pipeline finished", "pipeline id": "x"})["answer"] == "unknown pipeline id"


def test_waiting_is_short(talk: Talk) -> None:
    """A thousand ``get job`` with a thousand jobs of ours open cost no time that grows with them."""
    talk.pulse()
    for number in range(900):
        talk.ask(command="add job", worker="A", data=number)
    begin = time.process_time()
    for _ in range(1000):
        assert talk.ask(command="get job") == {"worker": None}
    assert time.process_time() - begin < 10
