"""Builds FISSION's wheels, the same bytes from the same commit, and says how to install them.

    make wheel      builds into dist/
    make release    checks first that this is a release: the version, CHANGELOG.md, the tag, the commit

Nothing is published: `make release` ends with the command that does it.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
#: The distributions, by their folders: FISSION, and the import names of pypelinin.
PROJECTS = (".", "distributions/pypelinin")
#: The time stamp in wheels, whatever the environment says: 2020-02-02, as the build tool has it.
STAMP = "1580601600"


def main(words: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Build, or check and build; return the exit code."""
    parser = argparse.ArgumentParser(description="Build FISSION's wheels.")
    parser.add_argument("--release", action="store_true", help="check that this is a release, and that two builds are the same")
    parser.add_argument("--to", type=Path, metavar="DIR", help="folder for the wheels; default: dist")
    options = parser.parse_args(words)
    faults = release_faults(root) if options.release else []
    if faults:
        print("\n".join(f"Error: {fault}" for fault in faults), file=sys.stderr)
        return 1
    folder = options.to or root / "dist"
    try:
        made = build(root, folder)
        if options.release:
            with tempfile.TemporaryDirectory(prefix="fission-") as again:
                differing = [path.name for path in build(root, Path(again)) if digest(path) != digest(folder / path.name)]
            if differing:
                print(f"Error: two builds of a wheel must be the same, but differ: {', '.join(differing)}", file=sys.stderr)
                return 1
    except BuildFailed as why:
        print(f"Error: {why}", file=sys.stderr)
        return 1
    report(root, made)
    if options.release:
        print(f"\nThis is release {version(root)}. To publish it: python3 -m twine upload {' '.join(shown(path) for path in made)}")
    return 0


class BuildFailed(Exception):
    """The build tool has failed."""


def build(root: Path, folder: Path) -> list[Path]:
    """Build all wheels of a tree and return them, FISSION's first.

    Raises:
        BuildFailed: one cannot be built.
    """
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for project in PROJECTS:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".building-") as place:
            done = subprocess.run(
                [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(Path(place).absolute())],
                cwd=root / project,
                env={**os.environ, "SOURCE_DATE_EPOCH": STAMP},
                capture_output=True,
                text=True,
                check=False,
            )
            found = list(Path(place).glob("*.whl"))
            if done.returncode or not found:
                last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
                raise BuildFailed(
                    f"the wheel of {(root / project).resolve()} cannot be built: {last}; `make wheel` installs what builds it"
                )
            made.append(found[0].replace(folder.absolute() / found[0].name))
    return made


def report(root: Path, made: Sequence[Path]) -> None:
    """Print what was made, of which commit, and the lines that install it."""
    ours, names = (shown(path) for path in made)
    for path in made:
        print(f"{shown(path)}  sha256 {digest(path)}")
    commit, changes = git(root, "rev-parse", "--short", "HEAD"), git(root, "status", "--porcelain")
    if commit:
        print(f"of commit {commit}{', with changes that are not committed' if changes else ''}")
    print(f"\nInstall FISSION:            python3 -m pip install '{ours}[cluster]'")
    print(f"For scripts of pypelinin:   python3 -m pip install '{ours}[pipelines]' {names}")


def release_faults(root: Path) -> list[str]:
    """Return why the tree is not that of a release; empty: it is."""
    number, faults = version(root), []
    if re.fullmatch(r"\d+\.\d+\.\d+", number) is None:
        faults.append(f"__version__ in src/fission/__init__.py must be X.Y.Z, but is {number!r}; set it")
    heading = re.search(r"(?m)^## .*", (root / "CHANGELOG.md").read_text(encoding="utf-8"))
    first = heading[0] if heading is not None else "missing"
    if re.fullmatch(rf"## \[{re.escape(number)}\] - \d{{4}}-\d\d-\d\d", first) is None:
        faults.append(
            f"the first heading of CHANGELOG.md must be '## [{number}] - YEAR-MONTH-DAY', but is {first!r}; "
            "date it, or set __version__ in src/fission/__init__.py"
        )
    changed = git(root, "status", "--porcelain").splitlines()
    if changed:
        faults.append(f"a release must be a commit, but {len(changed)} files are changed or new; commit them: git status")
    if f"v{number}" not in git(root, "tag", "--points-at", "HEAD").splitlines():
        faults.append(
            f"the commit must have the tag v{number}, but has not; set it: git tag --annotate v{number} --message 'FISSION {number}'"
        )
    return faults


def version(root: Path) -> str:
    """Return FISSION's version, as its source has it."""
    found = re.search(r'(?m)^__version__ = "([^"]*)"', (root / "src" / "fission" / "__init__.py").read_text(encoding="utf-8"))
    return found[1] if found is not None else ""


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, hex digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def shown(path: Path) -> str:
    """Return a path as the user writes it: relative to the working folder if it is below it."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def git(root: Path, *words: str) -> str:
    """Return what git prints about the tree; empty if it is none of git's."""
    try:
        done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


if __name__ == "__main__":
    sys.exit(main())
