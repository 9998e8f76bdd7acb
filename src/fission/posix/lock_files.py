"""Files that are only locked."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path


def open_lock(path: Path) -> int:
    """Return a descriptor of a file to lock with flock; a missing file is created.

    Reading permission suffices for an exclusive lock. So users who cannot write the file do not get
    to read it either: they could keep its owner waiting for ever.

    Raises:
        OSError: the file cannot be created or written, or is a link.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o660)
    mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
    private = mode & (0o660 if mode & stat.S_IWGRP else 0o600)
    if private != mode:
        with contextlib.suppress(OSError):  # another user's, or a file system without modes
            os.fchmod(descriptor, private)
    return descriptor
