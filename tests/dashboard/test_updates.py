"""What the browsers of a network are sent: at most four updates in a second, and only what has changed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from fission.dashboard.document import without_nulls
from fission.dashboard.updates import GATHER_S, HISTORY, LINES, Message, PageUpdates
from fission.dashboard.watcher import NetworkWatcher
from fission.protocol.messages.run_events import ShowOutput
from tests.dashboard.test_document import merged
from tests.waiting import DEADLINE_S

#: Updates that a page may be sent in any second.
MOST_PER_SECOND = 4
JOBS = 200


def most_in_a_second(moments: list[float]) -> int:
    return max(sum(start <= moment < start + 1 for moment in moments) for start in moments)


def network(number: int) -> dict[str, Any]:
    """A document in which one job of many has changed, and of it one value of three."""
    jobs = {str(job): {"name": f"Job {job}", "node": f"n{job % 20}", "in_per_s": 10.0, "cpu": None} for job in range(JOBS)}
    jobs["7"]["in_per_s"] = float(number)
    return {"network": "net", "running": True, "jobs": jobs, "recordings": {}}


def changing(updates: PageUpdates, seconds: float, step: float) -> Iterator[tuple[float, Message]]:
    """Change everything each ``step`` seconds, and take what is sent."""
    for count in range(int(seconds / step)):
        now = 100.0 + count * step
        updates.show(network(count))
        updates.happened({"at": now, "line": count}, now, line_of=count % 5)
        updates.happened({"at": now, "text": count}, now)
        while (message := updates.take(now)) is not None:
            yield now, message


@pytest.mark.parametrize("step", [0.001, 0.06, 0.125])
def test_a_network_that_changes_fast_is_shown_four_times_a_second(step: float) -> None:
    found = list(changing(PageUpdates(), 5.0, step))
    moments = [moment for moment, _ in found]
    assert most_in_a_second(moments) <= MOST_PER_SECOND
    assert len(moments) >= 3 * 5, "it is shown as often as is allowed, not seldom"
    for kind in ("patch", "happened"):
        ages = [after - before for before, after in pairwise(moment for moment, message in found if message[0] == kind)]
        assert max(ages) < 1.0, f"a {kind} waits for its turn only"


def test_updates_without_a_pause_are_caught() -> None:
    moments = [moment for moment, _ in changing(PageUpdates(least_s=0.0), 2.0, 0.01)]
    assert most_in_a_second(moments) > MOST_PER_SECOND


def test_a_browser_gets_at_most_four_updates_a_second_in_real_time(tmp_path: Path) -> None:
    """Of measures and lines together, also while other browsers come."""
    moments = received(NetworkWatcher(tmp_path / "net"), 1.5)
    assert 3 <= most_in_a_second(moments) <= MOST_PER_SECOND


def test_a_watcher_that_sends_at_once_is_caught(tmp_path: Path) -> None:
    watcher = NetworkWatcher(tmp_path / "net")
    watcher._updates = PageUpdates(least_s=0.0)
    assert most_in_a_second(received(watcher, 0.5)) > MOST_PER_SECOND


def received(watcher: NetworkWatcher, seconds: float) -> list[float]:
    """Return when a browser is sent updates while the network changes a hundred times a second, and is opened again and again."""
    take = watcher._updates.take
    moments: list[float] = []  # when they were taken: a busy machine delivers them later, which must not fail the test

    def note(now: float) -> Message | None:
        message = take(now)
        if message is not None:
            moments.append(now)
        return message

    async def main() -> None:
        loop = asyncio.get_running_loop()
        messages = watcher.messages()
        whole = [await anext(messages), await anext(messages)]
        assert [kind for kind, _ in whole] == ["document", "events"]
        watcher._updates.take = note  # type: ignore[method-assign]
        reading = asyncio.create_task(count_of(messages))
        end = loop.time() + seconds
        count = 0
        while loop.time() < end:
            count += 1
            watcher._show(network(count))
            watcher._tell(ShowOutput(job="Loud 3", job_id=3, stream="stdout", line=str(count)))
            other = watcher.messages()
            await anext(other)
            await other.aclose()  # type: ignore[attr-defined]
            await asyncio.sleep(0.01)
        while not all(browser.waiting.empty() for browser in watcher._looking):
            await asyncio.sleep(0)
        await watcher.close()
        assert await asyncio.wait_for(reading, DEADLINE_S) == len(moments), "each of them, and nothing besides, is sent"
        while any(thread.is_alive for thread in watcher._threads):
            await asyncio.sleep(0.001)

    asyncio.run(main())
    return moments


async def count_of(messages: AsyncIterator[Message]) -> int:
    return len([message async for message in messages])


# -- only what has changed -----------------------------------------------------------------------------------------------


def patches(updates: PageUpdates) -> list[Any]:
    updates.show(network(0))
    assert updates.take(100.0) is not None
    found = [message for _, message in changing(updates, 3.0, 0.05)]
    return [value for kind, value in found if kind == "patch"]


def sends_the_jobs_that_change_alone(found: list[Any]) -> bool:
    return all(list(patch) == ["jobs"] and list(patch["jobs"]) == ["7"] and list(patch["jobs"]["7"]) == ["in_per_s"] for patch in found)


def test_jobs_that_do_not_change_are_not_sent_again() -> None:
    found = patches(PageUpdates())
    assert len(found) >= 5
    assert sends_the_jobs_that_change_alone(found)
    assert max(len(json.dumps(patch)) for patch in found) < len(json.dumps(network(0))) / 100


def whole_rows(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """A broken difference: sends a member again, whole, if anything in it has changed."""
    return {name: value for name, value in new.items() if old.get(name) != value}


def test_updates_that_send_everything_again_are_caught() -> None:
    for differ in (whole_rows, lambda old, new: new):
        assert not sends_the_jobs_that_change_alone(patches(PageUpdates(differ=differ)))


def test_the_patches_make_the_newest_document_although_some_were_never_sent() -> None:
    updates = PageUpdates()
    seen: dict[str, Any] = updates.whole()[0][1]
    for _, (kind, value) in changing(updates, 2.0, 0.01):
        seen = merged(seen, value) if kind == "patch" else seen
    updates.show({"running": False})
    for _ in range(2):
        due = updates.due()
        assert due is not None
        message = updates.take(due)
        assert message is not None
        seen = merged(seen, message[1]) if message[0] == "patch" else seen
    assert seen == {"running": False} == without_nulls(updates.latest)


def test_nothing_is_sent_if_nothing_has_changed() -> None:
    updates = PageUpdates()
    updates.show(network(1))
    assert updates.take(1.0) is not None
    updates.show(network(1))
    assert updates.take(2.0) is None
    assert updates.due() is None


# -- events --------------------------------------------------------------------------------------------------------------


def test_a_browser_that_comes_has_what_the_others_have_and_gets_the_rest_with_them() -> None:
    updates = PageUpdates()
    updates.happened({"at": 1.0, "text": "first"}, 1.0)
    assert updates.take(1.0 + GATHER_S) == ("happened", [{"at": 1.0, "text": "first"}])
    updates.happened({"at": 2.0, "text": "second"}, 2.0)
    assert [event["text"] for event in updates.whole()[1][1]] == ["first"]
    assert updates.take(2.0 + GATHER_S) == ("happened", [{"at": 2.0, "text": "second"}])
    assert [event["text"] for event in updates.whole()[1][1]] == ["first", "second"]


def test_a_run_that_begins_replaces_the_events_in_one_update() -> None:
    updates = PageUpdates()
    updates.happened({"at": 1.0, "text": "of the last run"}, 1.0)
    updates.begin(1.1)
    updates.happened({"at": 1.2, "text": "of this run"}, 1.2)
    assert updates.take(1.2) == ("events", [{"at": 1.2, "text": "of this run"}])
    assert updates.due() is None


def test_what_is_kept_is_bounded() -> None:
    updates = PageUpdates()
    for number in range(2 * HISTORY):
        updates.happened({"at": float(number)}, 0.0)
        updates.happened({"at": float(number)}, 0.0, line_of=1)
    message = updates.take(GATHER_S)
    assert message is not None
    assert len(message[1]) == HISTORY
    assert len(updates.whole()[1][1]) == HISTORY + LINES
