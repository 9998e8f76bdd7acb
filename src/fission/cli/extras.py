"""What FISSION's extras install, and the command for it, which works wherever FISSION was installed from."""

from __future__ import annotations

import re
import shlex
from importlib import metadata

#: The script by which FISSION's distribution is found, whatever its name: another project's may be `fission`.
_SCRIPT = ("fission", "fission.cli.main:run")


def distribution() -> metadata.Distribution | None:
    """Return FISSION's installed distribution, the present one if an older one was left; None: it runs without any."""
    found = [
        entry.dist for entry in metadata.entry_points(group="console_scripts", name=_SCRIPT[0]) if entry.value == _SCRIPT[1] and entry.dist
    ]
    return next((one for one in found if one.metadata["Name"] != "fission"), found[0] if found else None)


def requirements(extra: str) -> list[str]:
    """Return what an extra of the installed distribution lists, as pip takes it."""
    here = distribution()
    lines = [] if here is None else here.requires or []
    return [line.partition(";")[0].strip() for line in lines if re.search(rf"""extra\s*==\s*['"]{re.escape(extra)}['"]""", line)]


def install_command(extra: str) -> str:
    """Return the command that installs what an extra lists.

    It needs neither FISSION's wheel nor its repository.
    """
    listed = requirements(extra)
    if not listed:
        return f"in a clone of FISSION's repository: python3 -m pip install '.[{extra}]'"
    return f"python3 -m pip install {shlex.join(listed)}"
