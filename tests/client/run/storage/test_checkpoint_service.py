"""A disk that takes nothing ends no network: snapshots are asked for again until they can be written."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path

import pytest

from fission import durable
from fission.adapters.file_checkpoints import FileCheckpoints
from fission.client.run.storage.checkpoint_service import CheckpointService, check_stored
from fission.errors import SnapshotError, UserError
from fission.protocol.messages.client_to_job import CheckpointStored, ClientToJob, RepeatReports, ValueStored
from fission.protocol.messages.job_to_client import RetainValue, SaveSnapshot
from tests.disk_faults import DISK_ERRORS, FailNth

SNAPSHOT = (3, SaveSnapshot(generation=0, block=10), b"state")
VALUE = (4, RetainValue(pipe=7, number=1), b"value")


@pytest.mark.parametrize("request_", [SNAPSHOT, VALUE], ids=["snapshot", "value"])
@pytest.mark.parametrize("error", DISK_ERRORS)
@pytest.mark.parametrize("nth", range(1, 10))
def test_it_is_asked_for_again_until_it_is_written(
    tmp_path: Path, request_: tuple[int, SaveSnapshot | RetainValue, bytes], error: str, nth: int
) -> None:
    async def run() -> None:
        commands: asyncio.Queue[tuple[int, ClientToJob]] = asyncio.Queue()
        reports: list[tuple[str, str]] = []
        service = CheckpointService(
            FileCheckpoints(tmp_path),
            lambda *command: commands.put_nowait(command),
            lambda *report: reports.append(report),
            first_retry_s=0.001,
        )
        fault = FailNth(nth, getattr(errno, error), times=2)
        with durable.interpose(fault):
            service.take(*request_)
            while True:
                job, command = await asyncio.wait_for(commands.get(), 20)
                assert job == request_[0]
                if command != RepeatReports():
                    break
                service.take(*request_)  # as the job does
        assert command == (CheckpointStored(generation=0, block=10) if request_ is SNAPSHOT else ValueStored(pipe=7, number=1))
        assert [kind for kind, _ in reports] == (["warning", "notice"] if fault.failed else [])
        assert all(str(tmp_path) in text and "free space" in text for kind, text in reports if kind == "warning")
        service.close()

    asyncio.run(run())
    store = FileCheckpoints(tmp_path)
    assert store.load(3) == ([(0, 10, b"state")] if request_ is SNAPSHOT else [])
    assert store.kept(4) == ({7: b"value"} if request_ is VALUE else {})


def test_a_resume_is_refused_if_only_damaged_ones_are_there(tmp_path: Path) -> None:
    store = FileCheckpoints(tmp_path)
    check_stored(store, [3, 4])
    store.put(3, 0, 10, b"state")
    store.put(3, 0, 20, b"state")
    store.keep(4, 7, b"value")
    check_stored(store, [3, 4])
    (tmp_path / "3/0.20").write_bytes(b"")
    check_stored(store, [3, 4])
    (tmp_path / "3/0.10").write_bytes(b"")
    with pytest.raises(UserError, match=r"3/0\.10 is damaged: it is empty; restore the file, or start the network anew"):
        check_stored(store, [3, 4])
    (tmp_path / "4/kept-7").write_bytes(b"x")
    with pytest.raises(UserError, match="4/kept-7 is damaged"):
        check_stored(store, [4])
    with pytest.raises(SnapshotError, match="kept-7"):
        CheckpointService(store, lambda *command: None, lambda *report: None).kept(4)
