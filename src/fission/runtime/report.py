"""What a job's process says at its end: an outcome, an error for the user, and counts; one JSON object on a descriptor."""

from __future__ import annotations

import json
import linecache
import os
import traceback
from pathlib import Path
from typing import Any

import msgspec

from fission.errors import FissionError
from fission.protocol.messages.job_to_client import JobCounts

FINISHED = "finished"  # it ended as it should, downstream knows
ENDED = "ended"  # `run` returned None: it ended without telling downstream
STOPPED = "stopped"  # it was told to stop
FAILED = "failed"  # its code raised, or its executable failed

#: Most bytes of an error text as JSON; a pipe holds 64 KiB before a write blocks, and nobody reads while the process lives.
MAX_ERROR = 40_000
_OWN = str(Path(__file__).resolve().parent.parent) + os.sep
_PYTHON = os.path.dirname(os.path.abspath(os.__file__)) + os.sep


def failure_text(error: BaseException) -> str:
    """Return what the user is told about the error that ended a job.

    An error of ours is its text, with the user's frames behind it where their code is what failed; any other is a traceback with the
    user's frames.
    """
    error = _as_raised(error)
    if isinstance(error, FissionError) and not _has_user_frames(error):
        cause = error.__cause__
        return f"{error}\n{user_traceback(cause)}" if cause is not None and _has_user_frames(cause) else str(error)
    if isinstance(error, SystemExit):
        return f"{user_traceback(error)}\nA job ends by finish(), not by exit(): what it owes to the jobs behind it would be lost."
    return user_traceback(error)


def _as_raised(error: BaseException) -> BaseException:
    """The user's StopIteration, where it left one of our generators and Python made a RuntimeError of it there."""
    cause = error.__cause__
    if type(error) is not RuntimeError or not isinstance(cause, (StopIteration, StopAsyncIteration)):
        return error
    last = traceback.extract_tb(error.__traceback__)[-1:]
    return cause if not any(_is_users(frame) for frame in last) else error


def user_traceback(error: BaseException) -> str:
    """Return the error as a Python traceback cut to the user's frames and what they called.

    Frames of FISSION are left out, and those of Python's own modules which it called. Without any frame it is the error alone.
    """
    told = traceback.TracebackException.from_exception(error)
    _cut(told, set())
    text = "".join(told.format() if told.stack or _joined(told) else told.format_exception_only()).rstrip("\n")
    linecache.clearcache()
    return text


def _joined(told: traceback.TracebackException) -> bool:
    """Whether other exceptions belong to it, so that all are shown with their headings."""
    return bool(told.__cause__ or (told.__context__ and not told.__suppress_context__) or getattr(told, "exceptions", None))


def _has_user_frames(error: BaseException) -> bool:
    return any(_is_users(frame) for frame in traceback.extract_tb(error.__traceback__))


def _cut(told: traceback.TracebackException, seen: set[int]) -> None:
    if id(told) in seen:
        return
    seen.add(id(told))
    shown, theirs = [], False
    for frame in told.stack:
        theirs = _is_users(frame) or (theirs and not _is_own(frame))
        if theirs and not _importing(frame):
            shown.append(frame)
    told.stack = traceback.StackSummary.from_list(shown)
    # 3.11: the members of an exception group
    for other in (told.__cause__, told.__context__, *(getattr(told, "exceptions", None) or ())):
        if other is not None:
            _cut(other, seen)


def _is_own(frame: traceback.FrameSummary) -> bool:
    return os.path.abspath(frame.filename).startswith(_OWN)


def _is_users(frame: traceback.FrameSummary) -> bool:
    """Whether the user wrote it or installed it: it is neither of FISSION nor of Python itself."""
    if frame.filename.startswith("<frozen ") or _is_own(frame):
        return False
    file = os.path.abspath(frame.filename)
    return not file.startswith(_PYTHON) or f"{os.sep}site-packages{os.sep}" in file or f"{os.sep}dist-packages{os.sep}" in file


def _importing(frame: traceback.FrameSummary) -> bool:
    return frame.filename.startswith("<frozen importlib") or frame.filename.endswith(os.path.join("importlib", "__init__.py"))


def write_report(
    descriptor: int, outcome: str, error: str = "", counts: JobCounts | None = None, block: int = 0, hopeless: bool = False
) -> None:
    """Write the report and close the descriptor. Never raises: at the end of a process nobody could take it.

    Args:
        descriptor: of the pipe to the client.
        outcome: one of the above.
        error: what the user is told of a failure.
        counts: what happened on the job's pipes.
        block: the compute block at which it failed; 0 if it had not begun.
        hopeless: whether a new life would fail too.
    """
    known = {} if counts is None else msgspec.to_builtins(counts, str_keys=True)
    told = {"outcome": outcome, "error": _shortened(error), "counts": known, "block": block, "hopeless": hopeless}
    try:
        os.write(descriptor, json.dumps(told).encode())
        os.close(descriptor)
    except OSError:
        pass  # the client is gone


def _shortened(text: str) -> str:
    """Beginning and end of a text that is too long; as JSON a character may have twelve bytes."""
    half = len(text) // 2
    shorter = text
    while (size := len(json.dumps(shorter))) > MAX_ERROR:
        half = min(half - 1, half * MAX_ERROR // size)
        shorter = f"{text[:half]}\n... {len(text) - 2 * half} characters left out ...\n{text[len(text) - half :]}"
    return shorter


def read_report(text: bytes) -> dict[str, Any]:
    """Return what `write_report` wrote; an empty dict if the process died before it could, or in the middle."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
