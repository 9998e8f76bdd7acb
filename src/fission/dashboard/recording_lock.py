"""Keeps two servers of one network's page from recording the same pipe: a server that records holds a lock for the file.

The operating system releases it with the process, however that ends. A file system without locks
(some network file systems) has none of this.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from fission.posix.lock_files import open_lock

#: Beside the folder of the recordings.
LOCK_FILE = ".fission-recording-lock"


@contextlib.contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Keep other servers from starting a recording in a folder meanwhile. Blocks while they do.

    Raises:
        OSError: the lock's file, beside the folder, cannot be written.
    """
    descriptor = open_lock(folder.parent / LOCK_FILE)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def hold(path: Path) -> int:
    """Return a descriptor that marks a file as one that is being written, until `release` or the end of this process.

    Raises:
        OSError: the lock's file, beside the folder, cannot be written.
    """
    descriptor = open_lock(_lock_of(path))
    with contextlib.suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return descriptor


def release(path: Path, descriptor: int) -> None:
    """Release what `hold` has returned for a file."""
    with contextlib.suppress(OSError):
        _lock_of(path).unlink(missing_ok=True)
    os.close(descriptor)


def held(paths: Iterable[Path]) -> Path | None:
    """Return one of these files that is being written; None if there is none.

    Removes the locks of killed servers. Call it within `one_at_a_time`.
    """
    for path in paths:
        lock = _lock_of(path)
        if not lock.exists():
            continue
        descriptor = open_lock(lock)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return path
        except OSError:
            return None  # no locks here
        else:
            lock.unlink(missing_ok=True)
        finally:
            os.close(descriptor)
    return None


def _lock_of(path: Path) -> Path:
    # not the recording itself: other users may read, and so lock, that
    return path.parent.parent / f".{path.name}.lock"
