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
from fission.client.run.storage.pending_writes import SNAPSHOTS_AT_ONCE, JobWrites, PendingWrites
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
    """A store that writes nothing before it may.

    Attributes:
        begun: set when a write has begun.
        may: set when writes may continue.
        first_alone: whether each write of block 0 was alone.
        twice: whether a snapshot was written twice at the same time.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.begun, self.may = threading.Event(), threading.Event()
        self.first_alone, self.twice = True, False
        self._now: list[int] = []
        self._lock = threading.Lock()

    def put(self, job: int, generation: int, block: int, state: bytes) -> None:
        with self._lock:
            self.twice = self.twice or block in self._now
            self._now.append(block)
            self.first_alone = self.first_alone and (0 not in self._now or self._now == [0])
        self.begun.set()
        assert self.may.wait(20)
        super().put(job, generation, block, state)
        with self._lock:
            self._now.remove(block)


#: Blocks of the snapshots that a job takes; it is asked again for one of them.
TAKEN = (*range(10), 1)


def written_by(pending: type[PendingWrites], tmp_path: Path, during: Callable[[CheckpointService], None] | None = None) -> list[int]:
    """Return the blocks that are confirmed when such snapshots come while the first is written."""
    store = SlowStore(tmp_path)

    async def run() -> list[int]:
        commands: asyncio.Queue[tuple[int, ClientToJob]] = asyncio.Queue()
        service = CheckpointService(store, lambda *command: commands.put_nowait(command), lambda *report: None, disk=DiskThreads())
        service._pending = pending()
        for block in TAKEN:
            service.take(3, SaveSnapshot(generation=0, block=block), b"%d" % block)
            await asyncio.to_thread(store.begun.wait, 20)
        assert commands.empty(), "nothing is confirmed before it is on the disk"
        if during is not None:
            threading.Timer(0.05, store.may.set).start()
            during(service)
        store.may.set()
        confirmed: list[int] = []
        while during is None and len(set(confirmed)) < 10:
            _, command = await asyncio.wait_for(commands.get(), 20)
            assert isinstance(command, CheckpointStored)
            assert (0, command.block) in store.numbers(3)
            confirmed.append(command.block)
        service.close()
        assert store.first_alone, "block 0 is written before all others"
        assert not store.twice, "a snapshot is written once at a time"
        return confirmed

    return asyncio.run(run())


def test_all_snapshots_of_a_job_are_written_the_first_one_before_all_others(tmp_path: Path) -> None:
    confirmed = written_by(PendingWrites, tmp_path)
    assert confirmed[0] == 0
    assert sorted(set(confirmed)) == list(range(10))
    assert FileCheckpoints(tmp_path).load(3) == [(0, block, b"%d" % block) for block in range(10)]


class WritesAtTheSameTime(PendingWrites):
    """Knows of no write that has begun."""

    def begin(self) -> list[tuple[int, JobWrites]]:
        self._being_written.clear()
        return super().begin()

    def finish(self, job: int, writes: JobWrites, *, failed: bool = False) -> None:
        self._being_written.setdefault(job, set())
        super().finish(job, writes, failed=failed)


def test_writes_at_the_same_time_are_caught(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="block 0 is written before all others"):
        written_by(WritesAtTheSameTime, tmp_path)


def test_no_snapshot_is_written_twice_at_the_same_time() -> None:
    pending, snapshot = PendingWrites(), SaveSnapshot(generation=0, block=5)
    pending.add(3, snapshot, b"x")
    [(_, first)] = pending.begin()
    pending.add(3, snapshot, b"x")
    assert pending.begin() == []
    pending.finish(3, first)
    assert len(pending.begin()) == 1


def test_few_snapshots_of_a_job_are_written_at_the_same_time() -> None:
    pending = PendingWrites()
    for job in (3, 4):
        for block in range(1, 10):
            pending.add(job, SaveSnapshot(generation=0, block=block), b"x")
    assert [job for job, _ in pending.begin()] == [3] * SNAPSHOTS_AT_ONCE + [4] * SNAPSHOTS_AT_ONCE


def test_a_new_incarnation_begins_with_the_newest_snapshot_on_the_disk(tmp_path: Path) -> None:
    """What the incarnation before has sent is either on the disk by then, or never gets there."""
    found: list[tuple[tuple[int, int], ...]] = []
    assert written_by(PendingWrites, tmp_path, during=lambda service: found.append(service.kept(3)[0])) == []
    assert found == [((0, 0),)]
    assert FileCheckpoints(tmp_path).load(3) == [(0, 0, b"0")]


def test_of_stable_snapshots_and_of_values_the_newest_counts() -> None:
    pending = PendingWrites()
    for generation, block in ((1, 5), (0, 9), (1, 4)):
        pending.add(3, SnapshotStable(generation=generation, block=block), b"")
    [(_, deletion)] = pending.begin()
    assert deletion.stable is not None
    assert deletion.stable.block == 5
    pending.add(3, RetainValue(pipe=7, number=1), b"a")
    pending.add(3, RetainValue(pipe=7, number=2), b"b")
    assert pending.begin() == []
    pending.finish(3, deletion)
    [(_, writes)] = pending.begin()
    assert [content for _, content in writes.values.values()] == [b"b"]


def without_the_first(pending: type[PendingWrites], tmp_path: Path) -> list[int]:
    """Return the blocks whose snapshots are written when the disk has no room for that of block 0, until it is repeated."""
    store = FileCheckpoints(tmp_path)

    async def run() -> None:
        service = CheckpointService(store, lambda *command: None, lambda *report: None)
        service._pending = pending()
        with durable.interpose(FailNth(1, errno.ENOSPC, times=1)):
            service.take(3, SaveSnapshot(generation=0, block=0), b"x")
        service.take(3, SaveSnapshot(generation=0, block=7), b"x")

    asyncio.run(run())
    return [block for _, block in store.numbers(3)]


def test_a_newer_snapshot_is_not_written_where_the_first_one_could_not_be(tmp_path: Path) -> None:
    assert without_the_first(PendingWrites, tmp_path) == []


class ForgetsFailures(PendingWrites):
    def finish(self, job: int, writes: JobWrites, *, failed: bool = False) -> None:
        super().finish(job, writes)


def test_a_failure_that_is_forgotten_is_caught(tmp_path: Path) -> None:
    assert without_the_first(ForgetsFailures, tmp_path) == [7]


def test_after_the_first_one_is_repeated_newer_ones_follow() -> None:
    pending = PendingWrites()
    pending.add(3, SaveSnapshot(generation=0, block=0), b"x")
    [(_, first)] = pending.begin()
    pending.add(3, SaveSnapshot(generation=0, block=4), b"x")
    pending.finish(3, first, failed=True)
    assert pending.begin() == []
    for block in (0, 4):
        pending.add(3, SaveSnapshot(generation=0, block=block), b"x")
    [(_, first)] = pending.begin()
    pending.finish(3, first)
    assert [list(writes.snapshots) for _, writes in pending.begin()] == [[(0, 4)]]
