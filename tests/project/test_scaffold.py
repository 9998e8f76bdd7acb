"""startproject and startnetwork make the trees that the documents print, and refuse unsuitable names and places."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fission.errors import UserError
from fission.project.config import Config, list_networks
from fission.project.scaffold import COMMAND_NAMES, start_network, start_project
from fission.project.settings import SETTINGS, XML_NAMES

# As printed in the documents; what is in no folder there (.gitkeep) is hidden in such trees.
PROJECT = """
├── manage.py
└── shared
    ├── __init__.py
    ├── jobs
    │   ├── __init__.py
    │   └── jobs.py
    ├── nodes
    │   ├── __init__.py
    │   └── nodes.py
    ├── pipes
    │   ├── __init__.py
    │   └── pipes.py
    └── source
"""
NETWORK = """
├── manage.py
├── shared
│   ├── __init__.py
│   ├── jobs
│   │   ├── __init__.py
│   │   └── jobs.py
│   ├── nodes
│   │   ├── __init__.py
│   │   └── nodes.py
│   ├── pipes
│   │   ├── __init__.py
│   │   └── pipes.py
│   └── source
└── my_network
    ├── config.py
    ├── __init__.py
    ├── jobs
    │   ├── __init__.py
    │   └── jobs.py
    ├── nodes
    │   ├── __init__.py
    │   └── nodes.py
    ├── pipes
    │   ├── __init__.py
    │   └── pipes.py
    └── source
"""


def printed(tree: str) -> set[str]:
    """The paths of a tree as the documents print it."""
    paths, stack = set(), []
    for line in tree.strip("\n").splitlines():
        indent, name = re.fullmatch(r"([│├└─\s]*)(\S+)", line).groups()  # type: ignore[union-attr]
        stack = [*stack[: len(indent) // 4 - 1], name]
        paths.add("/".join(stack))
    return paths


def on_disk(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if not path.name.startswith(".")}


def test_a_project_is_the_documents_tree(tmp_path: Path) -> None:
    root = start_project("my_project", tmp_path)
    assert root == tmp_path / "my_project"
    assert on_disk(root) == printed(PROJECT)
    assert len(printed(PROJECT)) == 13
    assert (root / "manage.py").stat().st_mode & 0o100
    assert list_networks(root) == []


def test_a_network_is_the_documents_tree(tmp_path: Path) -> None:
    root = start_project("my_project", tmp_path)
    assert start_network("my_network", root) == root / "my_network"
    assert on_disk(root) == printed(NETWORK)
    assert list_networks(root) == ["my_network"]


def test_source_folders_survive_version_control(tmp_path: Path) -> None:
    root = start_project("p", tmp_path)
    start_network("n", root)
    assert list((root / "shared" / "source").iterdir())
    assert list((root / "n" / "source").iterdir())


def test_every_python_file_compiles_and_no_mark_is_left(tmp_path: Path) -> None:
    root = start_project("p", tmp_path)
    start_network("n", root)
    for path in root.rglob("*.py"):
        ast.parse(path.read_text())
        assert "@" not in path.read_text(), path


def test_the_template_has_every_setting_with_its_default(tmp_path: Path) -> None:
    start_network("n", tmp_path)
    text = (tmp_path / "n" / "config.py").read_text()
    uncommented = re.sub(r"^# ([A-Z_]+ = .*)$", r"\1", text, flags=re.M)
    names: dict[str, object] = {}
    exec(compile(uncommented, "config.py", "exec"), names)
    assert {name for name in names if name.isupper()} == set(SETTINGS)
    for name, setting in SETTINGS.items():
        if name not in ("USER", "REMOTE_ROOT"):
            parsed = setting.parse(names[name])
            assert parsed == setting.default, name
            assert parsed == getattr(Config(), setting.field), name
    assert all(role in text for role in XML_NAMES)
    assert names["NODES"] == []


@pytest.mark.parametrize("name", ["", "1net", "my net", "a/b", "../x", ".", "-x", "a.b"])
def test_names_that_are_no_identifiers_are_refused(tmp_path: Path, name: str) -> None:
    for start in (start_project, start_network):
        with pytest.raises(UserError, match=r"must be .*is " + re.escape(repr(name))):
            start(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_project_may_have_hyphens_a_network_not(tmp_path: Path) -> None:
    start_project("my-project", tmp_path)
    with pytest.raises(UserError, match="imported as a package"):
        start_network("my-network", tmp_path)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("class", "keyword of Python"),
        ("simulate", "command of FISSION"),
        ("status", "command of FISSION"),
        ("json", "must not be a module of Python"),
        ("fission", "must not be a module of Python or FISSION"),
    ],
)
def test_names_that_mean_something_else_are_refused(tmp_path: Path, name: str, why: str) -> None:
    for start in (start_project, start_network):
        with pytest.raises(UserError, match=why):
            start(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_network_must_not_hide_an_installed_package(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="hide the installed package"):
        start_network("click", tmp_path)


@pytest.mark.parametrize("make", [lambda path: path.mkdir(), lambda path: path.write_text("mine"), lambda path: path.symlink_to("nowhere")])
def test_existing_files_are_refused_and_left_alone(tmp_path: Path, make) -> None:  # type: ignore[no-untyped-def]
    make(tmp_path / "taken")
    before = [(path, path.is_symlink(), path.is_file() and path.read_text()) for path in tmp_path.rglob("*")]
    for start in (start_project, start_network):
        with pytest.raises(UserError, match="exists; choose"):
            start("taken", tmp_path)
    assert [(path, path.is_symlink(), path.is_file() and path.read_text()) for path in tmp_path.rglob("*")] == before


def test_a_parent_that_is_missing_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file"):
        start_project("p", tmp_path / "nowhere")


def test_a_half_made_network_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, *args: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(UserError, match="No space left"):
        start_network("n", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_manage_py_says_how_to_install(tmp_path: Path) -> None:
    root = start_project("p", tmp_path)
    done = subprocess.run([sys.executable, "-I", "-S", "manage.py", "n", "check"], cwd=root, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "FISSION is not installed for this Python" in done.stderr


def test_every_command_name_of_the_contract_is_reserved() -> None:
    contract = "startnetwork simulate run check debug test interactive graphviz show collect status top shell"
    assert set(contract.split()) <= COMMAND_NAMES
