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
        self.now = self.most = 0
        self._lock = threading.Lock()

    def put(self, job: int, generation: int, block: int, state: bytes) -> None:
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
        self.begun.set()
        assert self.may.wait(20)
        super().put(job, generation, block, state)
        with self._lock:
            self.now -= 1


def written_by(pending: type[PendingWrites], tmp_path: Path, during: Callable[[CheckpointService], None] | None = None) -> list[int]:
    """Return the blocks that are confirmed when snapshots of blocks 1 to 9 come while the first is written."""
    store = SlowStore(tmp_path)

    async def run() -> list[int]:
        commands: asyncio.Queue[tuple[int, ClientToJob]] = asyncio.Queue()
        service = CheckpointService(store, lambda *command: commands.put_nowait(command), lambda *report: None, disk=DiskThreads())
        service._pending = pending()
        for block in range(1, 10):
            service.take(3, SaveSnapshot(generation=0, block=block), b"%d" % block)
            await asyncio.to_thread(store.begun.wait, 20)
        assert commands.empty(), "nothing is confirmed before it is on the disk"
        if during is not None:
            threading.Timer(0.05, store.may.set).start()
            during(service)
        store.may.set()
        confirmed = []
        while during is None and len(confirmed) < 9:
            _, command = await asyncio.wait_for(commands.get(), 20)
            assert isinstance(command, CheckpointStored)
            assert (0, command.block) in store.numbers(3)
            confirmed.append(command.block)
        service.close()
        assert store.most == 1, "one write of a job at a time"
        return confirmed

    return asyncio.run(run())


def test_all_snapshots_of_a_job_are_written_one_after_the_other(tmp_path: Path) -> None:
    assert written_by(PendingWrites, tmp_path) == list(range(1, 10))
    assert FileCheckpoints(tmp_path).load(3) == [(0, block, b"%d" % block) for block in range(1, 10)]


class WritesAtTheSameTime(PendingWrites):
    def begin(self) -> dict[int, JobWrites]:
        self._busy.clear()
        return super().begin()


def test_writes_at_the_same_time_are_caught(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="one write of a job at a time"):
        written_by(WritesAtTheSameTime, tmp_path)


def test_a_new_incarnation_begins_with_the_newest_snapshot_on_the_disk(tmp_path: Path) -> None:
    """What the incarnation before has sent is either on the disk by then, or never gets there."""
    found: list[tuple[tuple[int, int], ...]] = []
    assert written_by(PendingWrites, tmp_path, during=lambda service: found.append(service.kept(3)[0])) == []
    assert found == [((0, 1),)]
    assert FileCheckpoints(tmp_path).load(3) == [(0, 1, b"1")]


def test_of_stable_snapshots_and_of_values_the_newest_counts() -> None:
    pending = PendingWrites()
    for generation, block in ((1, 5), (0, 9), (1, 4)):
        pending.add(3, SnapshotStable(generation=generation, block=block), b"")
    stable = pending.begin()[3].stable
    assert stable is not None
    assert stable.block == 5
    pending.add(3, RetainValue(pipe=7, number=1), b"a")
    pending.add(3, RetainValue(pipe=7, number=2), b"b")
    assert pending.begin() == {}
    pending.finish(3)
    assert [content for _, content in pending.begin()[3].values.values()] == [b"b"]


def test_a_newer_snapshot_is_not_written_where_the_first_one_could_not_be(tmp_path: Path) -> None:
    async def run() -> None:
        service = CheckpointService(FileCheckpoints(tmp_path), lambda *command: None, lambda *report: None)
        writes = JobWrites(snapshots={(0, block): (SaveSnapshot(generation=0, block=block), b"x") for block in (0, 7)})
        with durable.interpose(FailNth(1, errno.ENOSPC, times=1)):
            ends = service._write(3, writes)
        assert [why is None for _, why in ends] == [False]
        assert FileCheckpoints(tmp_path).numbers(3) == []

    asyncio.run(run())
