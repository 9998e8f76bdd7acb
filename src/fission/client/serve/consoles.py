"""Lines for the InteractiveJobs of a running network.

They come from a terminal window, `fission NETWORK send`, or standard input.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from fission.client.serve.control_server import Connection, ControlServer, Viewer
from fission.client.serve.lines_in_flight import LinesInFlight
from fission.client.serve.windows import Windows
from fission.core.jobs import InteractiveJob
from fission.errors import UserError
from fission.ports import Observer
from fission.project.config import LoadedNetwork
from fission.protocol.messages.client_to_job import ClientToJob, EndOfInput, InputLine
from fission.protocol.messages.client_to_viewer import ConsoleAnswer
from fission.protocol.messages.viewer_to_client import CheckConsole, EndConsole, SendLine

#: Seconds after which a sender whose line found no room gets the answer to send it again. Arbitrary.
FULL_S = 0.05
#: Characters of a line in one command; arbitrary: as JSON they always fit. A longer line takes several commands.
PIECE_CHARACTERS = 100_000
#: Maximum bytes of a line: it is held in memory in several places. Arbitrary.
MAX_LINE = 16 << 20


def send_lines(folder: Path, job: int, lines: Iterable[str], *, end: bool = False) -> None:
    """Send lines to an InteractiveJob of a running network. Blocks while ``lines`` does.

    Each line is sent as soon as it is available.

    Args:
        folder: the network's folder.
        job: id of the job.
        lines: lines without their newlines.
        end: whether to end the console afterwards.

    Raises:
        UserError: the network is not running, or has no such console; or a line is too long.
    """
    with Viewer(folder) as viewer:
        viewer.ask(CheckConsole(job=job), ConsoleAnswer)
        for line in lines:
            if len(line) > MAX_LINE // 4:
                raise UserError(f"a line must have at most {MAX_LINE // 4} characters, but has {len(line)}")
            for piece, last in _pieces(line):
                while viewer.ask(SendLine(job=job, line=piece, last=last), ConsoleAnswer).full:
                    pass  # the job has not read the earlier lines yet; the client has waited before it answered
        if end:
            viewer.ask(EndConsole(job=job), ConsoleAnswer)


def _pieces(line: str) -> Iterator[tuple[str, bool]]:
    """Yield a line in pieces, each with whether it is the last one."""
    starts = range(0, len(line), PIECE_CHARACTERS) or (0,)
    for start in starts:
        yield line[start : start + PIECE_CHARACTERS], start == starts[-1]


class Consoles:
    """All ways in which lines reach the InteractiveJobs of one run."""

    def __init__(
        self,
        loaded: LoadedNetwork,
        requests: ControlServer,
        observer: Observer,
        stdin: bool,
        send: Callable[[int, ClientToJob], None],
    ) -> None:
        """Prepare; `open` begins.

        Args:
            loaded: the network.
            requests: the server that other terminals connect to.
            observer: notified where to type.
            stdin: whether standard input may be used.
            send: sends a command to a job.
        """
        self._loaded = loaded
        self._observer = observer
        self._stdin = stdin
        self._send = send
        self._jobs = {number: job for number, job in loaded.network.jobs.items() if isinstance(job, InteractiveJob)}
        self._under_way = {number: LinesInFlight() for number in self._jobs}
        self._windows = Windows(loaded.root, observer)
        requests.answer(CheckConsole, self._check)
        requests.answer(SendLine, self._take)
        requests.answer(EndConsole, self._end)

    def open(self) -> None:
        """Announce where to type if the network has consoles. Call `ControlServer.open` first."""
        if not self._jobs:
            return
        if self._open_windows():
            return
        if len(self._jobs) == 1 and self._stdin and _stdin_is_a_console():
            (number,) = self._jobs
            if os.isatty(0):
                self._observer.notice(
                    f"{self._jobs[number]._fission_name} reads this terminal: type a line and press Enter; Ctrl-D ends it"
                )
            loop = asyncio.get_running_loop()
            threading.Thread(target=self._read_stdin, args=(loop, number), name="fission-stdin", daemon=True).start()
            return
        for number, job in self._jobs.items():
            self._observer.notice(f"{job._fission_name} waits for lines: in another terminal, fission {self._loaded.name} send {number}")

    def close(self) -> None:
        """End the consoles and close their windows."""
        for under_way in self._under_way.values():
            under_way.end()
        self._windows.close()

    def hear(self, what: str, job: int, lines: int) -> None:
        """Handle an event of a job.

        Args:
            what: "ended", "new incarnation" (a new incarnation), or "typed" (the newest incarnation
                has taken lines).
            job: id of the job.
            lines: total number of lines taken.
        """
        if job not in self._under_way:
            return
        under_way = self._under_way[job]
        if what == "ended":
            under_way.end()
        elif what == "typed":
            under_way.taken(lines)
        else:
            under_way.forget()

    def _open_windows(self) -> bool:
        return all(self._windows.open(self._loaded.name, "send", str(number), "--end") for number in self._jobs)

    def _read_stdin(self, loop: asyncio.AbstractEventLoop, job: int) -> None:
        # os.read and not sys.stdin: a daemon thread that holds the lock of a buffered reader can abort the
        # interpreter's end
        under_way = self._under_way[job]
        rest = b""
        with contextlib.suppress(RuntimeError):  # the loop is closed: the network has ended
            chunk = _read_some()
            while chunk:
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    # this thread waits for the job, so that the writer of standard input waits, too
                    if not under_way.add(len(line), None):
                        return
                    loop.call_soon_threadsafe(self._tell, job, line.decode("utf-8", "replace"))
                if len(rest) > MAX_LINE:
                    text = f"a line of standard input must have at most {MAX_LINE} bytes, but has more; it was skipped"
                    loop.call_soon_threadsafe(self._observer.warning, text)
                    rest, chunk = b"", _rest_after_line()
                    if chunk:
                        continue
                chunk = _read_some()
            if rest and under_way.add(len(rest), None):
                loop.call_soon_threadsafe(self._tell, job, rest.decode("utf-8", "replace"))
            loop.call_soon_threadsafe(self._tell, job, None)

    def _tell(self, job: int, line: str | None) -> None:
        if self._under_way[job].over:
            return
        if line is None:
            self._send(job, EndOfInput())
            return
        line = line.rstrip("\r")
        for number, (piece, last) in enumerate(_pieces(line)):
            self._send(job, InputLine(line=piece, first=number == 0, last=last))

    # requests of other terminals

    async def _check(self, request: CheckConsole, connection: Connection) -> ConsoleAnswer:
        self._console(request.job)
        return ConsoleAnswer()

    async def _take(self, request: SendLine, connection: Connection) -> ConsoleAnswer:
        under_way = self._console(request.job)
        size = sum(map(len, connection.pieces)) + len(request.line)
        if size > MAX_LINE // 4:
            connection.pieces = []
            raise UserError(f"a line must have at most {MAX_LINE // 4} characters, but has more")
        if request.last and not under_way.add(size, 0):
            await asyncio.sleep(FULL_S)
            return ConsoleAnswer(full=True)
        connection.pieces.append(request.line)
        if request.last:
            line, connection.pieces = "".join(connection.pieces), []
            self._tell(request.job, line)
            self._note(request.by, f"has sent a line of {len(line)} characters to {self._jobs[request.job]._fission_name}")
        return ConsoleAnswer()

    async def _end(self, request: EndConsole, connection: Connection) -> ConsoleAnswer:
        self._console(request.job)
        self._tell(request.job, None)
        self._note(request.by, f"has ended the console {self._jobs[request.job]._fission_name}")
        return ConsoleAnswer()

    def _note(self, by: str, action: str) -> None:
        if by:
            self._observer.notice(f"{by} {action}")

    def _console(self, job: int) -> LinesInFlight:
        """Return the lines in flight to a job that takes lines.

        Raises:
            UserError: the job takes no lines.
        """
        if job not in self._jobs:
            names = ", ".join(f"{number} ({known._fission_name})" for number, known in self._jobs.items())
            rest = f"there are: {names}" if names else "it has none"
            raise UserError(f"job {job} is not an InteractiveJob of {self._loaded.name}; {rest}")
        if self._under_way[job].over:
            raise UserError(f"{self._jobs[job]._fission_name} has ended")
        return self._under_way[job]


def _read_some() -> bytes:
    try:
        return os.read(0, 1 << 16)
    except OSError:
        return b""


def _rest_after_line() -> bytes:
    """Skip to the end of this line; return what was read after it."""
    while chunk := _read_some():
        _, end, rest = chunk.partition(b"\n")
        if end:
            return rest
    return b""


def _stdin_is_a_console() -> bool:
    """Return whether standard input is a terminal, a pipe, a file or a socket.

    /dev/null and a closed descriptor are no source of lines.
    """
    try:
        mode = os.fstat(0).st_mode
    except OSError:
        return False
    return os.isatty(0) or stat.S_ISFIFO(mode) or stat.S_ISREG(mode) or stat.S_ISSOCK(mode)
