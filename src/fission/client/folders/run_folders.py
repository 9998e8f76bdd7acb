"""The folders of a network's runs: ``NETWORK/runs/DATE-N``, one for each `run`.

``NETWORK/local`` is a link to the newest. N always increases, so the order of runs does not depend
on the clock. A run that has started a job may hold results. Only the setting KEEP_RUNS removes it,
once enough newer runs may hold results too.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from fission import durable
from fission.errors import UserError

#: In a network's folder: the folder of its runs, and the link to the newest.
RUNS, LOCAL = "runs", "local"
#: In the folder of a run: its event log.
EVENTS = "events.jsonl"
_NAME = re.compile(r"\d{4}-\d\d-\d\d-(\d+)", re.ASCII)
_LAUNCHED = b'"what": "Launch"'


class NoRunError(UserError):
    """There is no earlier run."""


def runs(network: Path) -> list[Path]:
    """Return the folders of the runs in a network's folder, newest first."""
    found = []
    with contextlib.suppress(OSError):
        for path in (network / RUNS).iterdir():
            if (match := _NAME.fullmatch(path.name)) and path.is_dir():
                found.append((int(match[1]), path))
    return [path for _, path in sorted(found, reverse=True)]


def started(run: Path) -> bool:
    """Return whether a run has ever started a job, so that its folder may hold results."""
    try:
        with (run / EVENTS).open("rb") as file:
            return any(_LAUNCHED in line for line in file)
    except FileNotFoundError:
        return False
    except OSError:
        return True


def to_resume(network: Path) -> Path:
    """Return the folder of the newest run that has started a job; the newest one if none has.

    Raises:
        NoRunError: there is no run.
    """
    local = network / LOCAL
    if local.is_dir() and not local.is_symlink():
        return local  # made by an older version
    known = runs(network)
    if not known:
        raise NoRunError(f"there is no run to resume in {network}; start one without --resume")
    return next(filter(started, known), known[0])


def current(network: Path) -> Path:
    """Return the folder of the newest run; it need not exist."""
    local = network / LOCAL
    if os.path.lexists(local):
        return local
    return next(iter(runs(network)), local)  # a file system without links has runs only


def new_run(network: Path, notice: Callable[[str], None], date: str | None = None) -> Path:
    """Return the folder of the next run, which does not exist yet.

    A folder ``local`` of an older version becomes one of the runs.

    Args:
        network: the network's folder.
        notice: called with texts for the user.
        date: the date in the folder's name; None: today.

    Raises:
        UserError: something is in the way.
    """
    _adopt(network, notice)
    return _next(network, date)


def make_run(folder: Path, fill: Callable[[Path], None]) -> None:
    """Make the folder of a new run and link ``local`` to it.

    The folder is complete and on the disk when this returns.

    Args:
        folder: the folder, from `new_run`.
        fill: called with the new folder to add what the run needs.

    Raises:
        UserError: the folder cannot be written; earlier runs are unchanged.
    """
    network = folder.parent.parent
    try:
        durable.make_folder(folder)
        fill(folder)
        durable.sync_tree(folder)
        point(network, folder)
    except OSError as why:
        shutil.rmtree(folder, ignore_errors=True)
        raise UserError(f"{folder}, where the jobs work, cannot be created: {why}") from None
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _adopt(network: Path, notice: Callable[[str], None]) -> None:
    local = network / LOCAL
    if local.is_symlink():
        if Path(os.readlink(local)).parent in (Path(RUNS), network / RUNS):
            return
        raise UserError(
            f"{local} must be a link to the newest run, or not exist; it is a link to {os.readlink(local)}; remove or rename it"
        )
    if not os.path.lexists(local):
        return
    if not local.is_dir():
        raise UserError(f"{local} must be a link to the newest run, or not exist; it is a file; remove or rename it")
    folder = _next(network)
    try:
        durable.make_folder(network / RUNS)
        durable.rename(local, folder)
    except OSError as why:
        raise UserError(f"{local}, which has the results of an earlier run, cannot be moved to {folder}: {why}") from None
    notice(f"the results of an earlier run are in {folder} now; {local} is a link to the newest run")


def point(network: Path, run: Path) -> None:
    """Make ``local`` a link to a run.

    Raises:
        OSError: the link cannot be made.
    """
    try:
        durable.link(network / LOCAL, f"{RUNS}/{run.name}")
    except OSError as why:
        if why.errno not in (errno.EPERM, errno.ENOTSUP):
            raise  # otherwise the file system has no links, and the newest run is found by its number


def remove_old(network: Path, keep: int | None, current: Path) -> None:
    """Remove runs that have started no job, and the oldest of the others.

    What cannot be removed stays.

    Args:
        network: the network's folder.
        keep: number of runs that stay, including the current one; None: all.
        current: the run that is about to start its jobs.
    """
    held = 1
    for run in runs(network):
        if run.name == current.name:
            continue
        if started(run):
            held += 1
            if keep is None or held <= keep:
                continue
        shutil.rmtree(run, ignore_errors=True)


def _next(network: Path, date: str | None = None) -> Path:
    known = runs(network)
    number = int(_NAME.fullmatch(known[0].name)[1]) + 1 if known else 1  # type: ignore[index]  # runs() matches them
    return network / RUNS / f"{date or time.strftime('%Y-%m-%d')}-{number}"
