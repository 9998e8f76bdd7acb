"""What /metrics of the pipelines' page exports: values, names and labels; one answer for many scrapes."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest
from prometheus_client import parser

from fission.dashboard.pipeline_metrics import families
from tests.dashboard.router_in_memory import MemoryRouter, ask, numbers
from tests.dashboard.test_metrics import faults
from tests.pipelines.test_router_api import CHAIN

#: The only labels, each with the values that FISSION gives it.
LABELS = {"state": {"waiting", "running", "finished", "failed", "cancelled"}, "outcome": {"finished", "retried", "failed", "lost"}}


@pytest.fixture
def router() -> Iterator[MemoryRouter]:
    found = MemoryRouter()
    found.talk.fake.connected["b"] = ["tcp://10.0.0.1:1", "tcp://10.0.0.1:2"]
    yield found
    found.talk.store.close()


def values(text: str) -> dict[str, float]:
    """Return the values by name, and by name and label."""
    return {
        " ".join([sample.name, *sample.labels.values()]): sample.value
        for family in parser.text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_the_values_are_those_of_the_router(router: MemoryRouter) -> None:
    router.fail("x")
    router.talk.add("y", CHAIN)
    router.talk.exchange(run=[["y", 0, 2]])
    router.talk.exchange(run=[["y", 0, 2]])
    status, text = ask(router, "/metrics")
    assert status == 200
    found = values(text)
    assert found["fission_router_up"] == 1
    assert found["fission_router_start_time_seconds"] == router.talk.fake.now + 1e9
    assert (found["fission_pipelines failed"], found["fission_pipelines running"], found["fission_pipelines finished"]) == (1, 1, 0)
    assert (found["fission_pipelines_ended_total failed"], found["fission_pipelines_ended_total cancelled"]) == (1, 0)
    assert (found["fission_pipeline_job_tries_total failed"], found["fission_pipeline_job_tries_total lost"]) == (1, 0)
    assert (found["fission_brokers"], found["fission_pipeliners"], found["fission_worker_processes"]) == (1, 1, 2)
    assert (found["fission_pipelines_unleased"], found["fission_pipeline_jobs_given"]) == (0, 1)


def test_names_and_units_follow_the_conventions_and_the_labels_are_fixed(router: MemoryRouter) -> None:
    router.fail("x", data={"name": "a user's"}, error="a user's")
    found = list(families("1", numbers(router)))
    unlabelled = [fault for fault in faults(found) if "has the labels" not in fault]
    assert unlabelled == []
    for sample in (sample for family in found if family.name != "fission_build" for sample in family.samples):
        assert all(value in LABELS[name] for name, value in sample.labels.items()), sample
    text = ask(router, "/metrics")[1]
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_of_a_router_that_does_not_answer_only_that_is_said(router: MemoryRouter) -> None:
    router.is_up = False
    status, text = ask(router, "/metrics")
    assert status == 200
    found = values(text)
    assert found.pop("fission_router_up") == 0
    assert [name.partition(" ")[0] for name in found] == ["fission_build_info"]
