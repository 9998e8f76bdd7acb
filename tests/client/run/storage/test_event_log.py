"""The event log of a run can be read again, however it ends; damage in its middle is refused by file and line."""

from __future__ import annotations

import asyncio
import errno
import random
import re
from pathlib import Path

import pytest

from fission import durable
from fission.client.folders.run_folders import EVENTS
from fission.client.run.storage.event_log import EventLog
from fission.client.run.storage.resume_state import ResumeState, read_history
from fission.errors import UserError
from fission.protocol.supervision import JobPlan
from tests.disk_faults import DISK_ERRORS, FailNth

PLANS = [
    JobPlan(job=number, name=f"Job {number}", inputs={}, outputs={}, source=True, resumable=True, part=number, required=False, restarts=5)
    for number in (1, 2)
]
ENTRIES = [
    {"what": "Run", "run": "0123"},
    {"what": "Launch", "job": 1, "incarnation": 1, "node": "client", "generation": 0},
    {"what": "Launch", "job": 2, "incarnation": 1, "node": "client", "generation": 0},
    {"what": "Hello", "job": 1, "incarnation": 1, "addresses": {"data": "tcp://a:1"}},
    {"what": "Stored", "job": 1},
    {"what": "Launch", "job": 1, "incarnation": 2, "node": "ü", "generation": 1},
    {"what": "Ended", "job": 2, "ends": {"7": [1, 0, 12]}},
]
TORN = [b'{"s": 1.234, "what": "JobEn', b"\0" * 300, random.Random(7).randbytes(200), b"\n", b"\r\n\xff", b'{"s": 2, "crc": "00000000"}']


def write(folder: Path, entries: list[dict[str, object]]) -> None:
    log = EventLog()
    log.open(folder)
    for entry in entries:
        log.write(entry)
    log.close()


def incarnations(history: ResumeState) -> dict[int, int]:
    return {job: incarnation for job, (incarnation, _) in history.network.incarnations.items()}


def test_it_is_read_again(tmp_path: Path) -> None:
    write(tmp_path, ENTRIES[:4])
    write(tmp_path, ENTRIES[4:])
    history = read_history(tmp_path, PLANS)
    assert incarnations(history) == {1: 2, 2: 1}
    assert (history.stored, history.ends, history.torn_bytes) == ({1}, {2: {7: (1, 0, 12)}}, 0)


@pytest.mark.parametrize("torn", TORN, ids=range(len(TORN)))
def test_a_torn_end_heals_any_number_of_times(tmp_path: Path, torn: bytes) -> None:
    for entry in ENTRIES:
        write(tmp_path, [entry])
        with (tmp_path / EVENTS).open("ab") as file:
            file.write(torn)
        assert read_history(tmp_path, PLANS).torn_bytes == len(torn)
    write(tmp_path, [])
    entries, size = durable.sealed_lines(tmp_path / EVENTS)
    assert len(entries) == len(ENTRIES)
    assert (tmp_path / EVENTS).stat().st_size == size


def test_cut_at_every_byte_it_is_read_or_refused(tmp_path: Path) -> None:
    write(tmp_path, ENTRIES)
    content = (tmp_path / EVENTS).read_bytes()
    for length in range(len(content)):
        (tmp_path / EVENTS).write_bytes(content[:length])
        if b"\n" not in content[:length]:
            with pytest.raises(UserError, match=r"events\.jsonl is damaged, .*it has no complete line"):
                read_history(tmp_path, PLANS)
            continue
        read_history(tmp_path, PLANS)
        write(tmp_path, [ENTRIES[1]])
        assert read_history(tmp_path, PLANS).torn_bytes == 0


def test_every_flipped_bit_is_found(tmp_path: Path) -> None:
    write(tmp_path, ENTRIES)
    path = tmp_path / EVENTS
    content = path.read_bytes()
    for place in range(len(content)):
        bit = 1 << place % 8
        path.write_bytes(content[:place] + bytes([content[place] ^ bit]) + content[place + 1 :])
        try:
            torn_bytes = read_history(tmp_path, PLANS).torn_bytes
        except UserError as why:
            message = str(why)
        else:
            # as if the last line had not been written to its end, which is reported
            assert torn_bytes > 0
            assert place >= len(content) - 19
            continue
        assert re.match(rf"{path} is damaged: line \d+: it.*; restore the file from a copy", message)


@pytest.mark.parametrize(
    ("content", "text"),
    [(b"", "it has no complete line"), (b"garbage" * 99, "it has no complete line"), (None, "Is a directory")],
    ids=["emptied", "garbage", "folder"],
)
def test_files_that_are_not_a_log_are_refused(tmp_path: Path, content: bytes | None, text: str) -> None:
    path = tmp_path / EVENTS
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(UserError, match=text):
        read_history(tmp_path, PLANS)


@pytest.mark.parametrize(
    "entry", [{}, {"what": "Launch"}, {"what": "Launch", "job": 1}, {"what": "Ended", "job": 1, "ends": 5}, {"what": 7, "job": "x"}]
)
def test_logs_of_other_versions_are_refused(tmp_path: Path, entry: dict[str, object]) -> None:
    write(tmp_path, [entry])
    with pytest.raises(UserError, match=r"is of another version of FISSION|has a job 0, which config"):
        read_history(tmp_path, PLANS)


@pytest.mark.parametrize("error", DISK_ERRORS)
@pytest.mark.parametrize("nth", range(1, 9))
def test_entries_that_cannot_be_written_are_written_later(tmp_path: Path, error: str, nth: int) -> None:
    async def run() -> None:
        reports: list[tuple[str, str]] = []
        log = EventLog(lambda *report: reports.append(report), retry_s=0.001)
        log.open(tmp_path)
        synced = asyncio.Event()
        fault = FailNth(nth, getattr(errno, error), times=3, half=True)
        with durable.interpose(fault):
            for entry in ENTRIES[:-1]:
                log.write(entry)
            log.write(ENTRIES[-1])
            log.sync(synced.set)
            await asyncio.wait_for(synced.wait(), 20)
        assert read_history(tmp_path, PLANS).ends, "it is on the disk when it is said to be"
        assert [kind for kind, _ in reports] in (["warning", "notice"] * (bool(fault.failed) + 0), ["warning", "notice"] * 2)
        assert all(str(tmp_path / EVENTS) in text for _, text in reports)
        log.close()

    asyncio.run(run())
    assert [entry["what"] for entry in durable.sealed_lines(tmp_path / EVENTS)[0]] == [entry["what"] for entry in ENTRIES]
