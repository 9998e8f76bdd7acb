"""A folder of wheels, packed into one file for the way to a host: many small files take long by ssh."""

from __future__ import annotations

import tarfile
from pathlib import Path

from fission.errors import UserError


def pack_wheelhouse(wheelhouse: Path, folder: Path) -> Path:
    """Pack the wheels of a folder into a tar archive and return it.

    Args:
        wheelhouse: the folder of wheels.
        folder: existing folder for the archive.

    Raises:
        UserError: it is not a folder, has no wheel, or cannot be read.
    """
    wheels = sorted(wheelhouse.glob("*.whl")) if wheelhouse.is_dir() else []
    if not wheels:
        what = "has none" if wheelhouse.is_dir() else "is not a folder"
        raise UserError(f"--wheelhouse must be a folder of wheels, but {wheelhouse} {what}; fill it with: python3 -m pip download")
    target = folder / "wheelhouse.tar"
    try:
        with tarfile.open(target, "w") as archive:
            for wheel in wheels:
                archive.add(wheel.resolve(), wheel.name)
    except OSError as why:
        raise UserError(f"the wheelhouse {wheelhouse} cannot be packed: {why.strerror}; make it readable, and room in {folder}") from None
    return target
