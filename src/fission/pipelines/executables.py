"""Workers that are programs: JSON data on standard input, a JSON result on standard output.

A program that exits with a code other than 0, writes no JSON, writes too much, exceeds its timeout
or is killed fails its job with one error. When it ends, everything that it started is killed, even
processes in sessions of their own (Linux): the worker process adopts orphans.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import shlex
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import IO, Any

from fission.pipelines.errors import DaemonError
from fission.pipelines.model import Worker
from fission.posix.descendants import adopt_orphans, children_of
from fission.posix.exit_status import how_ended
from fission.project.names import did_you_mean
from fission.protocol.pipeline_limits import NAME_LENGTH, is_name

#: Maximum size of a result in bytes, unless the worker sets another one. Arbitrary.
MAX_OUTPUT = 16 * 1024 * 1024
#: Bytes of standard error that are kept for the error message; the last ones.
STDERR_KEPT = 4000
#: Seconds between checks whether the program has ended while another process holds its output.
_LOOK_S = 0.05
#: Maximum rounds of killing; arbitrary. Each finds what was started during the one before.
_ROUNDS = 50
_SETTINGS = {"command", "requires", "timeout", "max_output"}


class ExecutableFailed(Exception):
    """A program failed to process its job; the text says why."""


class ExecutableWorker(Worker):
    """A worker that runs a program for each job.

    Attributes:
        command: program and arguments; a str is split as by a shell, without substitutions.
        timeout: seconds after which the program is killed; None: never. The timeout of a `Job`
            applies as well.
        max_output: maximum size of its standard output in bytes.
    """

    command: str | Sequence[str] = ()
    timeout: float | None = None
    max_output: int = MAX_OUTPUT

    def process(self, data: Any) -> Any:
        """Run the program.

        Args:
            data: return value of the store's `retrieve`; of JSON's types.

        Returns:
            The JSON value on its standard output.

        Raises:
            ExecutableFailed: the program failed.
        """
        words = shlex.split(self.command) if isinstance(self.command, str) else list(self.command)
        try:
            given = json.dumps(data, allow_nan=False).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise ExecutableFailed(f"the data for {words[0]} must be of JSON's types: {error}") from None
        return _result_of(words[0], run_program(words, given, self.timeout, self.max_output))


def _result_of(program: str, output: bytes) -> Any:
    try:
        return json.loads(output, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        shown = repr(output[:100])[1:] + ("..." if len(output) > 100 else "")
        raise ExecutableFailed(f"{program} must write one JSON value to standard output, but wrote {shown}: {error}") from None


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def run_program(words: Sequence[str], given: bytes, timeout: float | None, max_output: int) -> bytes:
    """Run a program to its end and return its standard output.

    Args:
        words: the program and its arguments.
        given: bytes for its standard input.
        timeout: limit in seconds; None: no limit.
        max_output: maximum size of its standard output in bytes.

    Raises:
        ExecutableFailed: the program cannot be started, fails, exceeds a limit or is killed.
    """
    program = words[0]
    adopt_orphans()
    before = set(children_of(os.getpid()))
    with tempfile.TemporaryFile() as stdin:
        stdin.write(given)
        stdin.seek(0)
        try:
            process = subprocess.Popen(words, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise ExecutableFailed(f"{program} cannot be started: {reason}") from None
        try:
            output, errors = _collect(process, program, timeout, max_output)
        finally:
            _kill_all(process, before)
    if process.returncode:
        raise ExecutableFailed(f"{program} {how_ended(process.returncode)}{_tail(errors)}")
    return output


def _collect(process: subprocess.Popen[bytes], program: str, timeout: float | None, max_output: int) -> tuple[bytes, bytes]:
    """Return both outputs up to the program's end; later output of other processes is omitted."""
    deadline = None if timeout is None else time.monotonic() + timeout
    output, errors = bytearray(), bytearray()
    streams: list[tuple[IO[bytes] | None, bytearray]] = [(process.stdout, output), (process.stderr, errors)]
    with selectors.DefaultSelector() as selector:
        for stream, buffer in streams:
            if stream is not None:
                os.set_blocking(stream.fileno(), False)
                selector.register(stream, selectors.EVENT_READ, buffer)
        ended = False
        while True:
            ready = selector.select(0 if ended else _LOOK_S) if selector.get_map() else []
            for key, _ in ready:
                piece = os.read(key.fd, 65536)
                key.data.extend(piece)
                if not piece:
                    selector.unregister(key.fileobj)
            del errors[:-STDERR_KEPT]
            if len(output) > max_output:
                raise ExecutableFailed(f"{program} must write at most {max_output} bytes to standard output, but wrote more; it was killed")
            if ended and not ready:
                return bytes(output), bytes(errors)
            if not ended:
                if deadline is not None and time.monotonic() >= deadline:
                    raise ExecutableFailed(f"timeout: {program} ran for longer than {timeout:g} s; it was killed{_tail(errors)}")
                ended = _has_ended(process, 0.0 if selector.get_map() else _LOOK_S)


def _has_ended(process: subprocess.Popen[bytes], wait: float) -> bool:
    try:
        process.wait(wait)
    except subprocess.TimeoutExpired:
        return False
    return True


def _kill_all(process: subprocess.Popen[bytes], before: set[int]) -> None:
    """Kill the program and all that it started.

    A process that has left the session becomes this process's child once its parents are dead.
    """
    me = os.getpid()
    with contextlib.suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()
    for _ in range(_ROUNDS):
        left = [child for child in children_of(me) if child not in before]
        if not left:
            return
        for child in left:
            with contextlib.suppress(OSError):
                os.kill(child, signal.SIGKILL)
        for child in left:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(child, 0)


def _tail(errors: bytes | bytearray) -> str:
    """Return the last line of standard error, as one line, followed by the rest."""
    lines = [line for line in bytes(errors).decode("utf-8", "replace").splitlines() if line.strip()]
    if not lines:
        return ""
    return f": {lines[-1].strip()[:500]}" + ("\nIts standard error:\n" + "\n".join(lines) if len(lines) > 1 else "")


def executable_worker(name: str, given: str | Sequence[str] | Mapping[str, Any]) -> type[ExecutableWorker]:
    """Create the class of a worker that is a program.

    Args:
        name: name of the worker.
        given: its command, or a dict with ``command`` and, optionally, ``requires``, ``timeout``
            (seconds) and ``max_output`` (bytes).

    Raises:
        DaemonError: a setting is invalid; the text has all faults, one a line.
    """
    settings: Mapping[str, Any] = given if isinstance(given, Mapping) else {"command": given}
    what = f"executable {name!r}"
    faults = []
    for setting in settings:
        if setting not in _SETTINGS:
            faults.append(f"{what} has no {setting!r}{did_you_mean(str(setting), _SETTINGS) or '; it has ' + ', '.join(sorted(_SETTINGS))}")
    command, requires = settings.get("command"), settings.get("requires", ())
    timeout, max_output = settings.get("timeout"), settings.get("max_output", MAX_OUTPUT)
    if not is_name(name) or len(name) > NAME_LENGTH:
        faults.append(f"an executable's name must be a worker's name without spaces, of at most {NAME_LENGTH} characters, but is {name!r}")
    try:
        words = shlex.split(command) if isinstance(command, str) else list(command or ())
    except (TypeError, ValueError):
        words = []
    if not words or not all(isinstance(word, str) and word for word in words):
        faults.append(f"the command of {what} must be a program with its arguments, but is {command!r}: './count --fast'")
    if isinstance(requires, str) or not isinstance(requires, Sequence) or not all(isinstance(name, str) for name in requires):
        faults.append(f"requires of {what} must be a list of names, but is {requires!r}")
    if timeout is not None and (not isinstance(timeout, (int, float)) or isinstance(timeout, bool) or not timeout > 0):
        faults.append(f"timeout of {what} must be a number of seconds above 0, but is {timeout!r}")
    if not isinstance(max_output, int) or isinstance(max_output, bool) or max_output < 1:
        faults.append(f"max_output of {what} must be a number of bytes of at least 1, but is {max_output!r}")
    if faults:
        raise DaemonError("\n".join(faults))
    body = {"command": words, "requires": tuple(requires), "timeout": timeout, "max_output": max_output}
    return type(name, (ExecutableWorker,), body)
