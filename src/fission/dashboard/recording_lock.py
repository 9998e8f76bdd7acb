"""Keeps two servers of one network's page from recording the same pipe: a server that records holds a lock on the file.

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
    """Return a descriptor that marks a file as one that is being written, until it is closed.

    Raises:
        OSError: the file cannot be opened.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    with contextlib.suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return descriptor


def held(paths: Iterable[Path]) -> Path | None:
    """Return one of these files that is being written; None if there is none."""
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return path
            except OSError:
                return None  # no locks here
            finally:
                os.close(descriptor)
    return None
