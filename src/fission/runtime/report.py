"""The final report of a job's process: an outcome, an error for the user, and counts.

It is one message, `ProcessReport`, written to a descriptor.
"""

from __future__ import annotations

import json
import linecache
import os
import traceback
from pathlib import Path
from typing import cast

from fission.errors import FissionError, UserError
from fission.protocol.messages.job_to_client import JobCounts
from fission.protocol.messages.process_to_engine import PROCESS_TO_ENGINE, ProcessOutcome, ProcessReport

FINISHED = "finished"  # normal end, and downstream jobs are notified
ENDED = "ended"  # `run` returned None: ended without notifying downstream jobs
STOPPED = "stopped"  # ended by a stop
FAILED = "failed"  # the job's code raised, or its executable failed

#: Largest error text in bytes of JSON: a pipe holds 64 KiB before a write blocks, and the client does not read it while the
#: process runs.
MAX_ERROR = 40_000
_OWN = str(Path(__file__).resolve().parent.parent) + os.sep
_PYTHON = os.path.dirname(os.path.abspath(os.__file__)) + os.sep


def failure_text(error: BaseException) -> str:
    """Return the text shown to the user for the error that ended a job.

    For an error of FISSION, it is the text of the error, followed by the user's frames if user code
    failed. A `UserError` says by itself what is wrong; if FISSION raised it, the user's line that
    called FISSION follows. For any other error, it is a traceback with the user's frames.
    """
    error = _as_raised(error)
    if isinstance(error, UserError) and error.__cause__ is None and _has_user_frames(error):
        return f"{error}{_called_from(error)}"
    if isinstance(error, FissionError) and not _has_user_frames(error):
        cause = error.__cause__
        return f"{error}\n{user_traceback(cause)}" if cause is not None and _has_user_frames(cause) else str(error)
    if isinstance(error, SystemExit):
        return f"{user_traceback(error)}\nA job ends by finish(), not by exit(): what it owes to the jobs after it would be lost."
    return user_traceback(error)


def _called_from(error: BaseException) -> str:
    """Return the user's line that called FISSION, in parentheses; empty if the user's own code raised the error."""
    frames = traceback.extract_tb(error.__traceback__)
    if _is_users(frames[-1]):
        return ""
    last = [frame for frame in frames if _is_users(frame)][-1]
    place = Path(last.filename)
    return f" (called from {place.parent.name}/{place.name}:{last.lineno})"


def _as_raised(error: BaseException) -> BaseException:
    """Return the user's StopIteration if Python turned it into a RuntimeError, else the error.

    Python does so when a StopIteration leaves one of FISSION's generators.
    """
    cause = error.__cause__
    if type(error) is not RuntimeError or not isinstance(cause, (StopIteration, StopAsyncIteration)):
        return error
    last = traceback.extract_tb(error.__traceback__)[-1:]
    return cause if not any(_is_users(frame) for frame in last) else error


def user_traceback(error: BaseException) -> str:
    """Return the error as a Python traceback, reduced to the user's frames and their callees.

    Frames of FISSION, and of Python's own modules that it called, are omitted. If no frame is left,
    the text is the error alone.
    """
    shown_error = traceback.TracebackException.from_exception(error)
    _cut(shown_error, set())
    text = "".join(shown_error.format() if shown_error.stack or _joined(shown_error) else shown_error.format_exception_only()).rstrip("\n")
    linecache.clearcache()
    return text


def _joined(shown_error: traceback.TracebackException) -> bool:
    """Return whether other exceptions belong to this one, so that all are shown with headings."""
    return bool(
        shown_error.__cause__
        or (shown_error.__context__ and not shown_error.__suppress_context__)
        or getattr(shown_error, "exceptions", None)
    )


def _has_user_frames(error: BaseException) -> bool:
    return any(_is_users(frame) for frame in traceback.extract_tb(error.__traceback__))


def _cut(shown_error: traceback.TracebackException, seen: set[int]) -> None:
    if id(shown_error) in seen:
        return
    seen.add(id(shown_error))
    shown, theirs = [], False
    for frame in shown_error.stack:
        theirs = _is_users(frame) or (theirs and not _is_own(frame))
        if theirs and not _importing(frame):
            shown.append(frame)
    shown_error.stack = traceback.StackSummary.from_list(shown)
    # Python 3.11: also the members of an exception group
    for other in (shown_error.__cause__, shown_error.__context__, *(getattr(shown_error, "exceptions", None) or ())):
        if other is not None:
            _cut(other, seen)


def _is_own(frame: traceback.FrameSummary) -> bool:
    return os.path.abspath(frame.filename).startswith(_OWN)


def _is_users(frame: traceback.FrameSummary) -> bool:
    """Return whether a frame is in user or third-party code, not in FISSION or Python itself."""
    if frame.filename.startswith("<frozen ") or _is_own(frame):
        return False
    file = os.path.abspath(frame.filename)
    return not file.startswith(_PYTHON) or f"{os.sep}site-packages{os.sep}" in file or f"{os.sep}dist-packages{os.sep}" in file


def _importing(frame: traceback.FrameSummary) -> bool:
    return frame.filename.startswith("<frozen importlib") or frame.filename.endswith(os.path.join("importlib", "__init__.py"))


def write_report(
    descriptor: int, outcome: str, error: str = "", counts: JobCounts | None = None, block: int = 0, hopeless: bool = False
) -> None:
    """Write the report and close the descriptor.

    Never raises: at the end of a process, no code is left to handle an exception.

    Args:
        descriptor: descriptor of the pipe to the client.
        outcome: one of the outcomes above.
        error: text of a failure, for the user.
        counts: statistics of the job's pipes.
        block: compute block at which the job failed; 0 if it had not begun.
        hopeless: whether a new incarnation would fail too.
    """
    report = ProcessReport(outcome=cast(ProcessOutcome, outcome), error=_shortened(error), counts=counts, block=block, hopeless=hopeless)
    try:
        os.write(descriptor, PROCESS_TO_ENGINE.encode(report))
        os.close(descriptor)
    except OSError:
        pass  # the client is gone


def _shortened(text: str) -> str:
    """Shorten a long text to its beginning and end; in JSON, a character can take twelve bytes."""
    half = len(text) // 2
    shorter = text
    while (size := len(json.dumps(shorter))) > MAX_ERROR:
        half = min(half - 1, half * MAX_ERROR // size)
        shorter = f"{text[:half]}\n... {len(text) - 2 * half} characters left out ...\n{text[len(text) - half :]}"
    return shorter
