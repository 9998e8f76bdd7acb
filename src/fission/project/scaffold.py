"""Creates the folders of new projects and networks from the templates beside this file.

Everything is checked before the first folder is created; if writing fails, everything is removed
again.
"""

from __future__ import annotations

import importlib.util
import keyword
import shutil
import sys
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from fission.errors import UserError

# Every command, including those of optional parts of FISSION: a network created today must have a usable name then too.
COMMAND_NAMES = frozenset(
    (
        "startproject startnetwork simulate run attach stop check debug test interactive graphviz graph show collect status top echo hz "
        "record replay shell send node keys pipelines completion list help allocate senddata removedata provision dashboard audio"
    ).split()
)

_PACKAGE: Mapping[str, str] = {
    "__init__.py": "",
    "jobs/__init__.py": "",
    "jobs/jobs.py": "jobs.txt",
    "nodes/__init__.py": "",
    "nodes/nodes.py": "nodes.txt",
    "pipes/__init__.py": "",
    "pipes/pipes.py": "pipes.txt",
    "source/.gitkeep": "",
}


def start_project(name: str, parent: Path) -> Path:
    """Create the project folder *name* in *parent*, with manage.py and the ``shared`` package;
    return its path.

    The name of a project is never imported, so ``my-project`` is allowed.

    Raises:
        UserError: the name is invalid or exists; nothing was written.
    """
    if name.startswith("-") or not name.replace("-", "_").isidentifier():
        raise UserError(
            f"the name of a project must be made of letters, digits, - and _ and begin with a letter or _, but is {name!r}; choose another"
        )
    _refuse_taken(name, "project")
    target = parent / name
    files = {"manage.py": "manage.txt", **{f"shared/{path}": template for path, template in _PACKAGE.items()}}
    _write(target, files, {"name": name, "package": "shared"}, f"project {name!r}")
    (target / "manage.py").chmod(0o755 & ~_umask_of(target / "manage.py"))
    return target


def start_network(name: str, root: Path) -> Path:
    """Create the network folder *name* in the project *root*, with a commented config.py; return
    its path.

    Raises:
        UserError: the name is invalid or exists; nothing was written.
    """
    if not name.isidentifier():
        raise UserError(
            f"the name of a network must be a Python identifier (letters, digits and _, not beginning with a digit), but is {name!r}; "
            "it is imported as a package, so choose a name like 'my_network'"
        )
    _refuse_taken(name, "network")
    if _is_installed(name):
        raise UserError(f"a network called {name!r} would hide the installed package of that name; choose another name")
    target = root / name
    _write(target, {"config.py": "config.txt", **_PACKAGE}, {"name": name, "package": name}, f"network {name!r}")
    return target


def _refuse_taken(name: str, what: str) -> None:
    if keyword.iskeyword(name):
        raise UserError(f"the name of a {what} must not be a keyword of Python, but is {name!r}; choose another name")
    if name in COMMAND_NAMES:
        raise UserError(f"the name of a {what} must not be a command of FISSION, but is {name!r}; choose another name")
    if name in sys.stdlib_module_names or name in {"fission", "pypelinin"}:
        raise UserError(f"the name of a {what} must not be a module of Python or FISSION, but is {name!r}; choose another name")


def _is_installed(name: str) -> bool:
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):  # ValueError: already imported without a spec
        return False
    origin = Path(spec.origin) if spec is not None and spec.origin else Path()
    return bool({"site-packages", "dist-packages"} & set(origin.parts))


def _write(target: Path, files: Mapping[str, str], values: Mapping[str, str], what: str) -> None:
    templates = resources.files(__package__) / "templates"
    try:
        target.mkdir()
    except FileExistsError:
        raise UserError(f"{what} cannot be created: {target} exists; choose another name, or remove it first") from None
    except OSError as error:
        raise UserError(f"{what} cannot be created in {target.parent}: {error.strerror}") from None
    try:
        for path, template in files.items():
            text = (templates / template).read_text("utf-8") if template else ""
            for key, value in values.items():
                text = text.replace(f"@{key}@", value)
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            (target / path).write_text(text, "utf-8")
    except BaseException as error:
        shutil.rmtree(target, ignore_errors=True)
        if isinstance(error, OSError):
            raise UserError(f"{what} cannot be written to {target}: {error.strerror}") from None
        raise


def _umask_of(path: Path) -> int:
    """Return the umask, derived from a new file: reading it from the system would change it briefly
    for all threads.
    """
    return 0o666 & ~path.stat().st_mode
