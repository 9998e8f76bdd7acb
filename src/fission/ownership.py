"""Checks that no other user of this machine can change a path: such files are neither executed nor
trusted.

Internal: may change without notice.

Every component of a path counts, as for `sshd`'s files of a user: a user who may write to one of
them can replace everything below it. A world-writable folder is harmless only with the sticky bit
(as /tmp has it), because then users can remove only their own files.
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path

from fission.errors import UserError

_OTHERS = stat.S_IWOTH
_GROUP = stat.S_IWGRP


def stranger(path: Path) -> str:
    """Return which other user can change a path, as a clause; empty if none can.

    A missing path has no owner.

    Raises:
        OSError: a folder above it cannot be examined.
    """
    for component in _components(path):
        try:
            found = os.lstat(component)
        except FileNotFoundError:
            break
        last = component == path or not stat.S_ISDIR(found.st_mode)
        if clause := _stranger(component, found, last=last):
            return clause
    return ""


def tree_stranger(folder: Path) -> str:
    """Do the same for everything in a folder, but not for its own path. Does not follow links."""
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(place, name)
            if clause := _stranger(path, os.lstat(path), last=True):
                return clause
    return ""


def check(path: Path, what: str, advice: str) -> None:
    """Raise UserError if others can change a path.

    ``what``: its description; ``advice``: what to do, in the imperative.
    """
    try:
        # the path as written, and the path where it leads
        clause = stranger(path.absolute()) or stranger(Path(os.path.realpath(path)))
    except OSError as why:
        clause = f"{path} cannot be examined ({why.strerror or why})"
    if clause:
        raise UserError(f"{what} {path} must be changeable by its user and root alone, but {clause}; {advice}")


def safe_parent(folder: str) -> bool:
    """Return whether only this user and root can replace files in a folder."""
    try:
        return not stranger(Path(os.path.realpath(folder), "new"))
    except OSError:
        return False


def _components(path: Path) -> Iterator[Path]:
    yield from reversed(path.parents)
    yield path


def _stranger(path: Path, found: os.stat_result, *, last: bool) -> str:
    """As `stranger`, for one component.

    ``last``: there is no component below it that has its own owner.
    """
    if found.st_uid not in (0, os.geteuid()) and not _unmapped(found.st_uid):
        return f"{path} belongs to {_user(found.st_uid)}"
    if stat.S_ISLNK(found.st_mode) or (found.st_mode & stat.S_ISVTX and not last):
        return ""
    if found.st_mode & _OTHERS:
        return f"every user can change {path} (chmod go-w)"
    if found.st_mode & _GROUP and not _own_group(found.st_gid):
        return f"the group {_group(found.st_gid)} can change {path} (chmod g-w)"
    return ""


def _own_group(number: int) -> bool:
    """Return whether a group is root's, or has no other member: many systems give each user such a
    group by default.
    """
    if number == 0:
        return True
    with contextlib.suppress(KeyError):
        user, group = pwd.getpwuid(os.geteuid()), grp.getgrgid(number)
        return group.gr_gid == user.pw_gid and group.gr_name == user.pw_name and set(group.gr_mem) <= {user.pw_name}
    return False


def _unmapped(number: int) -> bool:
    """Return whether this id stands for users that a container does not have, and so cannot
    contain.
    """
    with contextlib.suppress(OSError, ValueError):
        whole = Path("/proc/self/uid_map").read_text().split() == ["0", "0", str(2**32 - 1)]
        return not whole and number == int(Path("/proc/sys/kernel/overflowuid").read_text())
    return False


def _user(number: int) -> str:
    with contextlib.suppress(KeyError):
        return f"the user {pwd.getpwuid(number).pw_name}"
    return f"the user with the id {number}"


def _group(number: int) -> str:
    with contextlib.suppress(KeyError):
        return grp.getgrgid(number).gr_name
    return str(number)
