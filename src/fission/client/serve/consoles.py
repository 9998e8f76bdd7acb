"""Lines for the InteractiveJobs of a running network: from a terminal window, `fission NETWORK send`, or standard input."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import stat
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from fission.client.run.endings import not_running
from fission.client.run.windows import Windows
from fission.client.serve.control_server import looked_at
from fission.client.serve.lines_in_flight import LinesInFlight
from fission.core.jobs import InteractiveJob
from fission.errors import UserError
from fission.ports import Observer
from fission.project.config import LoadedNetwork
from fission.protocol.messages.client_to_job import ClientToJob, EndOfInput, InputLine

#: Names the running network in its run folder, so that other terminals find it.
RUNNING_FILE = "running.json"
#: Seconds that `send_lines` waits for an answer; arbitrary, the client answers at once unless it is stopped.
ANSWER_S = 10.0
#: Seconds after which a sender whose line found no room is told so, to send it again. Arbitrary.
FULL_S = 0.05
#: Characters of a line that one command carries; arbitrary, as JSON they fit whatever they are. A longer line takes several.
PIECE_CHARACTERS = 100_000
#: Bytes of a line, at most: it is held in memory in several places. Arbitrary.
MAX_LINE = 16 << 20


def send_lines(folder: Path, job: int, lines: Iterable[str], *, end: bool = False) -> None:
    """Send lines to an InteractiveJob of a running network, each as it comes. Blocks while ``lines`` does.

    Args:
        folder: the network's folder.
        job: the job's id.
        lines: without their newlines.
        end: whether the console ends behind them.

    Raises:
        UserError: the network does not run, or has no such console.
    """
    running = [path for run in looked_at(folder) if (path := run / RUNNING_FILE).exists()]
    if not running:
        raise not_running(folder)
    try:
        newest = max(running, key=lambda path: path.stat().st_mtime)  # a client that was killed has left its own
        address = json.loads(newest.read_text())["send"]
        with socket.socket(socket.AF_UNIX) as channel:
            channel.settimeout(ANSWER_S)
            channel.connect(address)
            answers = channel.makefile("r", encoding="utf-8")
            for order in _orders(job, lines, end):
                if len(order.get("line", "")) > MAX_LINE // 4:
                    raise UserError(f"a line must have at most {MAX_LINE // 4} characters, but has {len(order['line'])}")
                answer = {"full": True}
                while answer.get("full"):  # the job has not taken what it was sent before
                    channel.sendall(json.dumps(order).encode() + b"\n")
                    answer = json.loads(answers.readline() or '{"error": "the network has ended"}')
                if "error" in answer:
                    raise UserError(str(answer["error"]))
    except (OSError, ValueError, KeyError):
        raise not_running(folder) from None


def _orders(job: int, lines: Iterable[str], end: bool) -> Iterable[dict[str, Any]]:
    yield {"job": job}
    for line in lines:
        yield {"job": job, "line": line}
    if end:
        yield {"job": job, "end": True}


class Consoles:
    """All ways by which lines reach the InteractiveJobs of one run."""

    def __init__(
        self,
        loaded: LoadedNetwork,
        run_folder: str,
        folder: Path,
        observer: Observer,
        stdin: bool,
        send: Callable[[int, ClientToJob], None],
    ) -> None:
        """Prepare; `open` begins.

        Args:
            loaded: the network.
            run_folder: temporary folder for the socket.
            folder: where other terminals look for the running network.
            observer: told where to type.
            stdin: whether standard input may be used.
            send: sends a command to a job.
        """
        self._loaded = loaded
        self._address = os.path.join(run_folder, "send")
        self._file = folder / RUNNING_FILE
        self._observer = observer
        self._stdin = stdin
        self._send = send
        self._jobs = {number: job for number, job in loaded.network.jobs.items() if isinstance(job, InteractiveJob)}
        self._under_way = {number: LinesInFlight() for number in self._jobs}
        self._server: asyncio.AbstractServer | None = None
        self._windows = Windows(loaded.root, observer)

    async def open(self) -> None:
        """Listen, and say where to type if the network has consoles."""
        self._server = await asyncio.start_unix_server(self._serve, self._address, limit=4 * MAX_LINE)
        self._file.write_text(json.dumps({"pid": os.getpid(), "send": self._address}) + "\n")
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

    async def close(self) -> None:
        """Stop listening and close the windows."""
        for under_way in self._under_way.values():
            under_way.end()
        self._windows.close()
        if self._server is not None:
            self._server.close()
            with contextlib.suppress(OSError):
                self._file.unlink()

    def hear(self, what: str, job: int, lines: int) -> None:
        """A job has "ended", has a "new life", or its newest life has ("typed") taken so many ``lines`` in all."""
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
        # os.read and not sys.stdin: a daemon thread that holds the lock of a buffered reader can abort the interpreter's end
        under_way = self._under_way[job]
        rest = b""
        with contextlib.suppress(RuntimeError):  # the loop is closed: the network has ended
            chunk = _read_some()
            while chunk:
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    # this thread waits for the job, so that whoever writes into standard input does, too
                    if not under_way.add(len(line), None):
                        return
                    loop.call_soon_threadsafe(self._tell, job, line.decode("utf-8", "replace"))
                if len(rest) > MAX_LINE:
                    text = f"a line of standard input must have at most {MAX_LINE} bytes, but has more: it is left out"
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
        starts = range(0, len(line), PIECE_CHARACTERS) or (0,)
        for start in starts:
            piece = line[start : start + PIECE_CHARACTERS]
            self._send(job, InputLine(line=piece, first=start == 0, last=start == starts[-1]))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, ValueError, asyncio.LimitOverrunError):
            while line := await reader.readline():
                answer = self._obey(line)
                if answer.get("full"):
                    await asyncio.sleep(FULL_S)
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
        writer.close()

    def _obey(self, line: bytes) -> dict[str, Any]:
        try:
            order = json.loads(line)
            job = order["job"]
        except (ValueError, KeyError, TypeError):
            return {"error": "an order is a JSON object with a job"}
        if job not in self._jobs:
            names = ", ".join(f"{number} ({known._fission_name})" for number, known in self._jobs.items())
            rest = f"there are: {names}" if names else "it has none"
            return {"error": f"job {job} is no InteractiveJob of {self._loaded.name}; {rest}"}
        if self._under_way[job].over:
            return {"error": f"{self._jobs[job]._fission_name} has ended"}
        if "line" in order:
            if not self._under_way[job].add(len(str(order["line"])), 0):
                return {"full": True}
            self._tell(job, str(order["line"]))
        if order.get("end"):
            self._tell(job, None)
        return {"ok": True}


def _read_some() -> bytes:
    try:
        return os.read(0, 1 << 16)
    except OSError:
        return b""


def _rest_after_line() -> bytes:
    """Read up to the end of this line; what was read after it."""
    while chunk := _read_some():
        _, end, rest = chunk.partition(b"\n")
        if end:
            return rest
    return b""


def _stdin_is_a_console() -> bool:
    """Whether somebody can type there or pipes something in; /dev/null and a closed descriptor are nobody."""
    try:
        mode = os.fstat(0).st_mode
    except OSError:
        return False
    return os.isatty(0) or stat.S_ISFIFO(mode) or stat.S_ISREG(mode) or stat.S_ISSOCK(mode)
