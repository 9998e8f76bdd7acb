"""What a job's process says at its end: an outcome, an error for the user, and counts; one JSON object on a descriptor."""

from __future__ import annotations

import json
import linecache
import os
import traceback
from pathlib import Path
from typing import Any

FINISHED = "finished"  # it ended as it should, downstream knows
ENDED = "ended"  # `run` returned None: it ended without telling downstream
STOPPED = "stopped"  # it was told to stop
FAILED = "failed"  # its code raised, or its executable failed

#: Most characters of an error text; a pipe holds 64 KiB before a write blocks, and nobody reads while the process lives.
MAX_ERROR = 40_000
_OWN = str(Path(__file__).resolve().parent.parent)


def user_traceback(error: BaseException) -> str:
    """Return the error as a Python traceback cut to the user's frames; those of FISSION are left out."""
    told = traceback.TracebackException.from_exception(error)
    _cut(told, set())
    text = "".join(told.format()).rstrip("\n")
    linecache.clearcache()
    return text


def _cut(told: traceback.TracebackException, seen: set[int]) -> None:
    if id(told) in seen:
        return
    seen.add(id(told))
    theirs = [frame for frame in told.stack if not os.path.abspath(frame.filename).startswith(_OWN + os.sep) and not _importing(frame)]
    told.stack = traceback.StackSummary.from_list(theirs)
    for other in (told.__cause__, told.__context__):
        if other is not None:
            _cut(other, seen)


def _importing(frame: traceback.FrameSummary) -> bool:
    return frame.filename.startswith("<frozen importlib") or frame.filename.endswith(os.path.join("importlib", "__init__.py"))


def write_report(descriptor: int, outcome: str, error: str = "", counts: dict[str, Any] | None = None) -> None:
    """Write the report and close the descriptor. Never raises: at the end of a process nobody could take it."""
    if len(error) > MAX_ERROR:
        half = MAX_ERROR // 2
        error = f"{error[:half]}\n... {len(error) - MAX_ERROR} characters left out ...\n{error[-half:]}"
    try:
        os.write(descriptor, json.dumps({"outcome": outcome, "error": error, "counts": counts or {}}).encode())
        os.close(descriptor)
    except OSError:
        pass  # the client is gone


def read_report(text: bytes) -> dict[str, Any]:
    """Return what `write_report` wrote; an empty dict if the process died before it could, or in the middle."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
