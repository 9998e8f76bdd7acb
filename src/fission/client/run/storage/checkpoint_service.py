"""What the client stores for its jobs: snapshots and retained values.

A new incarnation gets them on whichever node it runs. Writing takes place apart from the event
loop (`PendingWrites` has the order). A snapshot is confirmed when it is on the disk. While the disk cannot be written, nothing is
confirmed: jobs run until their windows are full, and are asked again until writing succeeds.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from fission.client.run.storage.checkpoint_totals import CheckpointTotals
from fission.client.run.storage.disk_threads import Disk, DiskInline
from fission.client.run.storage.pending_writes import JobWrites, PendingWrites
from fission.durable import DamagedFileError
from fission.errors import SnapshotError, UserError
from fission.ports import CheckpointStore
from fission.protocol.messages.client_to_job import CheckpointStored, ClientToJob, RepeatReports, ValueStored
from fission.protocol.messages.job_to_client import RetainValue, SaveSnapshot, SnapshotStable

log = logging.getLogger("fission.client")

#: Seconds until jobs are asked again for what could not be written: doubled each time, up to the second number.
#: Arbitrary.
FIRST_RETRY_S, MOST_RETRY_S = 0.5, 8.0
#: Seconds without another warning after a warning: a disk that is almost full takes some snapshots and refuses others.
#: Arbitrary.
QUIET_S = 60.0


#: A request, and why it could not be written; None if it was.
_End: TypeAlias = "tuple[SaveSnapshot | SnapshotStable | RetainValue, OSError | None]"


@dataclass(slots=True, eq=False)
class _Write:
    job: int
    writes: JobWrites
    launch: int  # the number of the incarnation that has asked for it
    wait: Callable[[], object] = lambda: None  # blocks until it has ended
    ended: bool = False


class CheckpointService:
    """Stores the snapshots and values that jobs send, and confirms what is on the disk.

    Attributes:
        totals: what was stored for each job, and what could not be.
    """

    def __init__(
        self,
        store: CheckpointStore,
        command: Callable[[int, ClientToJob], None],
        report: Callable[[str, str], None],
        note_first: Callable[[int, Callable[[], None]], None] = lambda job, then: then(),
        clock: Callable[[], float] = time.monotonic,
        *,
        disk: Disk | None = None,
        first_retry_s: float = FIRST_RETRY_S,
    ) -> None:
        """Begin with nothing waiting.

        Args:
            store: where everything is stored.
            command: sends a command to the newest incarnation of a job.
            report: called with ("warning" or "notice", text) when writing fails, and when it
                succeeds again.
            note_first: called with a job whose first snapshot of this client was stored, and a
                function to call once this is noted.
            clock: returns the time in seconds.
            disk: carries out what waits for the disk; by default at once, in the caller's thread.
            first_retry_s: seconds until jobs are asked again for the first time.
        """
        self.totals = CheckpointTotals()
        self._disk = DiskInline() if disk is None else disk
        self._pending = PendingWrites()
        self._closed = False
        self._launches: Counter[int] = Counter()  # by job: an answer is for the incarnation that has asked
        self._being_written: dict[int, list[_Write]] = {}  # by job
        self._noted: set[int] = set()
        self._note_first = note_first
        self._store = store
        self._command = command
        self._report = report
        self._damaged: dict[int, dict[tuple[int, int], str]] = {}
        self._waiting: set[int] = set()  # jobs with something that could not be written
        self._retry: asyncio.TimerHandle | None = None
        self._clock = clock
        self._first_retry_s = self._retry_s = first_retry_s
        self._failing = False  # whether a failure was reported and has not been resolved
        self._quiet_until = 0.0

    def take(self, job: int, message: SaveSnapshot | SnapshotStable | RetainValue, payload: bytes) -> None:
        """Perform what a message of a job's newest incarnation requests."""
        self._pending.add(job, message, payload)
        self._begin_writes()

    def _begin_writes(self) -> None:
        for job, writes in self._pending.begin():
            begun = _Write(job, writes, self._launches[job])
            begun.wait = self._disk.submit(partial(self._write, job, writes), partial(self._written, begun))
            if not begun.ended:
                self._being_written.setdefault(job, []).append(begun)

    def _write(self, job: int, writes: JobWrites) -> list[_End]:
        """Write for one job, in any thread; return how each request has ended."""
        ends: list[_End] = []
        for value, content in writes.values.values():
            ends.append(_attempt(value, partial(self._store.keep, job, value.pipe, content)))
        for message, state in writes.snapshots.values():
            ends.append(_attempt(message, partial(self._store.put, job, message.generation, message.block, state)))
        if (stable := writes.stable) is not None:
            ends.append(_attempt(stable, partial(self._store.prune, job, stable.generation, stable.block)))
        return ends

    def _written(self, write: _Write, ends: Sequence[_End]) -> None:
        job, write.ended = write.job, True
        if write in (being_written := self._being_written.get(job, [])):
            being_written.remove(write)
        self._pending.finish(job, write.writes, failed=any(why is not None for _, why in ends))
        if self._closed:
            return
        for message, why in ends:
            if why is not None:
                self.totals.failed(job)
                self._failed(job, why)
                continue
            if isinstance(message, SaveSnapshot):
                self.totals.stored(job, sum(len(state) for _, state in write.writes.snapshots.values()))
            if write.launch != self._launches[job]:
                continue
            if isinstance(message, SaveSnapshot):
                self._confirm(job, message)
            elif isinstance(message, RetainValue):
                self._command(job, ValueStored(pipe=message.pipe, number=message.number))
            else:
                continue
            self._succeeded()
        self._begin_writes()

    def kept(self, job: int) -> tuple[tuple[tuple[int, int], ...], Mapping[int, bytes], Mapping[tuple[int, int], str], str]:
        """Return what a new incarnation of a job starts from. Blocks while it reads.

        What the incarnation before has sent and is not written yet was never confirmed, and is
        discarded.
        Snapshots of an earlier client are checked once. This client has written the others, and the
        job that loads one verifies its checksum.

        Returns:
            (snapshots by number, retained value by pipe, damaged snapshots, folder of snapshots)

        Raises:
            SnapshotError: a retained value is damaged.
        """
        self._settle(job)
        try:
            folder = self._store.folder(job)
            if job not in self._damaged:
                self._damaged[job] = self._store.damaged(job)
            damaged = self._damaged[job]
            whole = tuple(number for number in self._store.numbers(job) if number not in damaged)
            return whole, self._store.kept(job), damaged, folder
        except (DamagedFileError, OSError) as why:
            raise SnapshotError(f"a value that was stored for job {job} cannot be used: {why}; start the network again") from why

    def pieces(self, job: int, generation: int, block: int) -> Iterator[bytes]:
        """Return a snapshot in pieces, as `fission.ports.CheckpointStore` does."""
        return self._store.pieces(job, generation, block)

    def close(self) -> None:
        """Stop asking jobs again, and block until all writes have ended."""
        self._closed = True
        if self._retry is not None:
            self._retry.cancel()
        self._disk.close()

    def _settle(self, job: int) -> None:
        """Leave nothing to write for a job, and nothing to confirm: its next incarnation has asked nothing yet."""
        self._launches[job] += 1
        stable = self._pending.drop(job).stable
        for write in self._being_written.get(job, []):
            write.wait()
        if stable is not None:
            self._write(job, JobWrites(stable=stable))

    def _confirm(self, job: int, message: SaveSnapshot) -> None:
        def confirm() -> None:
            self._command(job, CheckpointStored(generation=message.generation, block=message.block))

        if job in self._noted:
            confirm()
        else:
            self._noted.add(job)
            self._note_first(job, confirm)

    def _failed(self, job: int, why: OSError) -> None:
        now = self._clock()
        if now >= self._quiet_until:
            self._quiet_until = now + QUIET_S
            self._failing = True
            text = f"{why.filename or 'a snapshot'} cannot be written: {why.strerror or why}"
            self._report(
                "warning",
                f"{text}; the network continues until its windows are full, and again once snapshots can be written; free space on this "
                "disk, or repair it",
            )
        log.warning("a snapshot of job %s cannot be written: %s", job, why)
        self._waiting.add(job)
        if self._retry is None:
            self._retry = asyncio.get_running_loop().call_later(self._retry_s, self._ask_again)
            self._retry_s = min(2 * self._retry_s, MOST_RETRY_S)

    def _succeeded(self) -> None:
        self._retry_s = self._first_retry_s
        if self._failing:
            self._failing = False
            self._report("notice", "snapshots can be written again")

    def _ask_again(self) -> None:
        self._retry = None
        waiting, self._waiting = self._waiting, set()
        for job in sorted(waiting):
            self._command(job, RepeatReports())


def _attempt(message: SaveSnapshot | SnapshotStable | RetainValue, write: Callable[[], None]) -> _End:
    try:
        write()
    except OSError as why:
        return message, why
    return message, None


def check_stored(store: CheckpointStore, jobs: Iterable[int], stored: Collection[int] = ()) -> None:
    """Check before a resume that stored snapshots and retained values are usable.

    Each job that has stored snapshots needs a whole one; retained values must be whole.

    Args:
        store: where they are stored.
        jobs: ids of the network's jobs.
        stored: jobs that have stored a snapshot according to the event log.

    Raises:
        UserError: a job has no whole snapshot, or a value is damaged; the text names the file.
    """
    for job in jobs:
        damaged = store.damaged(job)
        try:
            store.kept(job)
        except (DamagedFileError, OSError) as why:
            problem = str(why)
        else:
            problem = next(iter(damaged.values()), "") if damaged and not store.load(job) else ""
            if job in stored and not damaged and not store.load(job):
                problem = f"the snapshots of job {job} are missing"
        if problem:
            raise UserError(f"the run cannot be resumed: {problem}; restore the file, or start the network again, without --resume")
