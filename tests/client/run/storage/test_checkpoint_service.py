"""A disk that accepts no data does not end a network: snapshots are requested again until they can be written."""

from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from fission import durable
from fission.adapters.file_checkpoints import FileCheckpoints
from fission.client.run.storage.checkpoint_service import CheckpointService, check_stored
from fission.client.run.storage.disk_threads import Disk, DiskInline, DiskThreads
from fission.client.run.storage.pending_writes import JobWrites, PendingWrites
from fission.errors import SnapshotError, UserError
from fission.protocol.messages.client_to_job import CheckpointStored, ClientToJob, RepeatReports, ValueStored
from fission.protocol.messages.job_to_client import RetainValue, SaveSnapshot, SnapshotStable
from tests.disk_faults import DISK_ERRORS, FailNth

SNAPSHOT = (3, SaveSnapshot(generation=0, block=10), b"state")
VALUE = (4, RetainValue(pipe=7, number=1), b"value")


@pytest.mark.parametrize("request_", [SNAPSHOT, VALUE], ids=["snapshot", "value"])
@pytest.mark.parametrize("error", DISK_ERRORS)
@pytest.mark.parametrize("nth", range(1, 10))
@pytest.mark.parametrize("disk", [DiskInline, DiskThreads])
def test_it_is_asked_for_again_until_it_is_written(
    tmp_path: Path, request_: tuple[int, SaveSnapshot | RetainValue, bytes], error: str, nth: int, disk: type[Disk]
) -> None:
    async def run() -> None:
        commands: asyncio.Queue[tuple[int, ClientToJob]] = asyncio.Queue()
        reports: list[tuple[str, str]] = []
        service = CheckpointService(
            FileCheckpoints(tmp_path),
            lambda *command: commands.put_nowait(command),
            lambda *report: reports.append(report),
            disk=disk(),
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
    with pytest.raises(UserError, match=r"3/0\.10 is damaged: it is empty; restore the file, or start the network again"):
        check_stored(store, [3, 4])
    (tmp_path / "4/kept-7").write_bytes(b"x")
    with pytest.raises(UserError, match="4/kept-7 is damaged"):
        check_stored(store, [4])
    with pytest.raises(SnapshotError, match="kept-7"):
        CheckpointService(store, lambda *command: None, lambda *report: None).kept(4)


# -- what waits


class SlowStore(FileCheckpoints):
    """A store that writes nothing before it may."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.begun, self.may = threading.Event(), threading.Event()

    def put(self, job: int, generation: int, block: int, state: bytes) -> None:
        self.begun.set()
        assert self.may.wait(20)
        super().put(job, generation, block, state)


def written_by(
    pending: type[PendingWrites], tmp_path: Path, during: Callable[[CheckpointService], None] | None = None, patience_s: float = 20
) -> list[int]:
    """Return the blocks that are confirmed when snapshots of blocks 1 to 50 come while the first is written."""
    store = SlowStore(tmp_path)

    async def run() -> list[int]:
        commands: asyncio.Queue[tuple[int, ClientToJob]] = asyncio.Queue()
        service = CheckpointService(store, lambda *command: commands.put_nowait(command), lambda *report: None, disk=DiskThreads())
        service._pending = pending()
        for block in range(1, 51):
            service.take(3, SaveSnapshot(generation=0, block=block), b"%d" % block)
            await asyncio.to_thread(store.begun.wait, 20)
        assert commands.empty(), "nothing is confirmed before it is on the disk"
        if during is not None:
            threading.Timer(0.05, store.may.set).start()
            during(service)
        store.may.set()
        confirmed = []
        while not confirmed or (confirmed[-1] < 50 and during is None):
            _, command = await asyncio.wait_for(commands.get(), patience_s)
            assert isinstance(command, CheckpointStored)
            assert (0, command.block) in store.numbers(3)
            confirmed.append(command.block)
        service.close()
        return confirmed

    return asyncio.run(run())


def test_of_the_snapshots_that_wait_only_the_newest_is_written(tmp_path: Path) -> None:
    assert written_by(PendingWrites, tmp_path) == [1, 50]
    assert FileCheckpoints(tmp_path).load(3) == [(0, 1, b"1"), (0, 50, b"50")]


class WritesTheOldest(PendingWrites):
    def add(self, job: int, message: SaveSnapshot | SnapshotStable | RetainValue, payload: bytes) -> None:
        if job not in self._waiting:
            super().add(job, message, payload)


class WritesAtTheSameTime(PendingWrites):
    def begin(self) -> dict[int, JobWrites]:
        self._busy.clear()
        return super().begin()


@pytest.mark.parametrize("broken", [WritesTheOldest, WritesAtTheSameTime])
def test_another_choice_is_caught(broken: type[PendingWrites], tmp_path: Path) -> None:
    with pytest.raises((AssertionError, TimeoutError)):
        assert written_by(broken, tmp_path, patience_s=1) == [1, 50]


def test_a_new_incarnation_begins_with_the_newest_snapshot_on_the_disk(tmp_path: Path) -> None:
    """What the incarnation before has sent is either on the disk by then, or never gets there."""
    found: list[tuple[tuple[int, int], ...]] = []
    assert written_by(PendingWrites, tmp_path, during=lambda service: found.append(service.kept(3)[0])) == [1]
    assert found == [((0, 1),)]
    assert FileCheckpoints(tmp_path).load(3) == [(0, 1, b"1")]


def test_an_older_snapshot_does_not_replace_a_newer_one_that_waits() -> None:
    pending = PendingWrites()
    for generation, block in ((1, 5), (0, 9), (1, 4)):
        pending.add(3, SaveSnapshot(generation=generation, block=block), b"")
        pending.add(3, SnapshotStable(generation=generation, block=block), b"")
    writes = pending.begin()[3]
    assert writes.snapshot is not None
    assert writes.stable is not None
    assert (writes.snapshot[0].block, writes.stable.block) == (5, 5)
    pending.add(3, RetainValue(pipe=7, number=1), b"a")
    pending.add(3, RetainValue(pipe=7, number=2), b"b")
    assert pending.begin() == {}
    pending.finish(3)
    assert [content for _, content in pending.begin()[3].values.values()] == [b"b"]
