"""Whether a place on the disk is ours: what another user of this machine can change is neither run nor believed.

Of a path every component counts, as `sshd` has it for the files of a user: who may write to one of them can put something else into the
place of what is below. A folder that everybody may write to is only harmless with the sticky bit (as /tmp has it), because there
everybody can remove what is his own only.
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
    """Return who besides us and root can change what is at a path, as a clause; empty: no one can. What does not exist yet has no owner.

    Raises:
        OSError: a folder above it cannot be looked at.
    """
    for one in _components(path):
        try:
            found = os.lstat(one)
        except FileNotFoundError:
            break
        last = one == path or not stat.S_ISDIR(found.st_mode)
        if clause := _stranger(one, found, last=last):
            return clause
    return ""


def tree_stranger(folder: Path) -> str:
    """The same for everything in a folder; its own path is not looked at. Links are not followed."""
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(place, name)
            if clause := _stranger(path, os.lstat(path), last=True):
                return clause
    return ""


def check(path: Path, what: str, advice: str) -> None:
    """Raises UserError: others can change what is at this path. ``what``: what it is; ``advice``: what to do, in the imperative."""
    try:
        # once as it is written, and once where it leads
        clause = stranger(path.absolute()) or stranger(Path(os.path.realpath(path)))
    except OSError as why:
        clause = f"{path} cannot be looked at ({why.strerror or why})"
    if clause:
        raise UserError(f"{what} {path} must be changeable by its user and root alone, but {clause}; {advice}")


def safe_parent(folder: str) -> bool:
    """Whether only we and root can replace what we make in a folder."""
    try:
        return not stranger(Path(os.path.realpath(folder), "new"))
    except OSError:
        return False


def _components(path: Path) -> Iterator[Path]:
    yield from reversed(path.parents)
    yield path


def _stranger(path: Path, found: os.stat_result, *, last: bool) -> str:
    """``last``: nothing below it decides for itself who may change it."""
    if found.st_uid not in (0, os.geteuid()) and not _unmapped(found.st_uid):
        return f"{path} belongs to {_user(found.st_uid)}"
    if stat.S_ISLNK(found.st_mode) or (found.st_mode & stat.S_ISVTX and not last):
        return ""
    if found.st_mode & _OTHERS:
        return f"everybody can change {path} (chmod go-w)"
    if found.st_mode & _GROUP and not _own_group(found.st_gid):
        return f"the group {_group(found.st_gid)} can change {path} (chmod g-w)"
    return ""


def _own_group(number: int) -> bool:
    """Whether a group is root's, or has no member but us: many systems give each user such a group, and let it write by default."""
    if number == 0:
        return True
    with contextlib.suppress(KeyError):
        user, group = pwd.getpwuid(os.geteuid()), grp.getgrgid(number)
        return group.gr_gid == user.pw_gid and group.gr_name == user.pw_name and set(group.gr_mem) <= {user.pw_name}
    return False


def _unmapped(number: int) -> bool:
    """Whether this is how a container shows users that it does not have, to which no user in it can change."""
    with contextlib.suppress(OSError, ValueError):
        whole = Path("/proc/self/uid_map").read_text().split() == ["0", "0", str(2**32 - 1)]
        return not whole and number == int(Path("/proc/sys/kernel/overflowuid").read_text())
    return False


def _user(number: int) -> str:
    with contextlib.suppress(KeyError):
        return f"the user {pwd.getpwuid(number).pw_name}"
    return f"the user with the number {number}"


def _group(number: int) -> str:
    with contextlib.suppress(KeyError):
        return grp.getgrgid(number).gr_name
    return str(number)
