"""FISSION's own wheel, of the version that runs here: found, built from the source tree, or packed from the installed files."""

from __future__ import annotations

import base64
import csv
import hashlib
import importlib.util
import io
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import fission
from fission.errors import UserError

#: Time stamp of every file in a packed wheel, the oldest that a ZIP archive can have: the same files give the same wheel.
STAMP = (1980, 1, 1, 0, 0, 0)
#: Files of an installation that are not part of its wheel.
_NOT_IN_A_WHEEL = re.compile(r"\.dist-info/(RECORD|INSTALLER|REQUESTED|direct_url\.json)$|(^|/)__pycache__/|\.pyc$")
#: Name of a wheel: name, version, optional build tag, three tags.
_NAME = re.compile(r"(?P<name>[^-]+)-(?P<version>[^-]+)(-\d[^-]*)?-[^-]+-[^-]+-[^-]+\.whl")
OTHER_WAY = "build one elsewhere (make wheel in a clone), and name it with --wheel"
#: The distribution of the import names of pypelinin, and its folder in the source tree.
PYPELININ = "fission-networks-pypelinin"
PYPELININ_TREE = Path("distributions") / "pypelinin"


@dataclass(frozen=True)
class Wheel:
    """A wheel of FISSION.

    Attributes:
        path: the file.
        version: version of FISSION.
        digest: digest of its content, hex digits.
    """

    path: Path
    version: str
    digest: str


def obtain_wheel(given: Path | None, folder: Path) -> Wheel:
    """Return a wheel of FISSION: the given one, else one of the version that runs here.

    Args:
        given: a wheel; None: build one if FISSION runs from its source tree, else pack the
            installed files.
        folder: existing folder for a new wheel.

    Raises:
        UserError: the file is not a wheel, or none can be made.
    """
    if given is not None:
        return _opened(given)
    tree = source_tree()
    return _opened(_build(tree, folder) if tree is not None else pack_installed(folder))


def obtain_pypelinin(made: Wheel, given: Path | None, folder: Path) -> Wheel | None:
    """Return the wheel that brings ``import pypelinin`` to hosts; None: this machine has none either.

    Args:
        made: FISSION's wheel.
        given: where the user has FISSION's wheel from; the other one may lie beside it. None: build one
            if FISSION runs from its source tree, else pack the installed files.
        folder: existing folder for a new wheel.

    Raises:
        UserError: it cannot be made.
    """
    name = PYPELININ.replace("-", "_")
    if given is not None:
        beside = sorted(given.parent.glob(f"{name}-{made.version}-*.whl"))
        return _read(beside[0]) if beside else None
    tree = source_tree()
    if tree is not None:
        return _read(_build(tree / PYPELININ_TREE, folder)) if (tree / PYPELININ_TREE).is_dir() else None
    try:
        found = metadata.distribution(PYPELININ)
    except metadata.PackageNotFoundError:
        return None
    return _read(_packed(found, folder)) if found.version == made.version and found.read_text("WHEEL") is not None else None


def source_tree() -> Path | None:
    """Return the root of the source tree from which FISSION runs; None: it is installed."""
    root = Path(fission.__file__).resolve().parent.parent.parent
    return root if (root / "pyproject.toml").is_file() and (root / "src" / "fission").is_dir() else None


def pack_installed(folder: Path) -> Path:
    """Pack the installed files of FISSION into a wheel and return it.

    Raises:
        UserError: FISSION was not installed from a wheel, or some of its files are missing.
    """
    found = _installation()
    if found is None or found.read_text("WHEEL") is None:
        raise UserError(f"a wheel of FISSION must be copied to the hosts, but this FISSION was not installed from one; {OTHER_WAY}")
    return _packed(found, folder)


def _packed(found: metadata.Distribution, folder: Path) -> Path:
    try:
        return pack_distribution(found, folder)
    except OSError as why:
        raise UserError(f"a file of the installed FISSION cannot be read: {why.strerror}: {why.filename}; install it again") from None


def pack_distribution(found: metadata.Distribution, folder: Path) -> Path:
    """Pack the installed files of a distribution into a wheel and return it.

    Args:
        found: a distribution that was installed from a wheel.
        folder: existing folder for the new wheel.

    Raises:
        OSError: one of its files cannot be read, or the wheel cannot be written.
    """
    name = re.sub(r"[-_.]+", "_", found.metadata["Name"]).lower()
    tags = re.findall(r"(?m)^Tag: (\S+)", found.read_text("WHEEL") or "")
    files = {path.as_posix(): path for path in found.files or () if path.parts[0] != ".." and not _NOT_IN_A_WHEEL.search(path.as_posix())}
    info = next(path.parent.as_posix() for path in files.values() if path.name == "WHEEL")
    rows, target = [], folder / f"{name}-{found.version}-{_joined(tags)}.whl"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for place, path in sorted(files.items()):
            data = path.read_binary()
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            rows.append((place, f"sha256={digest}", str(len(data))))
            archive.writestr(zipfile.ZipInfo(place, STAMP), data, zipfile.ZIP_DEFLATED)
        record = io.StringIO()
        csv.writer(record, lineterminator="\n").writerows([*rows, (f"{info}/RECORD", "", "")])
        archive.writestr(zipfile.ZipInfo(f"{info}/RECORD", STAMP), record.getvalue(), zipfile.ZIP_DEFLATED)
    return target


def _joined(tags: Sequence[str]) -> str:
    """Return tags as one, as in the name of a wheel: each of its three parts lists what occurs."""
    parts = zip(*(tag.split("-") for tag in tags or ["py3-none-any"]), strict=True)
    return "-".join(".".join(sorted(set(part))) for part in parts)


def _installation() -> metadata.Distribution | None:
    """Return the installed distribution that has this package, whatever its name; not an older one that has left its metadata."""
    package = Path(fission.__file__).resolve()
    all_found = []
    for found in metadata.distributions():
        for path in found.files or ():
            if path.as_posix() == "fission/__init__.py" and Path(str(path.locate())).resolve() == package:
                all_found.append(found)
    return next((found for found in all_found if found.metadata["Name"] != "fission"), next(iter(all_found), None))


def _build(tree: Path, folder: Path) -> Path:
    folder = Path(tempfile.mkdtemp(dir=folder))
    words = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet", "--disable-pip-version-check", "--wheel-dir", str(folder)]
    if importlib.util.find_spec("hatchling") is not None:
        words += ["--no-build-isolation"]  # needs no package index
    done = subprocess.run([*words, str(tree)], capture_output=True, text=True, check=False)
    made = sorted(folder.glob("*.whl"))
    if done.returncode or len(made) != 1:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        reason = next((line for line in lines if "rror" in line), lines[-1] if lines else f"exit code {done.returncode}")
        raise UserError(f"FISSION's wheel cannot be built from {tree}: {reason:.300}; install hatchling here, or {OTHER_WAY}")
    return made[0]


def _opened(path: Path) -> Wheel:
    match = _NAME.fullmatch(path.name)
    if match is None or not zipfile.is_zipfile(path):
        raise UserError(f"a wheel must be a file NAME-VERSION-TAGS.whl, but is {path}; {OTHER_WAY}")
    with zipfile.ZipFile(path) as archive:
        if "fission/__init__.py" not in archive.namelist():
            raise UserError(f"the wheel must be one of FISSION, but {path} has no fission/__init__.py; {OTHER_WAY}")
    return _read(path)


def _read(path: Path) -> Wheel:
    match = _NAME.fullmatch(path.name)
    assert match is not None, path
    digest = hashlib.sha256()
    with zipfile.ZipFile(path) as archive:
        for name in sorted(archive.namelist()):  # the content counts: two builds of one tree may differ in their time stamps
            digest.update(f"{name}\0".encode() + hashlib.sha256(archive.read(name)).digest())
    return Wheel(path.resolve(), match["version"], digest.hexdigest())
