"""The files of a project's ``ansible/``, and those that FISSION brings."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from fission.errors import UserError

#: The inventory, below the folder that `find_folder` returns.
HOSTS = Path("inventories", "production", "hosts.yml")
SETTINGS = Path("inventories", "production", "group_vars", "fissionservers", "setting.yml")
PACKAGED = Path(__file__).parent / "ansible"


def find_folder(start: Path) -> Path:
    """Return the folder ``ansible/`` of a project: that of the first parent folder which has one.

    Raises:
        UserError: there is none.
    """
    for folder in (start, *start.parents):
        if (folder / "ansible" / HOSTS).is_file():
            return folder / "ansible"
    raise UserError(f"there is no ansible/{HOSTS} in {start} or above it; make it with: fission provision init")


def program(name: str) -> str:
    """Return the path of one of Ansible's programs: of this virtual environment, or else of PATH.

    Raises:
        UserError: it is not installed.
    """
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.is_file() else shutil.which(name)
    if found is None:
        raise UserError(
            f"{name} must be installed, but is not; install FISSION with its extra 'provision', or Ansible itself: python3 -m pip install "
            "ansible-core"
        )
    return found


def make_folder(parent: Path, *, roles: bool = False) -> list[Path]:
    """Write ``ansible/`` into a folder and return the new files. Existing files stay as they are.

    Args:
        parent: the project.
        roles: whether to copy the role too, to change it; the copy takes precedence from then on.

    Raises:
        UserError: a file cannot be written.
    """
    made = []
    sources = {path.relative_to(PACKAGED / "project"): path for path in sorted((PACKAGED / "project").rglob("*"))}
    if roles:
        sources.update({path.relative_to(PACKAGED): path for path in sorted((PACKAGED / "roles").rglob("*"))})
    try:
        for relative, source in sources.items():
            target = parent / "ansible" / relative
            if source.is_file() and not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)
                made.append(target)
    except OSError as why:
        raise UserError(f"ansible/ cannot be written into {parent}: {why.strerror}; choose a folder that you can write") from None
    return made
