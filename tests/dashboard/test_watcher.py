"""What a page that is opened later learns of what has happened."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fission.dashboard.updates import HISTORY, LEAST_S, LINES
from fission.dashboard.watcher import MOST_WAITING, STALLED_S, NetworkWatcher
from fission.protocol.messages.client_to_viewer import JobsMeasured, NetworkDescribed, RunFollowed, RunStatus
from fission.protocol.messages.run_events import ShowFailure, ShowOutput, ShowText
from tests.dashboard.answers import answers
from tests.waiting import DEADLINE_S


def test_what_one_job_writes_pushes_out_neither_failures_nor_the_lines_of_others() -> None:
    watcher = NetworkWatcher(Path("net"))
    watcher._tell(ShowFailure(job="Fails 1", job_id=1, report="Traceback", final=False, at=5.0))
    watcher._tell(ShowOutput(job="Quiet 2", job_id=2, stream="stdout", line="once"))
    for number in range(HISTORY + LINES):
        watcher._tell(ShowOutput(job="Loud 3", job_id=3, stream="stdout", line=str(number)))
    (_, _), (kind, events) = watcher._updates.whole()
    assert kind == "events"
    assert (events[0]["event"], events[0]["report"]) == ("ShowFailure", "Traceback")
    assert [event["line"] for event in events if event.get("job_id") == 2] == ["once"]
    assert [event["line"] for event in events if event.get("job_id") == 3] == [str(number) for number in range(HISTORY, HISTORY + LINES)]


def test_an_event_keeps_its_own_time_and_they_are_in_order() -> None:
    """Not the time at which a page was opened that then learned of it."""
    watcher = NetworkWatcher(Path("net"))
    before = time.time()
    watcher._tell(ShowOutput(job="Loud 3", job_id=3, stream="stdout", line="later"))
    watcher._tell(ShowText(kind="failover", text="earlier", at=7.0))
    events = watcher._updates.whole()[1][1]
    assert events[0]["at"] == 7.0
    assert events[1]["at"] >= before


def test_a_new_run_begins_without_the_events_of_the_last_one() -> None:
    watcher = NetworkWatcher(Path("net"))
    watcher._tell(ShowOutput(job="Loud 3", job_id=3, stream="stdout", line="old"))
    watcher._tell(None)
    assert watcher._updates.whole()[1] == ("events", [])


# -- what can happen to the threads that ask ---------------------------------------------------------------------------


class Network:
    """In place of a running network: what it answers, and what happens instead."""

    def __init__(self, *mishaps: BaseException) -> None:
        self.mishaps = list(mishaps)
        self.hold = threading.Event()
        self.hold.set()
        self.asking = 0  # viewers at the same time
        self.most_asking = 0

    def __call__(self, folder: Path) -> Network:
        return self

    def __enter__(self) -> Network:
        self.asking += 1
        self.most_asking = max(self.most_asking, self.asking)
        return self

    def __exit__(self, *_: object) -> None:
        self.asking -= 1

    def ask(self, request: object, kind: type) -> Any:
        assert self.hold.wait(DEADLINE_S)
        if kind is JobsMeasured and self.mishaps:
            raise self.mishaps.pop(0)
        found = answers()
        return {NetworkDescribed: found.description, JobsMeasured: found.measured, RunStatus: found.status, RunFollowed: None}[kind]

    def packets(self, every: float) -> Iterator[None]:
        while True:
            time.sleep(0.001)
            yield None


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fission.dashboard.watcher.MEASURE_S", 0.01)
    monkeypatch.setattr("fission.dashboard.watcher.RETRY_S", 0.01)


def watched(monkeypatch: pytest.MonkeyPatch, network: Network, look: Callable[[NetworkWatcher], Awaitable[None]]) -> None:
    monkeypatch.setattr("fission.dashboard.watcher.Viewer", network)

    async def main() -> None:
        watcher = NetworkWatcher(Path("net"))
        await asyncio.wait_for(look(watcher), DEADLINE_S)
        await watcher.close()
        while any(thread.is_alive for thread in watcher._threads):
            await asyncio.sleep(0.001)

    asyncio.run(main())


async def first(messages: AsyncIterator[tuple[str, Any]], wanted: Callable[[str, Any], bool]) -> Any:
    async for kind, value in messages:
        if wanted(kind, value):
            return value
    raise AssertionError("the stream has ended")


@pytest.mark.parametrize("mishap", [KeyError(7), ValueError("filedescriptor out of range"), OSError(24, "Too many open files")])
def test_whatever_is_raised_is_shown_and_the_page_recovers(
    monkeypatch: pytest.MonkeyPatch, quick: None, caplog: pytest.LogCaptureFixture, mishap: Exception
) -> None:
    """A page must not stay as it is, or blank, until all browsers have left."""

    network = Network(*[mishap] * 10_000)  # until it is seen

    async def look(watcher: NetworkWatcher) -> None:
        messages = watcher.messages()
        shown = await first(messages, lambda kind, value: kind == "patch" and "reason" in value)
        assert type(mishap).__name__ in shown["reason"]
        network.mishaps.clear()
        back = await first(messages, lambda kind, value: kind == "patch" and value.get("running") is True)
        assert back["reason"] is None
        await messages.aclose()  # type: ignore[attr-defined]

    watched(monkeypatch, network, look)
    assert sum("has a fault" in record.message for record in caplog.records) == 1, "it is logged once"


def test_browsers_that_come_and_go_while_the_network_hangs_wait_for_one_answer(monkeypatch: pytest.MonkeyPatch, quick: None) -> None:
    """As when its client is stopped (SIGSTOP): a page that is loaded again and again must not take a thread each time."""
    network = Network()
    network.hold.clear()

    async def look(watcher: NetworkWatcher) -> None:
        for _ in range(20):
            messages = watcher.messages()
            await anext(messages)
            await messages.aclose()  # type: ignore[attr-defined]
        assert not watcher.is_watching
        messages = watcher.messages()
        await anext(messages)
        network.hold.set()
        await first(messages, lambda kind, value: kind == "patch" and value.get("running") is True)
        await messages.aclose()  # type: ignore[attr-defined]

    watched(monkeypatch, network, look)
    assert network.most_asking <= 2, "one thread for measures, one for events"


def test_a_browser_that_takes_nothing_is_gone_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when its machine sleeps: the connection stays, and the network would be asked for days."""
    network = Network()
    now = 0.0

    async def main() -> None:
        nonlocal now
        watcher = NetworkWatcher(Path("net"), clock=lambda: now)
        messages, other = watcher.messages(), watcher.messages()
        await anext(messages)
        await anext(other)
        now = 10 * STALLED_S  # nothing has happened meanwhile
        newest = MOST_WAITING  # one more than fits
        for number in range(newest + 1):
            now += LEAST_S
            watcher._show({"number": number})
        assert len(watcher._looking) == 2
        await first(other, lambda kind, value: kind == "document" and value.get("number") == newest)
        await first(other, lambda kind, value: kind == "events")
        now += STALLED_S + 1
        watcher._show({"number": -1})
        assert len(watcher._looking) == 1
        assert len([message async for message in messages]) <= 1, "the stream ends; the browser connects again"
        assert (await anext(other))[1] == {"number": -1}
        await other.aclose()  # type: ignore[attr-defined]
        assert not watcher.is_watching

    monkeypatch.setattr("fission.dashboard.watcher.Viewer", network)
    asyncio.run(main())


def test_a_flood_of_lines_reaches_a_browser_in_few_messages(tmp_path: Path) -> None:
    """A browser lays its page out after each message: it would do nothing else, and show nothing."""

    async def main() -> None:
        watcher = NetworkWatcher(tmp_path / "net")  # which does not run
        messages = watcher.messages()
        await anext(messages)
        await anext(messages)
        for number in range(10_000):
            watcher._tell(ShowOutput(job="Loud 3", job_id=3, stream="stdout", line=str(number)))
        later = watcher.messages()
        assert [kind for kind, _ in [await anext(later), await anext(later)]] == ["document", "events"]
        lines = await first(messages, lambda kind, _: kind == "happened")
        assert (len(lines), lines[-1]["line"]) == (HISTORY, "9999")
        assert await first(later, lambda kind, _: kind == "happened") == lines, "all browsers have the same"
        watcher._tell(ShowOutput(job="Loud 3", job_id=3, stream="stdout", line="last"))
        for seen in (messages, later):
            assert [line["line"] for line in await first(seen, lambda kind, _: kind == "happened")] == ["last"], "none comes twice"
            await seen.aclose()  # type: ignore[attr-defined]

    asyncio.run(main())
