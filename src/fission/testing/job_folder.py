"""The working folder of a job that runs alone, which no two processes use at once."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

from fission.core.base import BaseJob


def claim_folder(base: Path, job: BaseJob) -> tuple[Path, int]:
    """Create or empty the folder ``base/<job id>``, and keep other processes from using it.

    If another process uses it already, the folder is ``base/<job id>-2`` and so on.

    Returns:
        The folder, and the descriptor that holds its lock.

    Raises:
        OSError: the folder cannot be created.
    """
    number = 1
    while True:
        folder = base / (str(job._fission_id) if number == 1 else f"{job._fission_id}-{number}")
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            number += 1
            continue
        for entry in folder.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
        return folder, descriptor
