"""Feeds a recording to one job, run alone by its real host."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path

from fission.core.base import BaseJob
from fission.core.block_time import BlockTime
from fission.errors import JobFailed, UserError
from fission.protocol.block_times import pack
from fission.protocol.link_messages import CLOSED, Data, Release
from fission.protocol.window import WINDOW_BLOCKS
from fission.recordings import Recording
from fission.recordings.file_format import RecordedEntry
from fission.testing.stage import Exited, JobStage, Printed

#: Blocks of an input that may wait for the job; as many as a window holds.
AHEAD_BLOCKS = WINDOW_BLOCKS
#: Seconds after which the next block is sent anyway: the job may need a later block. Arbitrary.
STUCK_S = 0.2
#: Seconds by which times may run backwards without a clock change: pipes interleave. Arbitrary.
STEP_S = 5.0
#: Waits from this many seconds on are reported; arbitrary.
NOTICE_S = 5.0


class Schedule:
    """The times at which recorded blocks are fed.

    Recorded times may jump: the clocks that made them may have been set in between.
    """

    def __init__(self, speed: float | None, longest_gap_s: float) -> None:
        """Begin at 0 s.

        Args:
            speed: replay speed, as in `Replay`.
            longest_gap_s: maximum wait between two blocks in seconds.
        """
        self._speed, self._longest_gap_s = speed, longest_gap_s
        self._newest: float | None = None  # newest time since the last step back
        self._after_s = 0.0

    def next(self, when: float) -> tuple[float, str]:
        """Return the time of blocks in seconds from the beginning, and a notice for the user or "".

        Args:
            when: time of the blocks in the recording, in seconds since the epoch.
        """
        if not self._speed or not math.isfinite(when):
            return self._after_s, ""
        gap = 0.0 if self._newest is None else when - self._newest
        if self._newest is None or gap > 0 or gap < -STEP_S:
            self._newest = when
        if gap < -STEP_S:
            return self._after_s, f"the recording's clock was set back by {-gap:.6g} s here; the next block follows at once"
        wait = max(0.0, gap) / self._speed
        notice = ""
        if wait > self._longest_gap_s:
            notice = f"the recording has a gap of {gap:.6g} s here; waiting {self._longest_gap_s:g} s (--longest-gap)"
            wait = self._longest_gap_s
        elif wait >= NOTICE_S:
            notice = f"the recording has a gap of {gap:.6g} s here; waiting {wait:.6g} s"
        self._after_s += wait
        return self._after_s, notice


class Replay:
    """One replay.

    Attributes:
        fed: number of blocks sent to the job.
    """

    def __init__(
        self,
        job: BaseJob,
        recording: Recording,
        base: Path,
        *,
        speed: float | None,
        head_size: int = 1,
        longest_gap_s: float = math.inf,
        notice: Callable[[str], None] = lambda text: None,
    ) -> None:
        """Start the job.

        Args:
            job: the job to feed; see `JobStage`.
            recording: a recording of all its non-ASYNC inputs.
            base: parent of the job's folder.
            speed: 1 as recorded, 2 twice as fast; None: as fast as the job accepts blocks.
            head_size: size of heads in bytes.
            longest_gap_s: maximum wait between two blocks in seconds.
            notice: called with notices for the user.

        Raises:
            UserError: the recording lacks a pipe that the job needs.
        """
        recorded = set(recording.pipes)
        missing = [pipe for pipe in job.inputs if not pipe.ASYNC and pipe.id not in recorded]
        if not job.inputs:
            raise UserError(f"{job._fission_name} is a source: nothing can be fed to it; name a job that has inputs")
        if missing:
            has = ", ".join(map(str, sorted(recorded)))
            raise UserError(
                f"{recording.path} lacks {', '.join(map(str, missing))}, which {job._fission_name} waits for; it has the pipes {has}"
            )
        self.fed = 0
        self._job, self._recording, self._speed = job, recording, speed
        self._inputs = {pipe.id: pipe for pipe in job.inputs}
        needed = max((pipe.BLOCK_COUNT for pipe in job.outputs), default=1)
        self._stage = JobStage(job, base, head_size=head_size, window_blocks=WINDOW_BLOCKS, needed=needed, opened=False)
        self._generations: dict[int, int] = {}
        self._sent = dict.fromkeys(self._inputs, 0)
        self._released = dict.fromkeys(self._inputs, 0)
        self._exit: Exited | None = None
        self._longest_gap_s, self._notice = longest_gap_s, notice

    def run(self, output: Callable[[Data], None], printed: Callable[[str, str], None]) -> None:
        """Feed the whole recording; return when the job has ended.

        Args:
            output: called with the blocks that the job sends.
            printed: called with the name of the stream and the text that the job wrote.

        Raises:
            JobFailed: the job failed.
        """
        self._output, self._printed = output, printed
        try:
            schedule = Schedule(self._speed, self._longest_gap_s)
            began = time.monotonic()
            for entry in self._recording.entries():
                if entry.pipe not in self._inputs:
                    continue
                after_s, gap = schedule.next(entry.time)
                if gap:
                    self._notice(gap)
                self._wait_until(began + after_s)
                self._feed(entry)
                if self._exit is not None:
                    break
            for number in self._inputs:
                self._stage.end(number, self._sent[number], self._open(number, self._generations.get(number, 0), 0))
            while self._exit is None:
                self._look(None)
        finally:
            self._stage.kill()
        if self._exit.outcome not in ("finished", "ended"):
            error = self._exit.error
            raise JobFailed(self._job._fission_name, str(error))

    def _feed(self, entry: RecordedEntry) -> None:
        self._open(entry.pipe, entry.generation, entry.sqn - 1)
        while self._sent[entry.pipe] - self._released[entry.pipe] >= AHEAD_BLOCKS and self._exit is None:
            if not self._look(STUCK_S):
                break
        while self._exit is None and self._look(0):
            pass
        count = len(entry.payloads)
        times = entry.times or pack(BlockTime.at(entry.time)) * count
        self._stage.send(entry.pipe, entry.sqn, entry.payloads, entry.heads, entry.generation, times)
        self._sent[entry.pipe] = entry.sqn + count - 1
        self.fed += count

    def _open(self, pipe: int, generation: int, mark: int) -> int:
        if self._generations.get(pipe) != generation:
            self._generations[pipe] = generation
            self._stage.open(pipe, mark, generation)
            self._sent[pipe] = self._released[pipe] = mark
        return generation

    def _wait_until(self, moment: float) -> None:
        while (left := moment - time.monotonic()) > 0 and self._exit is None:
            self._look(left)

    def _look(self, timeout: float | None) -> bool:
        """Take the job's next event; return False if there was none in time."""
        event = self._stage.next(timeout)
        if isinstance(event, Printed):
            self._printed(event.stream, event.text)
        elif isinstance(event, Data):
            self._output(event)
            self._stage.release(event.pipe, event.sqn + len(event.payloads) - 1, event.generation)
        elif isinstance(event, Release) and event.released < CLOSED:
            if event.generation == self._generations.get(event.pipe, 0):
                self._released[event.pipe] = max(self._released[event.pipe], event.released)
        elif isinstance(event, Exited):
            self._exit = event
        return event is not None
