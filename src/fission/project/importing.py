"""Imports the user's modules afresh, and turns their exceptions into faults in their files."""

from __future__ import annotations

import importlib
import re
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from fission.errors import Fault, UserError
from fission.project import undefined_names
from fission.project.names import did_you_mean, nearest

_MISSING_NAME = re.compile(r"cannot import name '([^']+)' from")


def put_first(root: Path) -> None:
    """Put the project *root* first on sys.path, once, and forget modules of other projects whose
    names it uses.

    Every project has a ``shared``; without this, the second project of a process would get the
    first one's. Modules of this project stay, so that classes of loaded networks keep their
    identity.
    """
    text = str(root)
    if sys.path[:1] != [text]:
        sys.path[:] = [text, *(entry for entry in sys.path if entry != text)]
    own = {entry.stem for entry in root.iterdir() if entry.is_dir() or entry.suffix == ".py"}
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in own and not _belongs(module, root):
            del sys.modules[name]
    importlib.invalidate_caches()


def _belongs(module: ModuleType, root: Path) -> bool:
    """Return whether a module is of this project, or of none (built in, or the running main
    module).
    """
    if module.__name__ == "__main__":
        return True
    places = [getattr(module, "__file__", None), *getattr(module, "__path__", ())]
    return not any(places) or any(place and Path(place).resolve().is_relative_to(root) for place in places)


def import_fresh(name: str, others: Iterable[str] = ()) -> ModuleType:
    """Import the module *name* again, even if it is already imported, and *others* as well if it
    imports them.

    Other modules that it imports are not read again, so that classes of loaded networks keep their
    identity.
    """
    for module in (name, *others):
        sys.modules.pop(module, None)
    return importlib.import_module(name)


def relative(path: str | Path, root: Path) -> str:
    """Return a path for messages: relative to the project, if it is inside."""
    try:
        return str(Path(path).resolve().relative_to(root))
    except ValueError:
        return str(path)


def relocate(fault: Fault, root: Path) -> Fault:
    """Return the fault with its place relative to the project instead of the current folder."""
    path, colon, line = fault.where.rpartition(":")
    if not colon or not line.isdigit():
        return fault
    return Fault(fault.text, f"{relative(path, root)}:{line}")


def user_frames(error: BaseException, root: Path) -> list[str]:
    """Return ``file:line`` of the user's frames, outermost first, relative to the project."""
    found = []
    for frame in traceback.extract_tb(error.__traceback__):
        path = Path(frame.filename)
        if path.is_absolute() and path.is_relative_to(root) and "site-packages" not in path.parts:
            found.append(f"{relative(path, root)}:{frame.lineno}")
    return found


def exception_fault(error: BaseException, root: Path, default: str) -> Fault:
    """Return an exception of the user's code during loading as a fault with the user's file and
    line.

    Args:
        error: the exception, with its traceback.
        root: the project.
        default: the place if the traceback has no frame of the project.
    """
    frames = user_frames(error, root)
    where = frames[-1] if frames else default
    if isinstance(error, UserError):
        return Fault(str(error), where)  # its text is already meant for the user
    kind = type(error).__name__
    if isinstance(error, SyntaxError) and error.filename and error.filename != "<string>":
        where = f"{relative(error.filename, root)}:{error.lineno or 1}"
        source = f": {error.text.strip()}" if error.text and error.text.strip() else ""
        return Fault(f"{kind}: {error.msg}{source}", where)
    text = f"{kind}: {error}" if str(error) else kind
    if isinstance(error, ModuleNotFoundError) and error.name:
        text += _missing_module(error.name, root)
    elif isinstance(error, ImportError):
        text += _missing_name(error)
    elif isinstance(error, NameError):
        text += undefined_names.advice(error)
    if frames and frames[0] != where:
        text += f" (called from {frames[0]})"
    return Fault(text, where)


def _missing_module(name: str, root: Path) -> str:
    """Return advice about a module that cannot be found."""
    *parents, last = name.split(".")
    folder = root.joinpath(*parents)
    meant = nearest(last, _modules_in(folder) if folder.is_dir() else ())
    hint = f"; did you mean {'.'.join([*parents, meant])!r}?" if meant else ""
    if parents and (root / parents[0]).is_dir():
        return hint or f"; {parents[0]} is in this project, but has no module {'.'.join([*parents[1:], last])}"
    top = (parents or [last])[0]
    if top == "pypelinin":  # the package index has the older one, for Python 2
        return "; FISSION's package of this name is a wheel of its own, which `make wheel` in a clone of FISSION builds; install it"
    return hint or f"; if it is a package, install it where FISSION runs: python3 -m pip install {top}"


def _modules_in(folder: Path) -> Iterable[str]:
    return [entry.stem for entry in folder.iterdir() if entry.suffix == ".py" or (entry.is_dir() and entry.name.isidentifier())]


def _missing_name(error: ImportError) -> str:
    match = _MISSING_NAME.match(str(error))
    module = sys.modules.get(error.name or "")
    return did_you_mean(match[1], dir(module)) if match and module is not None else ""


def import_class(dotted: str) -> object:
    """Import and return ``package.module.Class``.

    Raises any exception of the import; AttributeError with a suggestion.
    """
    module_name, _, name = dotted.rpartition(".")
    module = importlib.import_module(module_name)
    try:
        return getattr(module, name)
    except AttributeError:
        raise AttributeError(f"{module_name} has no {name}{did_you_mean(name, dir(module))}") from None
