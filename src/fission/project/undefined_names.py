"""Advice about names that a module of the user uses, but does not import."""

from __future__ import annotations

import ast
import builtins
import importlib
from pathlib import Path
from types import TracebackType

from fission.project.names import did_you_mean

#: Modules whose public names users import, in the order in which they are looked through.
SOURCES = (
    "fission.core.jobs",
    "fission.core.pipes",
    "fission.core.nodes",
    "fission.core.groups",
    "fission.core.base",
    "fission.core.block_time",
    "fission.connectors.audio",
)


def advice(error: NameError) -> str:
    """Return the imports that the module lacks in which *error* was raised, or the name that was probably meant.

    Args:
        error: the exception, with its traceback.

    Returns:
        Text to append to a message, empty without advice. It has all names of FISSION that the
        module uses without importing them, so that one correction suffices.
    """
    trace = error.__traceback__
    if isinstance(error, UnboundLocalError) or trace is None or not error.name:
        return ""
    names, file = _raised_in(trace)
    sources = _sources()
    if error.name not in sources:
        return did_you_mean(error.name, [name for name in (*names, *sources) if not name.startswith("_")])
    missing = {error.name} | {name for name in _used_and_not_bound(file) if name in sources and name not in names}
    lines: dict[str, list[str]] = {}
    for name in sorted(missing, key=lambda name: (SOURCES.index(sources[name]), name)):
        lines.setdefault(sources[name], []).append(name)
    imports = "; ".join(f"from {module} import {', '.join(found)}" for module, found in lines.items())
    return f"; import {'them' if len(missing) > 1 else 'it'}: {imports}"


def _raised_in(trace: TracebackType) -> tuple[set[str], Path]:
    """Return the names that exist where an exception was raised, and the file."""
    while trace.tb_next is not None:
        trace = trace.tb_next
    frame = trace.tb_frame
    return {*frame.f_globals, *frame.f_locals, *dir(builtins)}, Path(frame.f_code.co_filename)


def _sources() -> dict[str, str]:
    """Return public name of FISSION -> module it is imported from."""
    found: dict[str, str] = {}
    for module in SOURCES:
        try:
            names = importlib.import_module(module).__all__
        except ImportError:  # a package of an extra is not installed
            continue
        for name in names:
            found.setdefault(name, module)
    return found


def _used_and_not_bound(file: Path) -> set[str]:
    """Return the names that a file reads and that nothing in it defines."""
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):  # it was changed or removed since it was run
        return set()
    read: set[str] = set()
    bound: set[str] = set()
    for part in ast.walk(tree):
        if isinstance(part, ast.Name):
            (read if isinstance(part.ctx, ast.Load) else bound).add(part.id)
        elif isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            bound.add(part.name)
        elif isinstance(part, ast.arg):
            bound.add(part.arg)
        elif isinstance(part, ast.alias):
            bound.add((part.asname or part.name).partition(".")[0])
    return read - bound
