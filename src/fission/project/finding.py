"""Finds projects and networks on disk.

Imports no classes of jobs, so that the command line starts quickly.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fission.errors import UnknownNameError, UserError
from fission.project.names import did_you_mean


def find_project(start: Path) -> Path:
    """Return the project that contains *start*: the nearest folder upwards whose manage.py mentions
    FISSION.

    Raises:
        UserError: there is none.
    """
    start = start.resolve()
    for folder in (start, *start.parents):
        try:
            if "fission" in (folder / "manage.py").read_text("utf-8", errors="replace"):
                return folder
        except OSError:
            continue
    raise UserError(
        f"there is no project here: neither {start} nor a folder above it has a manage.py of FISSION; "
        "change into a project, or make one with: fission startproject NAME"
    )


def list_networks(root: Path) -> list[str]:
    """Return the names of a project's networks, sorted: its folders with a config.py."""
    return sorted(path.parent.name for path in root.glob("*/config.py") if path.parent.name.isidentifier() and path.is_file())


def require_network(root: Path, name: str) -> None:
    """Return if the project has the network *name*.

    Raises:
        UnknownNameError: it does not; the message has the nearest name and all existing ones.
    """
    known = list_networks(root)
    if name in known:
        return
    if name.isidentifier() and (root / name).is_dir():
        raise UnknownNameError(f"{name!r} has no config.py, so it is not a network that can be loaded.{_existing(known)}")
    raise UnknownNameError(f"there is no network {name!r} in {root}{did_you_mean(name, known) or '.'}{_existing(known)}")


def _existing(known: Sequence[str]) -> str:
    return f" Networks: {', '.join(known)}" if known else " There is none yet; make one with: python3 manage.py NAME startnetwork"
