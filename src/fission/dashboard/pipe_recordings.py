"""Recordings of pipes that the page starts: one thread for each, and files below the network's folder.

A recording ends when it is stopped, with the pipe or the network, with the page's server, or when
the disk is nearly full; its file is then complete. Browsers come and go meanwhile.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fission.client.attach.follow import WatchedPipes
from fission.client.serve.control_server import Viewer
from fission.dashboard import recording_lock
from fission.errors import FissionError, UserError
from fission.protocol.messages.client_to_viewer import ActionNoted, NetworkDescribed
from fission.protocol.messages.viewer_to_client import DescribeNetwork, NoteAction
from fission.recordings import Recorder
from fission.recordings.writer import PipeFacts

#: Folder of the recordings in the network's folder; no run removes or replaces it.
FOLDER = "recordings"
#: Bytes of the pipe that may be under way to the recorder. Arbitrary, as for the command `record`: a disk may pause for some seconds.
CREDIT = 32 << 20
#: Recordings at a time, of all pages of this server; arbitrary: each one has a thread, and `CREDIT`.
MOST_RECORDINGS = 8
#: Bytes that a recording leaves free on the disk; arbitrary: the network's own results and checkpoints need some.
LEAST_FREE = 256 << 20
#: Seconds after which a thread notices that it must end, and passes on what is buffered; arbitrary.
LOOK_S = 0.2
#: Seconds between two looks at the free space; arbitrary: a fast disk takes a gigabyte in one.
FREE_S = 0.2
#: Seconds for a recording to end; arbitrary: longer than a disk pauses.
END_S = 10.0

log = logging.getLogger("fission.dashboard")


@dataclass
class RecordingState:
    """What the page shows of a recording.

    Attributes:
        file: where it is, on the machine of the page's server.
        by: who started it.
        began: seconds since the epoch.
        running: whether it continues.
        blocks: number of recorded blocks.
        bytes: size of the file.
        missed: number of blocks that passed without being recorded.
        reason: why it has ended; empty while it runs.
    """

    file: str
    by: str
    began: float
    running: bool = True
    blocks: int = 0
    bytes: int = 0
    missed: int = 0
    reason: str = ""


class PipeRecordings:
    """The recordings of one page's server. Its methods may be called from any thread."""

    def __init__(
        self,
        folder: Path,
        *,
        wall_clock: Callable[[], float] = time.time,
        free: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free,
    ) -> None:
        """Begin without a recording.

        Args:
            folder: the network's folder.
            wall_clock: returns the seconds since the epoch; names files.
            free: returns the bytes that are free where a file is.
        """
        self._folder, self._wall_clock, self._free = folder, wall_clock, free
        self._lock = threading.Lock()
        self._known: dict[int, _Recording] = {}  # the newest of each pipe
        self._closed = False

    def start(self, pipe: int, by: str) -> RecordingState:
        """Start to record a pipe. Blocks until the network's client has answered.

        Args:
            pipe: its id.
            by: who wants it, for the run's log.

        Raises:
            UserError: the network is not running, has no such pipe, or it has ended; the pipe is
                being recorded, or too many are; or the file cannot be written.
        """
        with self._lock:  # two requests for the same pipe must not both find it free
            if self._closed:
                raise UserError("the page's server is ending")
            running = {number: one for number, one in self._known.items() if one.state.running}
            if pipe in running:
                state = running[pipe].state
                raise UserError(f"pipe {pipe} is being recorded already, by {state.by} into {state.file}; stop that first")
            if len(running) >= MOST_RECORDINGS:
                raise UserError(f"{MOST_RECORDINGS} pipes are being recorded already, the most that a page records; stop one of them")
            found = _Recording(self._folder, pipe, by, self._wall_clock, self._free)
            self._known[pipe] = found
            return found.state

    def stop(self, pipe: int, by: str) -> RecordingState:
        """End the recording of a pipe; return its last state. Blocks until its file is complete.

        Args:
            pipe: its id.
            by: who wants it, for the run's log.

        Raises:
            UserError: the pipe is not being recorded, or its disk does not answer.
        """
        with self._lock:
            found = self._known.get(pipe)
            if found is None or not found.state.running:
                raise UserError(f"pipe {pipe} is not being recorded by this page's server")
        found.end(f"stopped by {by}")
        if not found.join():
            raise UserError(f"the recording of pipe {pipe} has not ended for {END_S:g} s; its disk does not answer: {found.state.file}")
        return found.state

    def states(self) -> dict[str, dict[str, Any]]:
        """Return the newest recording of each pipe, by its id: members of a `RecordingState`."""
        return {str(pipe): asdict(one.state) for pipe, one in sorted(self._known.copy().items())}

    def end(self) -> None:
        """Let all recordings end soon, and start no more. Idempotent."""
        self._closed = True
        for found in self._known.copy().values():
            found.end("the page's server has ended")

    def close(self) -> None:
        """End all recordings, each with a complete file. Blocks. Idempotent."""
        self.end()
        with self._lock:  # one that was being started meanwhile is known now
            self.end()
        for found in self._known.values():
            found.join()


class _Recording:
    """One pipe, its file, and the thread that brings one to the other."""

    def __init__(self, folder: Path, pipe: int, by: str, wall_clock: Callable[[], float], free: Callable[[Path], int]) -> None:
        self._folder, self._pipe, self._free = folder, pipe, free
        self._over = threading.Event()
        self._reason = ""
        facts, network = _described(folder, pipe)
        self._watch = WatchedPipes(folder, [pipe], credit=CREDIT, everything=True)
        try:
            path = self._begin(_made(folder / FOLDER), wall_clock(), by, network, facts)
        except OSError as why:
            self._watch.__exit__(None, None, None)
            raise UserError(f"a recording cannot be made in {folder / FOLDER}: {why.strerror}") from None
        except BaseException:
            self._watch.__exit__(None, None, None)
            raise
        self.state = RecordingState(file=str(path), by=by, began=wall_clock())
        self._thread = threading.Thread(target=self._run, name=f"record-pipe-{pipe}", daemon=True)
        self._thread.start()

    def _begin(self, folder: Path, now: float, by: str, network: str, facts: PipeFacts) -> Path:
        """Create and lock the file; return its path."""
        with recording_lock.one_at_a_time(folder):
            other = recording_lock.held(folder.glob(f"pipe-{self._pipe}-*.rec"))
            if other is not None:
                raise UserError(f"pipe {self._pipe} is being recorded already, by another server of this page into {other}; stop it there")
            path = next(path for path in _names(folder, self._pipe, now) if not path.exists())
            self._check_space(folder)
            _note(self._folder, by, f"records pipe {self._pipe} into {path}")
            self._recorder = Recorder(path, network, [facts])
            self._lock = recording_lock.hold(path)
        return path

    def end(self, reason: str) -> None:
        if not self._over.is_set():
            self._reason = reason
            self._over.set()

    def join(self) -> bool:
        """Wait for the end; return whether it has come."""
        self._thread.join(END_S)
        return not self.state.running

    # in the thread

    def _run(self) -> None:
        why = "a fault of the page's server"
        try:
            with self._watch:
                why = self._record_and_close()
        finally:
            recording_lock.release(Path(self.state.file), self._lock)
            self._count()
            self.state.reason = why
            self.state.running = False  # last: who waits for it reads the rest
        missed = f", {self.state.missed} were missed" if self.state.missed else ""
        with contextlib.suppress(FissionError):  # the network may have ended
            text = f"no longer records pipe {self._pipe} ({why}): {self.state.blocks} blocks{missed}, in {self.state.file}"
            _note(self._folder, self.state.by, text)

    def _record_and_close(self) -> str:
        """Record until the end, and complete the file; return the reason."""
        try:
            why = self._record()
        except OSError as error:
            why = f"the file cannot be written: {error.strerror}; it is intact up to the last recorded block"
        except FissionError as error:
            why = str(error)
        except Exception as error:  # the file must be completed all the same
            log.error("the recording of pipe %d has ended", self._pipe, exc_info=error)
            why = f"a fault of the page's server: {type(error).__name__}: {error}"
        if not self._recorder.path.exists():
            why = "its file was removed, or the folder of recordings"
        self._count()
        try:
            self._recorder.close({self._pipe: self.state.missed}, self._watch.cut)
        except OSError as error:
            return f"the end of the file cannot be written: {error.strerror}; it is intact up to the last recorded block"
        return why

    def _record(self) -> str:
        """Record until the end; return the reason."""
        looked_at = time.monotonic()
        for seen in self._watch.moments(None, LOOK_S):
            if self._over.is_set():
                return self._reason
            if seen is None:
                self._recorder.flush()
            else:
                self._recorder.write(seen.time, self._pipe, seen.generation, seen.sqn, seen.payloads or [], seen.heads, seen.times)
            self._count()
            now = time.monotonic()
            if now - looked_at >= FREE_S:
                looked_at = now
                self._check_space(self._recorder.path)
        killed = ", and was killed: last blocks may be missing" if self._watch.cut else ""
        return f"the pipe or the network has ended{killed}"

    def _count(self) -> None:
        self.state.blocks, self.state.bytes = self._recorder.blocks, self._recorder.size
        self.state.missed = self._watch.followers[self._pipe].missed

    def _check_space(self, path: Path) -> None:
        """Raises UserError if the disk is nearly full."""
        if self._free(path) < LEAST_FREE:
            raise UserError(f"less than {LEAST_FREE >> 20} MB are free on the disk of {path}")


def _described(folder: Path, pipe: int) -> tuple[PipeFacts, str]:
    """Return what a recording says of a pipe, and the network's name.

    Raises:
        UserError: the network is not running, or has no such pipe.
    """
    with Viewer(folder) as viewer:
        described = viewer.ask(DescribeNetwork(), NetworkDescribed)
    for shape in described.pipes:
        if shape.id == pipe:
            return PipeFacts(pipe, shape.made_by, shape.block_size, shape.block_count), described.network
    known = ", ".join(str(shape.id) for shape in described.pipes)
    raise UserError(f"there is no pipe {pipe} in {described.network}; there are: {known}")


def _note(folder: Path, by: str, action: str) -> None:
    """Show in the run's log what happens. Raises UserError if the network has ended."""
    with Viewer(folder) as viewer:
        viewer.ask(NoteAction(by=by, action=action), ActionNoted)


def _made(folder: Path) -> Path:
    """Make a folder, and return it.

    Raises:
        UserError: it cannot be made.
    """
    try:
        folder.mkdir(exist_ok=True)
    except OSError as why:
        raise UserError(f"the folder of recordings {folder} cannot be made: {why.strerror}") from None
    return folder


def _names(folder: Path, pipe: int, now: float) -> Iterator[Path]:
    stem = f"pipe-{pipe}-{time.strftime('%Y%m%d-%H%M%S', time.localtime(now))}"
    yield folder / f"{stem}.rec"
    number = 2
    while True:
        yield folder / f"{stem}-{number}.rec"
        number += 1
