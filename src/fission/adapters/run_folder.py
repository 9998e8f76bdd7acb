"""The run folder: short-lived and private, for the sockets of one run.

The path of a Unix socket has at most 107 bytes (<sys/un.h>), so a long TMPDIR leaves no room for
the sockets' names. The run folder then moves to a shorter system folder. A service of systemd has
a folder in memory for it: RuntimeDirectory=, of which the variable RUNTIME_DIRECTORY tells.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence

from fission.errors import UserError
from fission.ownership import safe_parent

#: Bytes in the path of a socket, without the trailing NUL: <sys/un.h>, 108 on Linux, 104 on macOS.
SOCKET_PATH_BYTES = 103
#: Bytes reserved for a socket's name in the folder, such as ``/12.3.0123456789abcdef.control``. Arbitrary, twice the longest.
NAME_BYTES = 48
#: Folders to use if TMPDIR is too long: world-writable with the sticky bit on every Linux and macOS.
SHORT_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm")


def runtime_directories() -> list[str]:
    """Return the folders that systemd has made for this service; empty: none."""
    return [folder for folder in os.environ.get("RUNTIME_DIRECTORY", "").split(":") if os.path.isabs(folder)]


def make_run_folder(prefix: str = "fission-", short_folders: Sequence[str] = SHORT_FOLDERS) -> str:
    """Make a new folder for sockets, accessible to this user only, and return its path.

    It is in the service's RuntimeDirectory if there is one, otherwise in the temporary directory
    (TMPDIR), or in a shorter folder if that path leaves no room for the names of sockets.

    Args:
        prefix: prefix of the folder's name.
        short_folders: alternatives in order of preference if TMPDIR is too long.

    Raises:
        UserError: no folder can be made, or none is short enough.
    """
    try:
        temporary = tempfile.gettempdir()
    except FileNotFoundError as why:
        raise UserError(
            f"there is no usable temporary directory, and the run needs one for its sockets: {why.strerror}; set TMPDIR"
        ) from None
    reasons = []
    for folder in (*runtime_directories(), temporary, *short_folders):
        room = SOCKET_PATH_BYTES - NAME_BYTES - len(os.fsencode(os.path.join(folder, prefix))) - 8  # 8: characters that mkdtemp adds
        if room < 0:
            reasons.append(f"{folder} is too long a path")
            continue
        if os.path.isdir(folder) and not safe_parent(folder):
            reasons.append(f"{folder} can be changed by other users, who could replace what is in it")
            continue
        try:
            return tempfile.mkdtemp(prefix=prefix, dir=folder)
        except OSError as why:
            reasons.append(f"{folder}: {why.strerror}")
    raise UserError(f"a folder for the run's sockets cannot be made ({'; '.join(reasons)}); set TMPDIR to a short path that can be written")
