"""Waiting and the command line in tests: wait for events, never for time to pass.

**Waiting.** ``eventually(predicate, deadline_s, what)`` for anything without an event to wait for::

    eventually(lambda: (folder / "fission.log").exists(), 5, "the log file")

**The command line.** The fixture ``fission`` (tests/conftest.py) is a `CommandLine`: it creates
small projects, runs ``python -m fission`` in them, and ends what still runs after the test::

    def test_counts(fission):
        fission.project({"net/config.py": CONFIG})          # adds manage.py and __init__.py files
        done = fission.run("net", "simulate", exit_code=0)  # waits for the end, checks the code
        assert "CountJob 1: 3" in done.stdout

    def test_ctrl_c(fission):
        fission.project({"net/config.py": CONFIG})
        client = fission.start("net", "simulate")           # returns at once
        client.wait_for("CountJob 1: 3")                    # a line with this text, or a pattern
        client.interrupt()                                  # Ctrl-C: SIGINT to the client's group
        assert client.wait(exit_code=130).stderr == ""

    def test_console(fission):
        client = fission.start("net", "simulate", terminal=True)  # all on a pseudo-terminal
        client.send_line("gain 2")                              # Ctrl-D is client.end_input()

Commands run in the newest project, or in ``cwd=``. `run` ends their standard input after
``stdin=``, `start` leaves it open until ``end_input()``. Every wait has a deadline, and its error
shows all output so far. `run_fission` and `start_fission` are the same without the fixture, for
set-ups of a whole module; there, use ``with start_fission(...) as client:``.
"""

from __future__ import annotations

import codecs
import contextlib
import fcntl
import io
import os
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import psutil

import fission
from tests.deadlines import Deadline

T = TypeVar("T")

DEADLINE_S = 30.0  # default for anything the command line does; arbitrary, but well below the 60 s of a test
TICK_S = 0.01
END_S = 5.0  # time for a process to end after SIGTERM when its test is over; clients promise 2 s

# A new session's leader takes the terminal as its own, so that Ctrl-C reaches the foreground group.
_TAKE_TERMINAL = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"

MANAGE = "import sys\n\nfrom fission.cli.main import manage\n\nsys.exit(manage(__file__))\n"


def eventually(predicate: Callable[[], T], deadline_s: float, what: str | Callable[[], str]) -> T:
    """Call *predicate* until its result is true, and return the result.

    Raises:
        AssertionError: the result was not true within *deadline_s* seconds (`Deadline`); the text
            names *what* was awaited. If *what* is a function, it is called only then.
    """
    deadline = Deadline(deadline_s)
    tick = threading.Event()
    while not (answer := predicate()):
        if deadline.over:
            raise AssertionError(f"not within {deadline_s:g} s: {what() if callable(what) else what}")
        tick.wait(TICK_S)
    return answer


def is_running(pid: int) -> bool:
    """Return whether the process is running. A zombie, dead but not collected, does not count."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@dataclass(frozen=True)
class Finished:
    """A command that has ended.

    Attributes:
        exit_code: negative if a signal ended the command, as in `subprocess`.
        stdout, stderr: all text, with newlines as ``\\n``; with a terminal all is in ``stdout``.
    """

    args: tuple[str, ...]
    exit_code: int
    stdout: str
    stderr: str

    def __str__(self) -> str:
        return f"$ fission {' '.join(self.args)}\nexit code {self.exit_code}\n--- stdout\n{self.stdout}--- stderr\n{self.stderr}"

    def expect(self, exit_code: int | None) -> Finished:
        """Check the exit code (None: any) and return self."""
        if exit_code is not None and self.exit_code != exit_code:
            raise AssertionError(f"exit code {self.exit_code} instead of {exit_code}\n{self}")
        return self


class Running:
    """A running ``fission`` command, in a process group of its own. Made by `start_fission`.

    A context manager, which calls `close` at its end.
    """

    def __init__(self, args: tuple[str, ...], process: subprocess.Popen[bytes], master: int | None) -> None:
        self.args = args
        self.process = process
        self._master = master
        self._news = threading.Condition()
        self._text = {"stdout": "", "stderr": ""}
        self._open = 0
        self._readers: list[threading.Thread] = []
        if master is not None:
            self._read("stdout", master)
        else:
            assert process.stdout is not None
            assert process.stderr is not None
            self._read("stdout", process.stdout.fileno())
            self._read("stderr", process.stderr.fileno())

    # -- output ---------------------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def stdout(self) -> str:
        """Its output so far."""
        with self._news:
            return self._text["stdout"]

    @property
    def stderr(self) -> str:
        with self._news:
            return self._text["stderr"]

    def wait_for(
        self,
        what: str | re.Pattern[str],
        deadline_s: float = DEADLINE_S,
        *,
        stream: str = "stdout",
        count: int = 1,
        partial: bool = False,
    ) -> str:
        """Wait until *count* lines of the stream contain the text or match the pattern anywhere.

        Only whole lines count; with *partial* an unfinished one, such as a prompt, counts as well.

        Returns:
            The last of these lines.

        Raises:
            AssertionError: too late, or the stream ended before; the text shows all output.
        """
        pattern = re.compile(re.escape(what)) if isinstance(what, str) else what
        deadline = Deadline(deadline_s)
        with self._news:
            while True:
                lines = self._text[stream].splitlines(keepends=True)
                whole = [line.rstrip("\n") for line in lines if line.endswith("\n") or partial]
                found = [line for line in whole if pattern.search(line)]
                if len(found) >= count:
                    return found[count - 1]
                left = deadline.left_s
                if left <= 0 or not self._open:
                    why = f"not within {deadline_s:g} s" if self._open else "the command ended without it"
                    raise AssertionError(f"{why}: {count} x {what!r} on {stream}\n{self._report()}")
                self._news.wait(left)

    # -- input ----------------------------------------------------------------------------------------

    def send(self, text: str) -> None:
        """Write to its standard input, or type into its terminal."""
        if self._master is not None:
            os.write(self._master, text.encode())
            return
        assert self.process.stdin is not None
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def send_line(self, line: str) -> None:
        self.send(line + "\n")

    def end_input(self) -> None:
        """End its standard input; in a terminal, Ctrl-D at the beginning of a line."""
        if self._master is not None:
            self.send("\x04")
            return
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()

    def interrupt(self) -> None:
        """Press Ctrl-C: type it into the terminal, or send SIGINT to the group as one would."""
        if self._master is not None:
            self.send("\x03")
        else:
            os.killpg(self.pid, signal.SIGINT)

    def signal(self, number: int) -> None:
        """Send a signal to the client alone."""
        self.process.send_signal(number)

    # -- end ------------------------------------------------------------------------------------------

    def wait(self, deadline_s: float = DEADLINE_S, *, exit_code: int | None = None) -> Finished:
        """Wait for its end and for the end of its output; check the exit code unless it is None.

        Raises:
            AssertionError: too late, or another exit code; the text shows all output.
        """
        deadline = Deadline(deadline_s)
        while self.process.poll() is None:
            if deadline.over:
                raise AssertionError(f"not ended within {deadline_s:g} s\n{self._report()}")
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(max(0.0, deadline.left_s))
        for reader in self._readers:
            # a process that outlives the client and holds its output open is a leak, and must not hang the test
            reader.join(max(0.5, deadline.left_s))
            if reader.is_alive():
                raise AssertionError(f"it ended, but another process still holds its output open\n{self._report()}")
        return Finished(self.args, self.process.returncode, self.stdout, self.stderr).expect(exit_code)

    def close(self) -> None:
        """End it: SIGTERM if it still runs; after `END_S`, SIGKILL for all that it started.

        Idempotent.
        """
        if self.process.poll() is None:
            family = [self.process, *psutil.Process(self.pid).children(recursive=True)]
            self.process.terminate()
            try:
                self.process.wait(END_S)
            except subprocess.TimeoutExpired:
                for member in family:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        member.kill()
                self.process.wait()
        self._kill_group()
        for reader in self._readers:
            reader.join(END_S)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
        if self._master is not None:
            os.close(self._master)
            self._master = None

    def __enter__(self) -> Running:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: PermissionError for a group of zombies
            os.killpg(self.pid, signal.SIGKILL)

    def _read(self, stream: str, descriptor: int) -> None:
        def run() -> None:
            decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8")("replace"), translate=True)
            # OSError: a pseudo-terminal whose other side was closed ends with EIO on Linux, not an empty read
            with contextlib.suppress(OSError):
                while data := os.read(descriptor, 65536):
                    with self._news:
                        self._text[stream] += decoder.decode(data)
                        self._news.notify_all()
            with self._news:
                self._open -= 1
                self._news.notify_all()

        self._open += 1
        reader = threading.Thread(target=run, name=f"read {stream}", daemon=True)
        self._readers.append(reader)
        reader.start()

    def _report(self) -> str:
        code = self.process.poll()
        state = "still runs" if code is None else f"exit code {code}"
        return f"$ fission {' '.join(self.args)}\n{state}\n--- stdout\n{self.stdout}\n--- stderr\n{self.stderr}"


def start_fission(args: tuple[str, ...], cwd: Path, *, terminal: bool = False, env: Mapping[str, str | None] | None = None) -> Running:
    """Start ``python -m fission ARGS`` in *cwd* and return at once.

    Args:
        args: arguments of the command.
        cwd: working folder.
        terminal: whether its three streams are one pseudo-terminal of 120 columns, which is also
            its controlling terminal.
        env: changes to this process's environment; None removes a variable.
    """
    command = [sys.executable, "-m", "fission", *args]
    environment = environment_with(env)
    if not terminal:
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, cwd=cwd, env=environment, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True)
        return Running(args, process, None)
    master, slave = os.openpty()
    try:
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))  # rows, columns, pixels
        command = [sys.executable, "-c", _TAKE_TERMINAL, *command]
        process = subprocess.Popen(command, cwd=cwd, env=environment, stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
    except BaseException:
        os.close(master)
        raise
    finally:
        os.close(slave)
    return Running(args, process, master)


def run_fission(
    args: tuple[str, ...],
    cwd: Path,
    *,
    stdin: str = "",
    exit_code: int | None = None,
    deadline_s: float = DEADLINE_S,
    env: Mapping[str, str | None] | None = None,
) -> Finished:
    """Run ``python -m fission ARGS`` in *cwd* to its end, with *stdin* as its whole input.

    Raises:
        AssertionError: it took longer than *deadline_s*, or ended with an exit code other than
            *exit_code* (None: any).
    """
    with start_fission(args, cwd, env=env) as command:
        with contextlib.suppress(BrokenPipeError):
            command.send(stdin)
        command.end_input()
        return command.wait(deadline_s, exit_code=exit_code)


class CommandLine:
    """The value of the fixture ``fission``; see the head of this file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.commands: list[Running] = []
        self.root = folder  # working folder of commands

    def project(self, files: Mapping[str, str] | None = None, name: str = "project") -> Path:
        """Create a project of these files (path in it: text), enter it and return its folder.

        Adds manage.py, and an empty ``__init__.py`` to each folder that has Python files.
        """
        root = self._folder / name
        root.mkdir(parents=True)
        for path, text in {"manage.py": MANAGE, **(files or {})}.items():
            target = root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
        for folder in {target.parent for target in root.rglob("*.py")}:
            while folder != root:
                (folder / "__init__.py").touch()
                folder = folder.parent
        self.root = root
        return root

    def run(
        self,
        *args: str,
        cwd: Path | None = None,
        stdin: str = "",
        exit_code: int | None = None,
        deadline_s: float = DEADLINE_S,
        env: Mapping[str, str | None] | None = None,
    ) -> Finished:
        """Do what `run_fission` does, in the current project."""
        return run_fission(args, cwd or self.root, stdin=stdin, exit_code=exit_code, deadline_s=deadline_s, env=env)

    def start(self, *args: str, cwd: Path | None = None, terminal: bool = False, env: Mapping[str, str | None] | None = None) -> Running:
        """Do what `start_fission` does, in the current project; the command ends with the test."""
        command = start_fission(args, cwd or self.root, terminal=terminal, env=env)
        self.commands.append(command)
        return command

    def close(self) -> None:
        for command in self.commands:
            command.close()


def environment_with(changes: Mapping[str, str | None] | None) -> dict[str, str]:
    """Return this process's environment, with the same `fission` and a fixed width for tables."""
    source = str(Path(fission.__path__[0]).parent)
    path = os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH")]))
    merged: dict[str, str | None] = {**os.environ, "PYTHONPATH": path, "COLUMNS": "120", "PYTHONFAULTHANDLER": "1", **(changes or {})}
    return {name: value for name, value in merged.items() if value is not None}
