"""How the last run of a network ended, for later requests: a file in the folder of the run."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fission import durable
from fission.client.folders.run_folders import EVENTS, current
from fission.client.folders.simulation_folder import noted
from fission.errors import UserError

#: The ending file, in the folder of a run that has ended.
ENDING_FILE = "ending.json"
#: The file in the folder of the run that holds the output of a client in the background.
OUTPUT_FILE = "output.log"
_FINISH, _RESUMED = b'"what": "Finish"', b'"what": "Resumed"'


@dataclass(frozen=True)
class LastRun:
    """A run that is over.

    Attributes:
        folder: folder of the run, below the network's.
        exit_code: exit code of its client; None: the client was killed, or its machine failed.
        reason: why the run ended; empty if unknown.
        lines: the summary or the error, as shown at its end.
        resumable: whether ``run --resume`` continues the run.
    """

    folder: Path
    exit_code: int | None
    reason: str
    lines: Sequence[str]
    resumable: bool


class NotRunningError(UserError):
    """The network is not running on this machine.

    Attributes:
        last: its last run; None if there is none.
    """

    def __init__(self, text: str, last: LastRun | None = None) -> None:
        super().__init__(text)
        self.last = last

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.last)


def write_ending(folder: Path, exit_code: int, reason: str, lines: Sequence[str]) -> None:
    """Write down how the run in a folder ended; what cannot be written is left out."""
    with contextlib.suppress(OSError):
        durable.write_json(folder / ENDING_FILE, {"exit_code": exit_code, "reason": reason, "lines": list(lines)})


def last_run(network: Path) -> LastRun | None:
    """Return the last run of a network that is not running; None if there is none.

    Args:
        network: the network's folder.
    """
    runs = []
    other = noted(network)
    for run in (network / "simulation", current(network), *([other] if other is not None else [])):
        with contextlib.suppress(OSError):
            runs.append(((run / EVENTS).stat().st_mtime, run.resolve()))
    if not runs:
        return None
    folder = max(runs)[1]
    resumable = not _simulated(network, folder) and not _finished(folder)
    try:
        ending = durable.read_json(folder / ENDING_FILE)
        return LastRun(folder, int(ending["exit_code"]), str(ending["reason"]), list(ending["lines"]), resumable)
    except (durable.DamagedFileError, OSError, KeyError, TypeError, ValueError):
        return LastRun(folder, None, "", [], resumable)


def _simulated(network: Path, folder: Path) -> bool:
    other = noted(network)
    return folder.name == "simulation" or (other is not None and folder == other.resolve())


def not_running(network: Path) -> NotRunningError:
    """Return the error to raise for a network that is not running.

    Its text says how the last run ended and how to continue.

    Args:
        network: the network's folder.
    """
    name, last = network.name, last_run(network)
    text = f"the network {name} is not running on this machine"
    if last is None:
        return NotRunningError(f"{text}; start it in another terminal: fission {name} simulate")
    where = last.folder.relative_to(network.resolve().parent) if last.folder.is_relative_to(network.resolve().parent) else last.folder
    if last.exit_code is None:
        how = f"the client of its last run ({where}) was killed, or its machine failed"
    else:
        how = f"its last run ({where}) ended with exit code {last.exit_code}: {last.reason}"
    if last.resumable:
        return NotRunningError(f"{text}; {how}; continue it: fission {name} run --resume", last)
    again = "simulate" if _simulated(network, last.folder) else "run"
    return NotRunningError(f"{text}; {how}; start it again: fission {name} {again}", last)


def to_json(network: str, last: LastRun | None) -> dict[str, Any]:
    """Return the ``status --json`` values of a network that is not running."""
    if last is None:
        return {"network": network, "running": False, "last_run": None}
    known = {"folder": str(last.folder), "exit_code": last.exit_code, "reason": last.reason, "resumable": last.resumable}
    return {"network": network, "running": False, "last_run": known}


def pid_of(running_file: Path) -> int:
    """Return the process id of the client that answers requests; 0 if there is none.

    Args:
        running_file: file of the client, which names its process.
    """
    try:
        found = json.loads(running_file.read_text())
        return int(found["pid"]) if "requests" in found else 0
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def _finished(folder: Path) -> bool:
    try:
        with (folder / EVENTS).open("rb") as file:
            over = False
            for line in file:
                over = _FINISH in line or (over and _RESUMED not in line)
            return over
    except OSError:
        return True


def keep_output(output: Path, folder: Path) -> None:
    """Collect the output of this process and its children in one file in the folder of the run.

    This includes earlier and later output.

    Args:
        output: the file behind standard output and standard error; it is moved.
        folder: folder of the run; the output of an earlier client of the same run stays in front.

    Raises:
        OSError: the file cannot be moved.
    """
    target = folder / OUTPUT_FILE
    if not target.exists():
        durable.rename(output, target)
        return
    sys.stdout.flush()
    sys.stderr.flush()
    descriptor = os.open(target, os.O_WRONLY | os.O_APPEND)
    try:
        durable.write_all(descriptor, durable.read_whole(output), target)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
    finally:
        os.close(descriptor)
    output.unlink(missing_ok=True)
