"""What /metrics exports: names, units, labels, and values that stay in bounds; how often the client is asked."""

from __future__ import annotations

import asyncio
import re
import subprocess
from collections.abc import Iterable

import msgspec
import pytest
from prometheus_client import parser
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import parser as openmetrics_parser

from fission.dashboard import metrics
from fission.dashboard.metrics import MOST_NODES, MOST_PATHS, Answers, families
from fission.dashboard.scraper import CACHE_S, Scraper
from fission.protocol.messages.client_to_viewer import JobStandstill, PathRow
from tests.dashboard.answers import PATH, answers, node

LABELS = {"network", "job_name", "pipe", "node"}
#: Prometheus gives these to each series, and renames what has them already.
TAKEN = {"job", "instance"}
#: Of a path; `MOST_PATHS` bounds their pairs.
PATH_LABELS = {"source", "sink"}
#: Labels of infos, and of states, whose values config.py or FISSION bounds.
DESCRIBING = {"fission_job_state": {"state"}, "fission_pipe_info": {"source", "target", "kind"}, "fission_build_info": {"version"}}


def scraped(found: Answers | None, accept: str = "") -> str:
    text, _ = asyncio.run(Scraper("net", lambda: found, version="1.2.3").text(accept))
    return text.decode()


def values(found: Answers | None) -> dict[str, dict[str, float]]:
    """Return the values by name and labels."""
    table: dict[str, dict[str, float]] = {}
    for family in parser.text_string_to_metric_families(scraped(found)):
        for sample in family.samples:
            labels = ",".join(value for name, value in sorted(sample.labels.items()) if name != "network")
            table.setdefault(sample.name, {})[labels] = sample.value
    return table


def faults(found: Iterable[Metric]) -> list[str]:
    """Return what breaks the rules for names and labels."""
    wrong = []
    for family in found:
        for sample in family.samples:
            extra = (
                sample.labels.keys()
                - LABELS
                - DESCRIBING.get(sample.name, PATH_LABELS if sample.name.startswith("fission_path_") else set())
            )
            if taken := TAKEN & sample.labels.keys():
                wrong.append(f"{sample.name} has the labels {taken} of Prometheus")
            if extra:
                wrong.append(f"{sample.name} has the labels {extra}")
            if not sample.name.startswith("fission_"):
                wrong.append(f"{sample.name} does not say whose it is")
            if family.type == "counter" and not sample.name.endswith("_total"):
                wrong.append(f"{sample.name} is a counter without _total")
            if re.search(r"percent|milli|_ms\b|_kb|mega|_mb|minutes", sample.name):
                wrong.append(f"{sample.name} is not in a base unit")
    return wrong


def test_names_labels_and_units_follow_the_conventions() -> None:
    assert faults(families("net", "1", answers())) == []


def test_promtool_finds_nothing_to_improve() -> None:
    found = subprocess.run(["promtool", "check", "metrics"], input=scraped(answers()), capture_output=True, text=True, timeout=30)
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")


def test_a_label_that_prometheus_would_rename_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "JOB_LABEL", "job")
    assert "fission_job_restarts_total has the labels {'job'} of Prometheus" in faults(families("net", "1", answers()))


def test_a_value_of_a_user_as_label_is_caught() -> None:
    found = Metric("fission_job_output", "The last line of a job.", "gauge")
    found.add_sample("fission_job_output", {"network": "net", "line": "hello"}, 1)
    assert faults([found])


def test_the_values_are_those_of_the_client() -> None:
    found = values(answers(standing=JobStandstill(seconds=3.0, reason="waits")))
    assert found["fission_network_up"] == {"": 1}
    assert found["fission_network_start_time_seconds"] == {"": 50}
    assert (found["fission_failover_duration_seconds_count"], found["fission_failover_duration_seconds_sum"]) == ({"": 2}, {"": 1.25})
    assert found["fission_job_compute_blocks_total"] == {"Source 1": 41, "Sink 2": 40}
    assert found["fission_job_restarts_total"] == {"Source 1": 1, "Sink 2": 1}
    assert found["fission_job_cpu_seconds_total"] == {"Source 1": 2.5}, "a job that has not answered has none"
    assert found["fission_job_stalled_seconds"] == {"Source 1": 3, "Sink 2": 3}
    assert found["fission_job_checkpoint_failures_total"] == {"Source 1": 1, "Sink 2": 0}
    assert found["fission_job_last_checkpoint_timestamp_seconds"] == {"Source 1": 90}
    assert found["fission_job_state"]["Sink 2,starting"] == 1
    assert sum(found["fission_job_state"].values()) == 2
    assert found["fission_pipe_info"] == {"PicklePipe,1,Source 1,Sink 2": 1}
    assert (found["fission_pipe_sent_blocks_total"], found["fission_pipe_missing_blocks_total"]) == ({"1": 42}, {"1": 2})
    assert found["fission_node_up"] == {"n1": 1, "n2": 0}
    assert found["fission_node_cpu_free_ratio"] == {"n1": 0.25, "n2": 0.25}
    assert found["fission_node_link_quality_ratio"]["n1"] == 0.2
    assert found["fission_node_round_trip_seconds"] == {"n1": 0.002}


def test_latencies_and_late_blocks_are_there() -> None:
    found = values(answers())
    wanted = {"latency_min": 0.01, "latency_p50": 0.02, "latency_p99": 0.3, "latency_uncertainty": 0.001}
    assert {name: found[f"fission_path_{name}_seconds"] for name in wanted} == {
        name: {"Sink 2,Source 1": seconds} for name, seconds in wanted.items()
    }
    assert found["fission_path_measured_blocks"] == {"Sink 2,Source 1": 50}
    assert found["fission_job_late_blocks_total"] == {"Sink 2": 3}, "a job without DEADLINE has none"
    assert found["fission_job_judged_blocks_total"] == {"Sink 2": 20}


def many_paths(number: int) -> tuple[PathRow, ...]:
    """Return paths of growing latency."""
    return tuple(msgspec.structs.replace(PATH, p99_s=float(index), blocks=index) for index in range(number))


def series_of_paths(found: list[Metric]) -> list[float]:
    """Return the blocks of each path with series."""
    return [sample.value for family in found for sample in family.samples if sample.name == "fission_path_measured_blocks"]


def test_paths_have_a_bounded_number_of_series() -> None:
    found = list(families("net", "1", answers(paths=many_paths(MOST_PATHS + 50))))
    assert sorted(series_of_paths(found)) == list(range(50, MOST_PATHS + 50)), "the slowest ones come first"
    (omitted,) = [sample.value for family in found for sample in family.samples if sample.name == "fission_paths_omitted"]
    assert omitted == 50


def test_an_unbounded_number_of_series_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "MOST_PATHS", 10**9)
    assert len(series_of_paths(list(families("net", "1", answers(paths=many_paths(MOST_PATHS + 50)))))) > MOST_PATHS


def test_a_network_that_does_not_answer_is_down() -> None:
    found = values(None)
    assert found == {"fission_build_info": {"1.2.3": 1}, "fission_network_up": {"": 0}}


def test_nodes_that_come_and_go_have_a_bounded_number_of_series() -> None:
    many = tuple(node(f"n{number}", up=number >= 900) for number in range(1000))
    found = values(answers(nodes=many))
    assert len(found["fission_node_up"]) == MOST_NODES
    assert sum(found["fission_node_up"].values()) == 100, "those that are up come first"
    assert found["fission_nodes_omitted"] == {"": 1000 - MOST_NODES}


def test_prometheus_chooses_the_format() -> None:
    text = scraped(answers(), "application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
    assert text.endswith("# EOF\n")
    assert "fission_job_checkpoints_total" in {
        sample.name for family in openmetrics_parser.text_string_to_metric_families(text) for sample in family.samples
    }


@pytest.mark.parametrize(
    "accept", ["application/openmetrics-text; version=none", "text/plain; version=1.0.0; escaping=none", ";;=,q=x", "\xff"]
)
def test_a_malformed_wish_for_a_format_is_answered(accept: str) -> None:
    assert "fission_network_up" in scraped(answers(), accept)


def test_a_path_of_a_job_that_is_unknown_is_left_out() -> None:
    """It must not take all metrics with it."""
    found = values(answers(paths=(PATH, msgspec.structs.replace(PATH, sink=99))))
    assert list(found["fission_path_measured_blocks"]) == ["Sink 2,Source 1"]


# -- how often the client is asked ---------------------------------------------------------------------------------------


class Client:
    """Counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.now = 100.0

    def __call__(self) -> Answers:
        self.asked += 1
        return answers()


def asked_by(scrapers: int, kind: type[Scraper] = Scraper) -> int:
    """Return how often the client is asked by scrapers that come at the same time, and again within `CACHE_S`."""
    client = Client()
    found = kind("net", client, clock=lambda: client.now)

    async def scrape() -> None:
        await asyncio.gather(*(found.text("") for _ in range(scrapers)))
        client.now += CACHE_S / 2
        await found.text("")

    asyncio.run(scrape())
    return client.asked


def test_ten_scrapers_cost_one_request() -> None:
    assert asked_by(10) == 1


class Uncached(Scraper):
    """A broken one: each scrape asks."""

    async def text(self, accept: str) -> tuple[bytes, str]:
        self._until = float("-inf")
        return await super().text(accept)


def test_a_scraper_that_always_asks_is_caught() -> None:
    assert asked_by(10, Uncached) > 1


def test_the_next_scrape_gets_new_values() -> None:
    client = Client()
    found = Scraper("net", client, clock=lambda: client.now)

    async def scrape() -> None:
        await found.text("")
        client.now += CACHE_S
        await found.text("")

    asyncio.run(scrape())
    assert client.asked == 2


@pytest.mark.parametrize("text", ['a"b', "a\\b", "a\nb", "\u00e4"])
def test_names_of_users_are_escaped(text: str) -> None:
    found = values(answers(nodes=(node(text),)))
    assert found["fission_node_up"] == {text: 1}
