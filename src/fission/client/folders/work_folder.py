"""Where a run works: ``NETWORK/simulation`` with a folder per job, info.txt and the log.

Only one run of a network works at a time.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from fission.client.folders.simulation_folder import INFO_FILE, LOCK_FILE, note
from fission.core.base import BaseJob
from fission.durable import LogFile
from fission.errors import UserError
from fission.ports import Observer
from fission.project.config import LoadedNetwork
from fission.project.shipping import copy_dependencies

log = logging.getLogger("fission.client")


@contextlib.contextmanager
def alone(loaded: LoadedNetwork, elsewhere: Path | None = None) -> Iterator[None]:
    """Keep other clients from running the network inside the with-block.

    They would empty the folders of its jobs.

    Args:
        loaded: the network.
        elsewhere: the folder of the run, if other terminals do not look for it there by default.

    Raises:
        UserError: another client runs the network, or its lock belongs to another user.
    """
    path = loaded.folder / LOCK_FILE
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    except OSError as why:
        raise UserError(
            f"{path} must be a file that you can write, or not exist: it ensures that the network runs only once; {why.strerror}"
        ) from None
    try:
        with contextlib.suppress(OSError):
            os.fchmod(descriptor, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"the network {loaded.name} is running already, and a second run would use the same folders; stop the first run"
            ) from None
        except OSError:
            pass  # a file system without locks cannot warn
        note(descriptor, elsewhere)
        yield
    finally:
        os.close(descriptor)  # releases the lock, as the end of this process would


def make_folders(loaded: LoadedNetwork, folder: Path) -> None:
    """Recreate the run's folder: info.txt, and a folder for each job with its DEPENDENCIES.

    Args:
        loaded: the network.
        folder: folder of the run; its content is removed.

    Raises:
        UserError: something is in the way, cannot be removed, or cannot be written.
    """
    if os.path.lexists(folder) and (folder.is_symlink() or not folder.is_dir()):
        what = "a link" if folder.is_symlink() else "a file"
        raise UserError(f"{folder} must be a folder or not exist: it is emptied for each run; it is {what}; remove or rename it")
    try:
        shutil.rmtree(folder, ignore_errors=True)
        if folder.exists():  # again, for the reason; or because a job of a killed run has just written into it
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        fill_folder(loaded, folder)
    except OSError as why:
        raise UserError(f"{folder}, where the jobs work, cannot be recreated: {why}") from None


def fill_folder(loaded: LoadedNetwork, folder: Path) -> None:
    """Make what a run's folder lacks: info.txt, and a folder for each job with its DEPENDENCIES.

    Raises:
        UserError: a file of DEPENDENCIES cannot be copied.
        OSError: something cannot be written.
    """
    lines = []
    for job in loaded.network.jobs.values():
        own = folder / str(job._fission_id)
        if not own.is_dir():
            own.mkdir()
            copy_dependencies(job, loaded.root, own)
        lines.append(f"{job._fission_id}: {described(job)}")
    (folder / INFO_FILE).write_text("\n".join(lines) + "\n", encoding="utf-8")


def described(job: BaseJob) -> str:
    """Return a job's name and pipes, as text of three lines."""

    def pipes(listed: Iterable[Any]) -> str:
        return ", ".join(str(pipe) for pipe in listed) or "-"

    return f"{job._fission_name}\n    inputs: {pipes(job.inputs)}\n    outputs: {pipes(job.outputs)}"


def start_log(loaded: LoadedNetwork, run_log: Path, observer: Observer, further: Sequence[logging.Handler] = ()) -> list[logging.Handler]:
    """Log this run into its own file completely, and into the project's LOG_FILE as LOG_LEVEL says.

    `end_log` ends it. A LOG_FILE that cannot be written is only a warning.

    Args:
        loaded: the network.
        run_log: path of the run's own file.
        observer: warned.
        further: handlers that get the log too.

    Raises:
        UserError: the run's own file cannot be written.
    """
    try:
        handlers = [_handler(run_log, logging.DEBUG)]
    except OSError as why:
        raise UserError(f"{run_log}, the log of the run, cannot be written: {why}") from None
    try:
        handlers.append(_handler(loaded.root / loaded.config.log_file, loaded.config.log_level))
    except OSError as why:
        observer.warning(f"LOG_FILE cannot be written, so only {run_log} gets the log: {why}")
    handlers += further
    logger = logging.getLogger("fission")
    logger.setLevel(logging.DEBUG)
    for handler in handlers:
        logger.addHandler(handler)
    log.info("%s starts: %s", loaded.name, json.dumps({number: job._fission_name for number, job in loaded.network.jobs.items()}))
    return handlers


def _handler(path: Path, level: int | str) -> logging.Handler:
    handler = LogFile(path)
    handler.setLevel(level)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    return handler


def end_log(handlers: list[logging.Handler]) -> None:
    """Remove the handlers and close their files."""
    for handler in handlers:
        logging.getLogger("fission").removeHandler(handler)
        handler.close()
