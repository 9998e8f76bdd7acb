"""Other versions of FISSION for tests: copies of this one with another number."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import fission
from fission.provision.wheel import obtain_wheel

#: The version here, the next one of the same line, and the first one of the next line.
HERE: str = fission.__version__
LINE, _, PATCH = HERE.rpartition(".")
MAJOR, _, MINOR = LINE.partition(".")
NEXT, OTHER = f"{LINE}.{int(PATCH) + 1}", f"{MAJOR}.{int(MINOR) + 1}.0"


def tree_of(folder: Path, version: str) -> dict[str, str | None]:
    """Return the environment in which another version runs: a copy of this one, except for its number."""
    source = Path(fission.__path__[0])
    shutil.copytree(source, folder / version / "fission", ignore=shutil.ignore_patterns("__pycache__"))
    init = folder / version / "fission" / "__init__.py"
    init.write_text(renumbered(init.read_text(), version))
    return {"PYTHONPATH": str(folder / version)}


def wheel_of(folder: Path, version: str) -> Path:
    """Return the wheel of another version: this one's, except for its number. It has no list of hashes, which pip does not need."""
    made = obtain_wheel(None, folder).path
    target = folder / made.name.replace(f"-{HERE}-", f"-{version}-")
    with zipfile.ZipFile(made) as source, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as copy:
        for name in source.namelist():
            data = source.read(name)
            if name == "fission/__init__.py":
                data = renumbered(data.decode(), version).encode()
            elif name.endswith(".dist-info/METADATA"):
                data = data.replace(f"\nVersion: {HERE}\n".encode(), f"\nVersion: {version}\n".encode(), 1)
            elif name.endswith(".dist-info/RECORD"):
                names = [line.partition(b",")[0] for line in data.splitlines()]
                data = b"".join(name.replace(f"-{HERE}.".encode(), f"-{version}.".encode()) + b",,\n" for name in names)
            copy.writestr(name.replace(f"-{HERE}.dist-info/", f"-{version}.dist-info/"), data)
    return target


def renumbered(text: str, version: str) -> str:
    """Return the text of ``fission/__init__.py`` with another version."""
    line = f'__version__ = "{HERE}"'
    assert line in text
    return text.replace(line, f'__version__ = "{version}"')
