"""`make release` refuses a tree that is not a release's, and says all that is wrong; it publishes nothing."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import fission
from scripts import build_wheels

ROOT = Path(__file__).parent.parent
VERSION = fission.__version__


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A repository whose commit is a release, with little of FISSION in it."""
    root = tmp_path / "tree"
    for name in ("distributions", "src/pypelinin"):
        shutil.copytree(ROOT / name, root / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", ".gitignore", "src/fission/__init__.py"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    (root / "CHANGELOG.md").write_text(f"# Changelog\n\n## [{VERSION}] - 2026-12-01\n\n### Added\n\n## [0.0.1] - 2026-01-01\n")
    git(root, "init", "--quiet")
    commit(root)
    return root


def git(root: Path, *words: str) -> None:
    subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@example.org", *words], cwd=root, check=True, timeout=30)


def commit(root: Path) -> None:
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "a release")
    git(root, "tag", "--force", f"v{VERSION}")


def unreleased(root: Path) -> None:
    text = (root / "CHANGELOG.md").read_text()
    (root / "CHANGELOG.md").write_text(text.replace("## [", "## [Unreleased]\n\n## [", 1))
    commit(root)


def other_version(root: Path) -> None:
    path = root / "src" / "fission" / "__init__.py"
    path.write_text(path.read_text().replace(f'"{VERSION}"', '"7.0.0.dev1"'))
    commit(root)


WRONG: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "not dated": (
        unreleased,
        [f"the first heading of CHANGELOG.md must be '## [{VERSION}] - YEAR-MONTH-DAY', but is '## [Unreleased]'; date it"],
    ),
    "not committed": (lambda root: (root / "LICENSE").write_text("another one"), ["must be a commit, but 1 files are changed or new"]),
    "not tagged": (
        lambda root: git(root, "tag", "--delete", f"v{VERSION}"),
        [f"must have the tag v{VERSION}, but has not; set it: git tag"],
    ),
    "another version": (
        other_version,
        [
            "must be X.Y.Z, but is '7.0.0.dev1'",
            f"must be '## [7.0.0.dev1] - YEAR-MONTH-DAY', but is '## [{VERSION}]",
            "must have the tag v7.0.0.dev1",
        ],
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_other_trees_are_refused(tree: Path, capfd: pytest.CaptureFixture[str], what: str) -> None:
    """With all that is wrong, and nothing is built."""
    spoil, said = WRONG[what]
    spoil(tree)
    capfd.readouterr()
    assert build_wheels.main(["--release"], tree) == 1
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == len(said), lines
    for line, text in zip(lines, said, strict=True):
        assert line.startswith("Error: ")
        assert text in line
    assert not (tree / "dist").exists()


@pytest.mark.slow
def test_a_release_is_built_and_not_published(tree: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert build_wheels.main(["--release"], tree) == 0
    said = capfd.readouterr().out
    names = [f"fission_networks{more}-{VERSION}-py3-none-any.whl" for more in ("", "_pypelinin")]
    assert sorted(path.name for path in (tree / "dist").iterdir()) == names
    assert f"This is release {VERSION}. To publish it: python3 -m twine upload" in said
    assert "not committed" not in said


@pytest.mark.slow
def test_builds_that_differ_are_refused(tree: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A build that takes the clock's time, not the fixed one."""
    stamps = iter(["1580601600", "1580601600", "1680601600", "1680601600"])
    build = build_wheels.build

    def by_the_clock(root: Path, folder: Path) -> list[Path]:
        monkeypatch.setattr(build_wheels, "STAMP", next(stamps))
        next(stamps)
        return build(root, folder)

    monkeypatch.setattr(build_wheels, "build", by_the_clock)
    assert build_wheels.main(["--release"], tree) == 1
    assert "two builds of a wheel must be the same, but differ: fission_networks-" in capfd.readouterr().err


@pytest.mark.slow
def test_a_build_that_fails_says_why(tree: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tree / "README.md").unlink()
    assert build_wheels.main([], tree) == 1
    error = capfd.readouterr().err
    assert "cannot be built: " in error
    assert "README.md" in error
    assert "Traceback" not in error
