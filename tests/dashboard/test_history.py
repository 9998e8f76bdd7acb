"""Rates of the last minutes that a page gets when a panel is opened: bounded, and right if jobs restart and pipes vanish."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from fission.dashboard.history import MEGABYTE, MOST_POINTS, MOST_VALUES, POINT_S, SPAN_S, RateHistory
from fission.dashboard.watcher import NetworkWatcher, _Browser
from tests.dashboard.test_watcher import Network, first, quick, watched  # noqa: F401  # quick is a fixture
from tests.waiting import DEADLINE_S


def shown(jobs: int = 2, *, run: str = "1", nodes: int = 1, pipes: int = 1, **changes: Any) -> dict[str, Any]:
    job = {"node": "n1", "in_per_s": 10.0, "out_per_s": 5.0, "cpu": 50.0, "memory": 3 * MEGABYTE, **changes}
    return {
        "run": run,
        "jobs": {str(number): job for number in range(1, jobs + 1)},
        "pipes": {str(number): {"per_s": 5.0} for number in range(1, pipes + 1)},
        "nodes": {f"n{number}": {"cpu": 25.0} for number in range(1, nodes + 1)},
    }


def test_each_kind_of_thing_has_its_series() -> None:
    history = RateHistory()
    history.add(shown(), 100.0)
    history.add(shown(in_per_s=11.0), 105.0)
    assert history.of("job 1", 106.0) == {
        "ago": [6.0, 1.0],
        "series": {"in": [10.0, 11.0], "out": [5.0, 5.0], "cpu": [50.0, 50.0], "memory": [3.0, 3.0]},
    }
    assert history.of("pipe 1", 106.0)["series"] == {"sent": [5.0, 5.0]}
    assert history.of("node n1", 106.0)["series"] == {"in": [20.0, 22.0], "out": [10.0, 10.0], "cpu": [25.0, 25.0]}


@pytest.mark.parametrize("key", ["job 3", "pipe 9", "node n7", "nothing", "", "job"])
def test_what_is_not_known_has_no_points(key: str) -> None:
    history = RateHistory()
    history.add(shown(), 100.0)
    assert history.of(key, 100.0)["ago"] == []


def is_bounded(history: RateHistory) -> bool:
    """Whether a large network takes no more than is said, however long it runs and however often it is measured."""
    document = shown(200, nodes=20, pipes=200)
    for number in range(3 * MOST_POINTS):
        history.add(document, 2.0 * number)
        history.add(document, 2.0 * number + 0.5)
    return history.size <= 640_000 and len(history.of("job 200", 6.0 * MOST_POINTS)["ago"]) <= MOST_POINTS


def test_memory_is_bounded_with_200_jobs_on_20_nodes() -> None:
    assert is_bounded(RateHistory())


def test_a_history_that_forgets_nothing_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    history = RateHistory()
    history._points = deque()
    monkeypatch.setattr(RateHistory, "_forget", lambda self, now: None)
    assert not is_bounded(history)


def test_of_a_very_large_network_the_first_values_are_kept() -> None:
    history = RateHistory()
    history.add(shown(MOST_VALUES), 0.0)
    assert history.size == 4 * MOST_VALUES
    assert history.of("job 1", 0.0)["ago"] == [0.0]
    assert history.of(f"job {MOST_VALUES}", 0.0)["ago"] == []


def test_what_is_old_is_forgotten_also_if_nothing_comes() -> None:
    history = RateHistory()
    history.add(shown(), 0.0)
    history.add(shown(), SPAN_S - 1)
    assert history.of("job 1", SPAN_S + 0.5)["ago"] == [1.5]
    assert history.of("job 1", 3 * SPAN_S)["ago"] == []
    assert history.size == 0


def test_points_are_not_closer_than_is_said() -> None:
    history = RateHistory()
    for number in range(100):
        history.add(shown(), number * 0.5)
    ago = history.of("job 1", 50.0)["ago"]
    assert all(older - newer >= POINT_S for older, newer in pairwise(ago))
    assert len(ago) == 25


def test_a_job_that_was_restarted_has_a_gap() -> None:
    history = RateHistory()
    history.add(shown(), 0.0)
    history.add(shown(in_per_s=None, out_per_s=None, cpu=None, memory=None, node=None), 5.0)
    history.add(shown(), 10.0)
    assert history.of("job 1", 10.0)["series"]["in"] == [10.0, None, 10.0]
    assert history.of("node n1", 10.0)["series"]["in"] == [20.0, 0.0, 20.0]


def test_a_pipe_and_a_node_that_vanish_and_return_keep_their_points() -> None:
    history = RateHistory()
    for number, (nodes, pipes) in enumerate([(2, 2), (1, 1), (2, 2)]):
        history.add(shown(nodes=nodes, pipes=pipes), 5.0 * number)
    assert history.of("pipe 2", 10.0) == {"ago": [10.0, 0.0], "series": {"sent": [5.0, 5.0]}}
    assert history.of("node n2", 10.0)["ago"] == [10.0, 0.0]
    assert history.of("pipe 1", 10.0)["ago"] == [10.0, 5.0, 0.0]


def test_a_run_that_is_continued_keeps_its_points_and_another_one_begins_anew() -> None:
    history = RateHistory()
    history.add(shown(run="1"), 0.0)
    history.add(shown(run="1"), 60.0)  # resumed after a minute
    assert history.of("job 1", 60.0)["ago"] == [60.0, 0.0]
    history.add(shown(run="2"), 61.0)
    assert history.of("job 1", 61.0)["ago"] == [0.0]


# -- the watcher ---------------------------------------------------------------------------------------------------------


def remembering(monkeypatch: pytest.MonkeyPatch, unseen_s: float, look: Callable[[NetworkWatcher, Network], Any]) -> None:
    """Let a watcher remember a network whose measures take no time."""
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += POINT_S
        return now

    network = Network()
    monkeypatch.setattr("fission.dashboard.watcher.Viewer", network)
    monkeypatch.setattr("fission.dashboard.watcher.UNSEEN_S", unseen_s)

    async def main() -> None:
        watcher = NetworkWatcher(Path("net"), clock=clock)
        watcher.remember()
        await asyncio.wait_for(look(watcher, network), DEADLINE_S)
        await watcher.close()
        while watcher._remembering.is_alive or any(thread.is_alive for thread in watcher._threads):
            await asyncio.sleep(0.001)

    asyncio.run(main())


def test_a_network_that_no_browser_shows_is_remembered_without_an_open_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    async def look(watcher: NetworkWatcher, network: Network) -> None:
        while len(watcher.past("job 1")["ago"]) < 3:
            await asyncio.sleep(0.005)
        assert not watcher.is_watching
        assert network.most_asking == 1
        while network.asking:
            await asyncio.sleep(0.001)

    remembering(monkeypatch, 0.01, look)


def test_while_a_browser_looks_it_is_not_asked_for_the_history_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """The browser's measures are remembered instead."""
    network = Network()
    monkeypatch.setattr("fission.dashboard.watcher.Viewer", network)
    watcher = NetworkWatcher(Path("net"))
    watcher._looking.add(_Browser(0.0))
    watcher._measure_seldom()
    assert network.most_asking == 0
    watcher._looking.clear()
    watcher._measure_seldom()
    assert network.most_asking == 1


@pytest.mark.usefixtures("quick")
def test_what_a_browser_sees_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    async def look(watcher: NetworkWatcher) -> None:
        messages = watcher.messages()
        await first(messages, lambda kind, value: kind == "patch" and value.get("running") is True)
        assert watcher.past("job 1")["ago"]
        await messages.aclose()  # type: ignore[attr-defined]

    watched(monkeypatch, Network(), look)


def test_a_fault_is_logged_and_the_next_attempt_succeeds(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    async def look(watcher: NetworkWatcher, network: Network) -> None:
        network.mishaps.append(KeyError(7))
        while network.mishaps or not watcher.past("pipe 1")["ago"]:
            await asyncio.sleep(0.005)

    remembering(monkeypatch, 0.01, look)
    assert sum("cannot keep the rates" in record.message for record in caplog.records) == 1
