"""What a page that is opened later learns of what has happened."""

from __future__ import annotations

import time
from pathlib import Path

from fission.dashboard.watcher import HISTORY, LINES, NetworkWatcher
from fission.protocol.messages.run_events import ShowFailure, ShowOutput, ShowText


def test_what_one_job_writes_pushes_out_neither_failures_nor_the_lines_of_others() -> None:
    watcher = NetworkWatcher(Path("net"))
    watcher._tell(ShowFailure(job="Fails 1", job_id=1, report="Traceback", final=False, at=5.0))
    watcher._tell(ShowOutput(job="Quiet 2", job_id=2, stream="stdout", line="once"))
    for number in range(HISTORY + LINES):
        watcher._tell(ShowOutput(job="Loud 3", job_id=3, stream="stdout", line=str(number)))
    (_, _), (kind, events) = watcher._whole()
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
    events = watcher._whole()[1][1]
    assert events[0]["at"] == 7.0
    assert events[1]["at"] >= before


def test_a_new_run_begins_without_the_events_of_the_last_one() -> None:
    watcher = NetworkWatcher(Path("net"))
    watcher._tell(ShowOutput(job="Loud 3", job_id=3, stream="stdout", line="old"))
    watcher._tell(None)
    assert watcher._whole()[1] == ("events", [])
