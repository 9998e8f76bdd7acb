"""The Router's answers, without sockets or processes: every message gets one, a malformed one too, and nothing breaks."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fission.adapters.sqlalchemy_store import SqlPipelines
from fission.pipelines import Job, Pipeline
from fission.pipelines.broker_registry import SILENCE_S, UNKNOWN_S
from fission.pipelines.router_api import RouterApi
from fission.protocol.messages.codec import Message
from fission.protocol.messages.pipelines.router_to_broker import RouterAbout
from fission.protocol.messages.pipelines.wire import LIMIT, PIPELINE_LIMIT, encode
from fission.protocol.pipeline_records import Task, TaskEnd


class Fake:
    """The clock, the cluster and the listeners of a RouterApi."""

    def __init__(self) -> None:
        self.now = 100.0
        self.tasks: list[Task] = []
        self.forgotten: list[tuple[str, int, int]] = []
        self.dead: list[str] = []
        self.connected: dict[str, list[str]] = {}  # processes that have connected, by Broker, reported by it or not
        self.said: list[tuple[str, Mapping[str, Any]]] = []
        self.lines: list[str] = []

    def run(self, tasks: Sequence[Task]) -> None:
        self.tasks += tasks

    def forget(self, tasks: Iterable[tuple[str, int, int]]) -> None:
        self.forgotten += tasks

    def workers(self) -> Mapping[str, int]:
        return {"A": 1, "B": 1}

    def processes(self) -> int:
        return 2

    def tags(self) -> dict[str, int]:
        return {}

    def can_run(self, worker: str, tag: str) -> bool:
        return worker in self.workers() and not tag

    def busy(self) -> frozenset[str]:
        return frozenset()

    def processes_of(self, broker: str) -> frozenset[str]:
        return frozenset(self.connected.get(broker, ()))

    def lost(self, addresses: Iterable[str]) -> None:
        self.dead += addresses

    def say(self, topic: str, message: Message) -> None:
        self.said.append((topic, json.loads(encode(message))))


class Talk:
    """A RouterApi, and all clients that talk to it."""

    def __init__(self, place: str) -> None:
        self.fake = Fake()
        self.store = SqlPipelines(place)
        self.logger = logging.Logger("Router")
        self.records: list[str] = []
        handler = logging.Handler()
        handler.emit = lambda record: self.records.append(record.getMessage())  # type: ignore[method-assign]
        self.logger.addHandler(handler)
        self.api = RouterApi(
            self.store,
            self.fake,
            {"store": {}, "monitoring interval": 60},
            say=self.fake.say,
            announce=self.fake.lines.append,
            monotonic=lambda: self.fake.now,
            wall=lambda: self.fake.now + 1e9,
            about=RouterAbout(router="r", scheduler_port=1),
            logger=self.logger,
        )
        self.numbers: dict[str, int] = {}
        self.lines = self.fake.lines

    def raw(self, data: bytes) -> list[dict[str, Any]]:
        answers: list[dict[str, Any]] = []
        self.api.message(data, lambda body: answers.append(json.loads(body)))
        self.api.flush()
        return answers

    def ask(self, **message: Any) -> dict[str, Any]:
        (answer,) = self.raw(json.dumps(message).encode())
        return answer

    def add(self, name: str, pipeline: Pipeline) -> dict[str, Any]:
        return self.ask(**{"command": "add pipeline", "pipeline id": name, "pipeline": pipeline.serialize()})

    def exchange(self, name: str = "p", **more: Any) -> list[dict[str, Any]]:
        self.numbers[name] = self.numbers.get(name, 0) + 1
        message = {"command": "exchange", "pipeliner": name, "number": self.numbers[name], "room": 10, **more}
        return self.raw(json.dumps(message).encode())

    def pulse(self, broker: str = "b", workers: Sequence[str] = ("A", "B"), processes: Sequence[str] = ("tcp://w1",)) -> None:
        self.ask(command="pulse", broker=broker, workers=list(workers), processes=list(processes))

    def later(self, seconds: float, step: float = 0.5) -> None:
        end = self.fake.now + seconds
        while self.fake.now < end:
            self.fake.now = min(end, self.fake.now + step)
            self.api.tick()
            self.api.flush()

    def end(self, kind: str, job: int = 0, attempt: int = 1, pipeline: str = "x", **more: Any) -> None:
        self.api.task_ends([TaskEnd(pipeline, job, attempt, kind, **more)])
        self.api.flush()


@pytest.fixture
def talk(tmp_path: Path) -> Iterator[Talk]:
    found = Talk(str(tmp_path / "state.sqlite"))
    yield found
    found.store.close()


CHAIN = Pipeline({Job("A", retries=1): Job("B")}, data={"n": 1})


def test_the_path_of_a_pipeline(talk: Talk) -> None:
    assert talk.add("x", CHAIN) == {"answer": "pipeline accepted", "pipeline id": "x"}
    (answer,) = talk.exchange()
    assert answer["pipelines"] == [{"id": "x", "after": [[], [0]], "retries": [1, 0], "known": {}, "attempts before": 0}]
    assert talk.exchange(run=[["x", 0, 1]]) == [], "there is nothing to report yet"
    assert json.loads(talk.fake.tasks[0].body) == {"id": "x-0", "worker": "A", "data": {"n": 1}, "timeout": None, "attempt": 1}
    replies: list[bytes] = []
    helper = talk.api.state.sessions["p"]
    helper.parked = lambda reply: replies.append(encode(reply))
    talk.end("finished", duration=0.5, node="n")
    assert json.loads(replies[0])["events"] == [["x", 0, 1, "finished", "", False]]
    talk.exchange(ended=[["x", "finished", -1, ""]])
    assert talk.fake.said[-1][0] == "ended"
    assert talk.fake.said[-1][1]["before"] == 0
    assert talk.fake.said[-1][1]["ends"][0][:2] == ["x", "finished"]
    assert talk.ask(command="ended since", number=0)["ends"][0][0] == "x"
    assert talk.ask(**{"command": "pipeline", "pipeline id": "x"})["jobs"][0]["node"] == "n"


def test_a_pipeline_that_comes_twice_is_accepted_once(talk: Talk) -> None:
    for _ in range(2):
        assert talk.add("x", CHAIN)["answer"] == "pipeline accepted"
    assert len(talk.exchange()[0]["pipelines"]) == 1


def test_an_answer_that_got_lost_is_given_again(talk: Talk) -> None:
    talk.add("x", CHAIN)
    first = talk.exchange()
    talk.numbers["p"] -= 1
    assert talk.exchange() == first
    talk.numbers["p"] += 5
    assert "must have number 2" in talk.exchange()[0]["error"]
    assert talk.ask(command="exchange", pipeliner="new", number=3) == {"answer": "unknown pipeliner"}


def test_a_silent_pipeliner_loses_its_lease_and_its_running_jobs_are_handed_on(talk: Talk) -> None:
    talk.add("x", CHAIN)
    talk.exchange()
    talk.exchange(run=[["x", 0, 1]])
    talk.later(1.1)  # it has its answer now, and asks no more
    talk.later(SILENCE_S + 0.1)
    (answer,) = talk.exchange("q")
    assert answer["pipelines"][0]["known"] == {"0": [0, False, False, 1, ""]}
    assert talk.exchange("q", run=[["x", 0, 2]]) == []
    assert len(talk.fake.tasks) == 1, "it runs already"
    talk.exchange("p", run=[["x", 1, 1]])
    assert len(talk.fake.tasks) == 1, "the old one has no say any longer"


def leased(talk: Talk) -> None:
    talk.pulse()
    talk.add("x", CHAIN)
    talk.exchange()
    talk.exchange(run=[["x", 0, 1]])


def state_of(talk: Talk, job: int = 0) -> tuple[str, int]:
    shown = talk.ask(**{"command": "pipeline", "pipeline id": "x"})["jobs"][job]
    return shown["state"], shown["tries"]


def events(talk: Talk) -> list[Any]:
    return [list(msgspec.to_builtins(event)) for event in talk.api.state.sessions["p"].events]


def test_a_job_is_held_back_until_its_broker_reports_why_its_process_died(talk: Talk) -> None:
    leased(talk)
    talk.api.state.sessions["p"].parked = None
    talk.end("lost", process="tcp://w1")
    assert events(talk) == []
    assert talk.ask(command="process ended", broker="b", process="tcp://w1", dead=True, job="x-0", attempt=1, error="signal 9")["its job"]
    assert events(talk) == [["x", 0, 1, "raised", "signal 9", False]]
    assert (
        talk.ask(command="process ended", broker="b", process="tcp://w1", dead=True, job="x-0", attempt=1, error="signal 9")["its job"]
        is False
    )


def test_a_neighbour_in_that_process_is_only_lost(talk: Talk) -> None:
    leased(talk)
    talk.api.state.sessions["p"].parked = None
    talk.end("lost", process="tcp://w1")
    talk.ask(command="process ended", broker="b", process="tcp://w1", dead=True)
    assert events(talk) == [["x", 0, 1, "lost", "", False]]


def test_without_a_report_of_the_broker_the_job_is_lost(talk: Talk) -> None:
    leased(talk)
    talk.api.state.sessions["p"].parked = None
    talk.end("lost", process="tcp://w1")
    talk.later(2.1)
    assert events(talk) == [["x", 0, 1, "lost", "", False]]
    talk.end("lost", process="tcp://w1")
    assert len(events(talk)) == 1


def test_a_silent_broker_is_dead_to_dask(talk: Talk) -> None:
    leased(talk)
    talk.later(SILENCE_S + 0.1)
    assert talk.fake.dead == ["tcp://w1"]


def test_a_broker_that_froze_before_it_reported_a_process(talk: Talk) -> None:
    """Dask knows that the process is this Broker's: its jobs go to others."""
    leased(talk)
    talk.fake.connected = {"b": ["tcp://w2"], "another": ["tcp://w3"]}
    talk.later(SILENCE_S + 0.1)
    assert sorted(talk.fake.dead) == ["tcp://w1", "tcp://w2"]
    talk.end("lost", process="tcp://w2")
    assert events(talk) == [["x", 0, 1, "lost", "", False]]


def test_a_router_that_was_frozen_blames_no_process(talk: Talk) -> None:
    leased(talk)
    talk.later(0.1)
    talk.later(60, step=60)
    assert talk.fake.dead == []
    assert set(talk.api.state.sessions) == {"p"}
    talk.later(SILENCE_S + 0.1)
    assert talk.fake.dead == ["tcp://w1"]


def test_a_process_that_no_broker_has_reported_yet_may_have_been_killed_by_its_job(talk: Talk) -> None:
    leased(talk)
    talk.api.state.sessions["p"].parked = None
    talk.end("lost", process="tcp://new")
    assert events(talk) == []
    talk.ask(command="process ended", broker="b", process="tcp://new", dead=True, job="x-0", attempt=1, error="signal 9")
    assert events(talk) == [["x", 0, 1, "raised", "signal 9", False]]


def test_a_late_good_end_counts_and_stops_the_other_attempt(talk: Talk) -> None:
    leased(talk)
    talk.ask(command="process ended", broker="b", process="tcp://w1", job="x-0", attempt=1, error="timeout")
    assert state_of(talk) == ("waiting", 1)
    talk.exchange(run=[["x", 0, 2]])
    talk.end("finished", attempt=1)
    assert talk.fake.forgotten == [("x", 0, 2)]
    assert state_of(talk) == ("finished", 2)
    talk.end("raised", attempt=2, error="late")
    assert state_of(talk) == ("finished", 2)


def test_a_worker_that_no_broker_has(talk: Talk) -> None:
    talk.add("x", CHAIN)
    talk.exchange()
    talk.pulse(workers=["B"])
    talk.exchange(run=[["x", 0, 1]])
    for _ in range(7):
        talk.pulse(workers=["B"])
        talk.later(UNKNOWN_S / 5)
    assert talk.fake.forgotten == [("x", 0, 1)]
    assert state_of(talk) == ("failed", 1)
    refused = talk.add("y", CHAIN)
    assert refused == {"answer": "error", "kind": "refused", "error": "no Broker has a worker 'A'; there are B"}


def test_a_restarted_router_knows_what_was_recorded(talk: Talk, tmp_path: Path) -> None:
    leased(talk)
    talk.end("finished")
    talk.store.close()
    again = Talk(str(tmp_path / "state.sqlite"))
    (answer,) = again.exchange()
    assert answer["pipelines"][0]["known"] == {"0": [1, True, False, 0, ""]}
    assert again.api.state.registry.workers == {"A", "B"}
    again.store.close()


def test_cancel_and_retry(talk: Talk) -> None:
    leased(talk)
    talk.ask(**{"command": "cancel", "pipeline id": "x"})
    assert talk.fake.forgotten == [("x", 0, 1)]
    assert ("kill", {"jobs": ["x-0"]}) in talk.fake.said
    assert "has ended already: it is cancelled" in talk.ask(**{"command": "cancel", "pipeline id": "x"})["error"]
    assert talk.ask(**{"command": "retry", "pipeline id": "x"})["answer"] == "ok"
    assert "has not ended" in talk.ask(**{"command": "retry", "pipeline id": "x"})["error"]
    assert "there is no pipeline 'z'" in talk.ask(**{"command": "retry", "pipeline id": "z"})["error"]
    talk.ask(**{"command": "cancel", "pipeline id": "x"})
    assert [row["state"] for row in talk.ask(command="pipelines", states=["cancelled"])["pipelines"]] == ["cancelled"]
    assert "must be waiting, running, cancelled, failed, finished, but is 'lost'" in talk.ask(command="pipelines", states=["lost"])["error"]


MALFORMED = [
    (b"", "must be JSON"),
    (b"\xff\xfe", "must be JSON"),
    (b"[" * 100_000, "must be JSON of at most 120 levels"),
    (b"[]", "must be a JSON object, but is a list"),
    (b"{}", "has no 'command'"),
    (b'{"command": 3}', "'command' must be a text, but is of type int"),
    (b'{"command": "get pipelin"}', "did you mean 'pipeline'?"),
    (b'{"command": "pipeline"}', "has no 'pipeline id'"),
    (b'{"command": "pipeline", "pipeline id": "; drop table"}', "must be an id"),
    (b'{"command": "add pipelines", "pipelines": [3]}', "'pipelines[0]' must be a list, but is an integer"),
    (b'{"command": "add pipeline", "pipeline id": "x", "pipeline": {"jobs": [], "graph": []}}', "must have at least one job"),
    (b'{"command": "add pipeline", "pipeline id": "x", "pipeline": {"jobs": [{"worker_name": "A"}], "graph": [[0, 0]]}}', "no starter"),
    (b'{"command": "exchange", "pipeliner": "p", "number": 1, "run": [["x", "0", 1]]}', "'run[0][1]' must be an integer, but is a text"),
    (b'{"command": "pulse", "broker": "b", "workers": ["no name"]}', "must be the name of a class"),
    (b'{"command": "ended since", "number": true}', "'number' must be an integer, but is a boolean"),
    (b'{"command": "ended since", "number": 1180591620717411303424}', "'number' must be an integer <= 9007199254740992"),
    (b" " * (LIMIT + 1), f"must have at most {LIMIT} bytes"),
]


@pytest.mark.parametrize(("data", "message"), MALFORMED, ids=[message[:40] for _, message in MALFORMED])
def test_malformed_messages_are_answered_and_logged(talk: Talk, data: bytes, message: str) -> None:
    (answer,) = talk.raw(data)
    assert answer["answer"] == "error"
    assert message in answer["error"]
    assert message in talk.records[-1]
    assert talk.add("ok", CHAIN)["answer"] == "pipeline accepted"


def test_a_pipeline_that_is_too_big(talk: Talk) -> None:
    answer = talk.add("x", Pipeline({Job("A"): None}, data={"x": "a" * PIPELINE_LIMIT}))
    assert "keep large data in the store" in answer["error"]


LEAF = (
    st.none()
    | st.booleans()
    | st.integers(-2, 2**70)
    | st.floats(allow_nan=False)
    | st.sampled_from(["x", "p", "", "A", "x-0", "\0", "finished"])
)
NAMES = st.sampled_from(["jobs", "graph", "worker_name", "data"])
FLAT = LEAF | st.lists(LEAF, max_size=3) | st.dictionaries(NAMES, LEAF, max_size=3)
JSON = FLAT | st.lists(FLAT, max_size=3) | st.dictionaries(NAMES, FLAT, max_size=3)
COMMANDS = [
    "get configuration", "add pipeline", "add pipelines", "pipelines", "pipeline", "retry", "cancel", "ended since", "status", "counts",
    "pulse", "process ended", "exchange", "add job", "get job", "job finished", "job failed", "get pipeline", "pipeline finished",
]  # fmt: skip
FIELDS = [
    "pipeline id", "pipeline", "pipelines", "pipeliner", "number", "room", "run", "ended", "broker", "workers", "processes", "process",
    "job", "attempt", "error", "states", "limit", "before", "leave", "dead", "node",
    "worker", "data", "job id", "duration", "message", "retries", "timeout", "priority",
]  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(messages=st.lists(st.tuples(st.sampled_from(COMMANDS), st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=5)), max_size=6))
def test_no_message_breaks_the_api(messages: list[tuple[str, dict[str, Any]]]) -> None:
    talk = Talk(":memory:")
    try:
        talk.add("x", CHAIN)
        talk.exchange()
        for command, fields in messages:
            answers = talk.raw(json.dumps({"command": command, **fields}).encode())
            assert len(answers) == 1 or command == "exchange"
            talk.later(0.3)
        assert talk.add("y", CHAIN)["answer"] in ("pipeline accepted", "error")
    finally:
        talk.store.close()


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=200))
def test_no_bytes_break_the_api(data: bytes) -> None:
    talk = Talk(":memory:")
    try:
        assert len(talk.raw(data)) == 1
    finally:
        talk.store.close()


def test_the_urgent_ones_are_handed_out_first(talk: Talk) -> None:
    for first in range(0, 2000, 500):
        rows = [[f"x{number}", CHAIN.serialize()] for number in range(first, first + 500)]
        assert talk.ask(command="add pipelines", pipelines=rows)["number"] == 500
    talk.add("low", Pipeline({Job("A"): None}, priority=-1))
    talk.add("urgent", Pipeline({Job("A"): None}, priority=10))
    talk.add("also", Pipeline({Job("A"): None}, priority=10))
    assert [plan["id"] for plan in talk.exchange(room=3)[0]["pipelines"]] == ["urgent", "also", "x0"]
    talk.exchange(run=[["urgent", 0, 1], ["x0", 0, 1]])
    assert [(task.pipeline, task.priority) for task in talk.fake.tasks] == [("urgent", 10), ("x0", 0)]


def test_pipelines_that_run_are_listed_as_such(talk: Talk) -> None:
    for name in ("a", "b", "c", "d", "e"):
        talk.add(name, CHAIN)
    talk.exchange(room=3)
    talk.exchange(run=[["a", 0, 1], ["c", 0, 1]])
    talk.ask(**{"command": "cancel", "pipeline id": "b"})

    def listed(*states: str, limit: int = 10, before: int = 0) -> list[tuple[str, str]]:
        answer = talk.ask(command="pipelines", states=states, limit=limit, before=before)
        return [(row["id"], row["state"]) for row in answer["pipelines"]]

    assert listed("running") == [("c", "running"), ("a", "running")]
    assert listed("waiting") == [("e", "waiting"), ("d", "waiting")]
    assert listed("waiting", limit=1, before=5) == [("d", "waiting")]
    assert listed("running", "cancelled") == [("c", "running"), ("b", "cancelled"), ("a", "running")]
    assert listed("running", before=3) == [("a", "running")]
    assert len(listed()) == len(listed("waiting", "running", "cancelled")) == 5


def test_the_first_letters_of_an_id(talk: Talk) -> None:
    for name in ("abc1", "abc2", "ABC3", "a_d", "abd"):
        talk.add(name, CHAIN)
    assert talk.ask(**{"command": "pipeline", "pipeline id": "ABC"})["id"] == "ABC3"
    assert talk.ask(**{"command": "pipeline", "pipeline id": "a_"})["id"] == "a_d", "_ stands for itself"
    several = talk.ask(**{"command": "cancel", "pipeline id": "abc"})["error"]
    assert several == "the ids of several pipelines begin with 'abc': abc2, abc1; give more letters"
    assert talk.ask(**{"command": "cancel", "pipeline id": "abd"})["pipeline id"] == "abd"
    assert talk.ask(**{"command": "retry", "pipeline id": "abd"})["answer"] == "ok"


def test_all_failed_ones_are_run_again(talk: Talk) -> None:
    talk.pulse()
    for name in ("a", "b", "c"):
        talk.add(name, Pipeline({Job("A"): None}))
    talk.exchange()
    talk.exchange(run=[["a", 0, 1], ["b", 0, 1], ["c", 0, 1]])
    talk.exchange(ended=[["a", "failed", 0, "e"], ["b", "finished", -1, ""], ["c", "failed", 0, "e"]])
    answer = talk.ask(command="retry failed", before=0)
    assert answer["pipeline ids"] == ["c", "a"]
    assert talk.ask(command="retry failed", before=answer["before"])["pipeline ids"] == []
    assert talk.api.state.sessions["p"].holds == {"a", "c"}


def test_a_list_of_large_pipelines_comes_in_pieces(talk: Talk) -> None:
    for number in range(12):
        talk.add(f"x{number}", Pipeline({Job("A"): None}, data={"text": "a" * 900_000}))
    found: list[str] = []
    before = 0
    while rows := talk.ask(command="pipelines", states=[], limit=50, before=before)["pipelines"]:
        found += [row["id"] for row in rows]
        before = rows[-1]["order"]
    assert found == [f"x{number}" for number in reversed(range(12))]
