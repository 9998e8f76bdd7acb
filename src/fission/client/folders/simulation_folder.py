"""A simulation in another folder than ``NETWORK/simulation``: its place and its files.

The folder is the user's and may hold anything else, so only what a simulation makes there is
removed before the next one. Its place is written into the network's lock file, where other
terminals find it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from fission.errors import UserError

#: Held by the client that runs the network; only its owner can open it, so no other user can lock it.
LOCK_FILE = ".fission-lock"
#: In a user's folder in which a simulation works; it may be the network's folder.
FOLDER_LOCK = ".fission-simulation"
#: In every folder of a simulation; says which job has which number. The old MARVELO writes it too.
INFO_FILE = "info.txt"
#: What a simulation leaves besides the folders of its jobs.
OWN_FILES = (INFO_FILE, "fission.log", "events.jsonl", "ending.json", "running.json")
OWN_FOLDERS = (".checkpoints", "fifo")


def note(descriptor: int, folder: Path | None) -> None:
    """Write the place of a simulation into the open lock file of its network.

    Args:
        descriptor: descriptor of the lock file.
        folder: folder of the simulation; None: the usual place.
    """
    with contextlib.suppress(OSError):  # other terminals then do not find it; the simulation does not need it
        os.ftruncate(descriptor, 0)
        if folder is not None:
            os.pwrite(descriptor, os.fsencode(folder), 0)


def noted(network: Path) -> Path | None:
    """Return the folder of a network's last simulation.

    None if it was in the usual place, or there was none.

    Args:
        network: the network's folder.
    """
    try:
        text = (network / LOCK_FILE).read_bytes()
    except OSError:
        return None
    return Path(os.fsdecode(text)) if text.startswith(b"/") and b"\0" not in text else None


@contextlib.contextmanager
def held(folder: Path, jobs: Iterable[int]) -> Iterator[None]:
    """Prepare the folder for a simulation, and keep other networks out of it inside the with-block.

    Args:
        folder: absolute path. Its content stays, except what an earlier simulation has made there.
        jobs: ids of the network's jobs.

    Raises:
        UserError: the folder cannot be used, is in use, or has folders of the user where those of
            the jobs would be.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / FOLDER_LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    except OSError as why:
        raise UserError(f"{folder} must be a folder that you can write: the simulation works there; {why.strerror}") from None
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"another network works in {folder} already; name another folder, or stop that one") from None
        except OSError:
            pass  # a file system without locks
        _empty(folder, jobs)
        yield
    finally:
        os.close(lock)


def _empty(folder: Path, jobs: Iterable[int]) -> None:
    earlier = (folder / INFO_FILE).is_file()
    there = [path for path in (folder / str(job) for job in jobs) if os.path.lexists(path)]
    if there and not earlier:
        raise UserError(
            f"{there[0]} must not exist, or {folder} must be the folder of an earlier simulation (with {INFO_FILE}): it would be emptied "
            "for a job; name another folder, or remove it"
        )
    if not earlier:
        return  # nothing here is ours
    try:
        for path in (*there, *(folder / name for name in (*OWN_FOLDERS, *OWN_FILES))):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    except OSError as why:
        raise UserError(f"{folder}, where the jobs work, cannot be recreated: {why}") from None
