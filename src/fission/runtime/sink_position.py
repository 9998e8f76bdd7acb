"""The position of a sink: its first compute block, and the last one that is safe in its file.

A sink derived from `FileSinkJob` has a `SinkFile`. The job's main thread records each compute block
that `run` has finished in it. The control thread syncs the file, many blocks at a time, and synced
blocks may be released. Any other sink should make repeated blocks harmless with the help of
`PythonJob.position` and `block_number`; one that uses neither gets a warning when it is restarted.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from fission.core.file_sinks import FileSinkJob
from fission.core.python_job import PythonJob
from fission.core.sink_file import BEYOND, SinkFile
from fission.core.sink_journal import JOURNAL
from fission.errors import SinkFileError
from fission.runtime.control import NEVER

#: Largest number of seconds before recorded blocks are synced. Arbitrary: ten syncs a second wear out no flash card, and the only
#: windows that fill in that time are those for which `SinkSync.due` hurries.
SYNC_AFTER_S = 0.1

_NAMES = ("position", "block_number")


class SinkSync:
    """The file of one incarnation of a sink."""

    def __init__(self, job: PythonJob, file: SinkFile, warn: Callable[[str], None]) -> None:
        """Prepare.

        Args:
            job: job of the sink.
            file: open file of the sink.
            warn: function that shows a text to the user.
        """
        self._job = job
        self._file = file
        self._since = NEVER  # the moment since which unsynced blocks wait
        file.on_full_disk = warn

    def first_number(self, generation: int) -> int:
        """Return the compute block of this generation that follows the last one in the file.

        It is `BEYOND` if the file has newer generations.
        """
        return self._file.first_number(generation)

    def begin(self, generation: int, first: int, *, acknowledged: int) -> None:
        """Set the next compute block.

        Args:
            generation: generation of the block's numbering.
            first: number of the block.
            acknowledged: the last block that an earlier incarnation has acknowledged, as far as
                the producers know; 0: none.

        Raises:
            SinkFileError: blocks that were acknowledged are missing from the file.
        """
        file = self._file
        if first >= BEYOND:
            return
        # with MAX_QUEUE, blocks before the first may have been dropped
        if not acknowledged or self._job.MAX_QUEUE or "LOCAL" not in _groups(self._job):
            self._begin(generation, first)
            return
        if file.damaged and file.to_device and file.first_number(generation) <= acknowledged and file.position.generation == generation:
            raise SinkFileError(
                f"{self._job._fission_name}: the notes about {file.path}, {os.path.abspath(JOURNAL)}, are damaged after compute block "
                f"{file.position.number}, but all up to {acknowledged} were written and acknowledged: put the folder ({os.getcwd()}) back, "
                "or begin a new run; nothing was cut off"
            )
        if not file.known and not file.position.number:
            raise SinkFileError(
                f"{self._job._fission_name}: {file.path} {'is missing' if file.new else 'has no notes'} in the job's folder, "
                "but all compute "
                f"blocks up to {acknowledged} were written and acknowledged: put the folder ({os.getcwd()}) back, or begin a new run"
            )
        self._begin(generation, first)

    def _begin(self, generation: int, first: int) -> None:
        self._file.begin(generation, first)
        if isinstance(self._job, FileSinkJob):  # what was cut off must not be in the header of a file that is read now
            self._job._fission_update_header()

    def record(self, generation: int, number: int) -> None:
        """Main thread: record that `run` has returned for this compute block."""
        self._file.record(generation, number)

    def flush(self) -> None:
        """Main thread: flush the file, because no further compute block has arrived."""
        self._file.flush()

    def acknowledgeable(self, generation: int) -> float:
        """Return the last compute block of this generation that is on the device."""
        synced = self._file.synced
        if synced.generation != generation:
            return NEVER if synced.generation > generation else 0
        return synced.number

    def covers(self, generation: int) -> bool:
        """Return whether all blocks of an older generation are on the device."""
        return self._file.synced.generation > generation or not self._file.dirty

    def due(self, now: float, *, hurry: bool) -> float:
        """Main thread: return the moment at which the control thread must sync.

        It is `NEVER` if there is nothing to sync.

        Args:
            now: current moment in seconds.
            hurry: whether to sync at once.
        """
        if not self._file.dirty:
            return NEVER
        if hurry:
            self._since = 0.0
            return now
        if self._since == NEVER:
            self._since = now
        return self._since + SYNC_AFTER_S

    def tick(self, now: float) -> tuple[bool, float]:
        """Control thread: sync if it is due.

        Returns whether more may be released, and the moment of the next call.

        Raises:
            SinkFileError: the device has failed.
        """
        if not self._file.dirty:
            self._since = NEVER
            return False, NEVER
        if self._since == NEVER:
            self._since = now
        if now < self._since + SYNC_AFTER_S:
            return False, self._since + SYNC_AFTER_S
        self._since = NEVER
        self._guarded(self._file.sync)
        return True, NEVER

    def finish(self) -> None:
        """Main thread: block until the whole file is on the device; nothing follows."""
        self._guarded(self._file.sync_all)

    def keep_from(self, generation: int, number: int) -> None:
        """Keep what a new incarnation needs to return to the end of this compute block."""
        self._file.keep_from = (generation, number)

    def _guarded(self, sync: Callable[[], None]) -> None:
        try:
            sync()
        except OSError as why:
            raise SinkFileError(
                f"{self._job._fission_name}: {os.path.abspath(self._file.path)} cannot be written to its device: {why}; blocks "
                "that were not "
                "acknowledged are written again"
            ) from None


def make_sink_sync(job: PythonJob, warn: Callable[[str], None]) -> SinkSync | None:
    """Return the `SinkSync` of a job whose `setup` has opened its file; None for any other job."""
    file = getattr(job, "_fission_sink_file", None)
    return SinkSync(job, file, warn) if isinstance(file, SinkFile) else None


def repetition_warning(job: PythonJob, first: int) -> str:
    """Return the warning to the user about a restarted sink; empty if there is none.

    Args:
        job: job of any kind.
        first: compute block that the job begins with.
    """
    if (
        job.outputs
        or job._fission_is_source
        or job.CHECKPOINT is not None
        or job._fission_may_repeat
        or isinstance(getattr(job, "_fission_sink_file", None), SinkFile)
    ):
        return ""
    if any(name in names for names in _names_in(type(job)) for name in _NAMES):
        return ""
    return (
        f"restarted with compute block {first}: it may get blocks again that it has processed, and a file that it opens with mode 'w' "
        "is emptied. Derive it from FileSinkJob, or use self.position or self.block_number to make repeated blocks harmless "
        "(docs/sinks.md)"
    )


def _names_in(kind: type[Any]) -> list[tuple[str, ...]]:
    """Return the names that the methods of a user's class use."""
    own = (cls for cls in kind.__mro__ if not cls.__module__.startswith("fission.core."))
    codes = (getattr(value, "__code__", None) for cls in own for value in vars(cls).values())
    return [code.co_names for code in codes if code is not None]


def _groups(job: PythonJob) -> tuple[str, ...]:
    from fission.core.base_node import group_names

    return group_names(job.GROUPS)
