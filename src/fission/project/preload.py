"""Checks the names of the setting PRELOAD without importing the modules."""

from __future__ import annotations

import pkgutil
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path

from fission.project.names import did_you_mean

#: Similarity from which an installed module may be the one that was meant; arbitrary, for there are hundreds of them.
CUTOFF = 0.75


def preload_faults(names: Sequence[str], root: Path) -> list[str]:
    """Return a text for each module that does not exist here or belongs to the project.

    Modules of the project are the jobs' own: each job imports them afresh, and nodes receive them
    with the jobs.

    Args:
        names: dotted names.
        root: the project's folder, absolute.
    """
    return [fault for fault in (_fault(name, root) for name in names) if fault]


def _fault(name: str, root: Path) -> str:
    parts, place, above = name.split("."), None, ""
    for number, part in enumerate(parts):
        if number and place is None:
            return f"PRELOAD names {name!r}, but {above} is not a package; correct the name"
        full = ".".join(parts[: number + 1])
        spec = _found(full, place)
        if spec is None:
            if number == 0:
                advice = did_you_mean(part, _installed(), CUTOFF) or "; install it here, or correct the name"
                return f"PRELOAD names {name!r}, but there is no module {part}{advice}"
            return f"PRELOAD names {name!r}, but {above} has no module {part}; correct the name"
        if number == 0 and _is_in(spec, root):
            text = f"PRELOAD must name installed modules, but {name!r} is a module of the project, which each job imports itself"
            return f"{text}; remove it, and list the modules that it imports"
        place, above = spec.submodule_search_locations, full
    return ""


def _installed() -> list[str]:
    return [module.name for module in pkgutil.iter_modules() if not module.name.startswith("_")]


def _found(name: str, place: Sequence[str] | None) -> ModuleSpec | None:
    """Return where a module is, like `importlib.util.find_spec`, which would import the packages
    above it.
    """
    for finder in sys.meta_path:
        find = getattr(finder, "find_spec", None)
        if find is not None and (spec := find(name, place, None)) is not None:
            return spec  # type: ignore[no-any-return]
    return None


def _is_in(spec: ModuleSpec, root: Path) -> bool:
    """Return whether a module is directly in the project's folder, as everything that is shipped."""
    places = list(spec.submodule_search_locations or ()) or [spec.origin or ""]
    return any(Path(place).parent.resolve() == root for place in places if place not in ("", "built-in", "frozen"))
