"""What the Router counts: pipelines by state, tries of jobs by outcome, the last minutes, its Brokers."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from fission.pipelines import Job, Pipeline
from fission.pipelines.router_counters import SAMPLE_S, SAMPLES, RouterCounters
from tests.pipelines.test_router_api import CHAIN, Talk


@pytest.fixture
def talk() -> Iterator[Talk]:
    found = Talk(":memory:")
    yield found
    found.store.close()


def counts(talk: Talk) -> dict[str, Any]:
    answer = talk.ask(command="counts")
    assert answer["answer"] == "ok"
    return answer


def some(**values: int) -> dict[str, int]:
    """Return numbers of pipelines by state, 0 for those that are not named."""
    return {**dict.fromkeys(("waiting", "running", "cancelled", "failed", "finished"), 0), **values}


def test_a_pipeline_is_counted_in_the_state_that_show_says(talk: Talk) -> None:
    talk.pulse()
    for name in "xyz":
        talk.add(name, CHAIN)
    assert counts(talk)["pipelines"] == some(waiting=3)
    talk.exchange()
    assert counts(talk)["pipelines"] == some(waiting=3), "a leased one whose jobs have not begun waits"
    talk.exchange(run=[["x", 0, 1]])
    assert counts(talk)["pipelines"] == some(waiting=2, running=1)
    talk.end("raised", error="e", traceback="t")
    talk.exchange(ended=[["x", "failed", 0, "e"]])
    talk.ask(**{"command": "cancel", "pipeline id": "y"})
    found = counts(talk)
    assert found["pipelines"] == some(waiting=1, failed=1, cancelled=1)
    assert found["ended"] == {"cancelled": 1, "failed": 1, "finished": 0}
    talk.ask(**{"command": "retry", "pipeline id": "x"})
    assert counts(talk)["pipelines"] == some(waiting=2, cancelled=1)
    assert counts(talk)["ended"]["failed"] == 1, "it counts what has happened"
    for name in "xyz":
        state = talk.ask(**{"command": "pipeline", "pipeline id": name})["state"]
        assert state == ("cancelled" if name == "y" else "waiting")


def test_tries_are_counted_by_their_outcome(talk: Talk) -> None:
    talk.pulse()
    talk.add("x", Pipeline({Job("A", retries=1): Job("B")}))
    talk.exchange()
    talk.exchange(run=[["x", 0, 1]])
    talk.end("raised", error="e")
    talk.exchange(run=[["x", 0, 2]])
    talk.end("lost", attempt=2, process="tcp://w1")
    talk.later(3.0)  # no Broker says why the process died
    talk.exchange(run=[["x", 0, 3]])
    talk.end("finished", attempt=3)
    talk.exchange(run=[["x", 1, 4]])
    talk.end("raised", job=1, attempt=4, error="e")
    assert counts(talk)["jobs"] == {"finished": 1, "retried": 1, "failed": 1, "lost": 1}
    assert counts(talk)["recent"][-1][1:] == [1, 2, 0]


def test_the_last_minutes_are_remembered_and_no_more() -> None:
    counters = RouterCounters()
    for second in range(1000):
        counters.tick(float(second))
        counters.job("finished")
    found = counters.recent(1000.0)
    assert len(found) == SAMPLES + 1
    assert (found[-1].age, found[-1].finished) == (0, 1000)
    for before, after in pairwise(found):
        assert before.age - after.age == SAMPLE_S
        assert after.finished - before.finished == SAMPLE_S, "one in each second"


def test_brokers_are_shown_with_their_processes(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    talk.fake.connected["b"] = ["tcp://10.0.0.1:1", "tcp://10.0.0.1:2", "tls://[fd00::1]:3"]
    monkeypatch.setattr(talk.fake, "busy", lambda: frozenset({"tcp://10.0.0.1:2", "tcp://10.0.0.9:1"}))
    talk.pulse()
    wanted = {"broker": "b", "processes": 3, "busy": 1, "workers": ["A", "B"], "addresses": ["10.0.0.1", "[fd00::1]"]}
    assert counts(talk)["brokers"] == [wanted]
    talk.later(10.0)
    assert counts(talk)["brokers"] == []
