"""docs/architecture.md names existing files, links its sections, and says where to change what."""

from __future__ import annotations

import re

import pytest

from scripts.draw_glossary import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
PATH = re.compile(r"`((?:[\w.]+/)+(?:[\w.]+)?|\w+\.py)`")
ELSEWHERE = {"config.py"}  # the user's


def paths() -> list[str]:
    """Return what the page writes as a path: with a slash, or as a module's name."""
    return sorted(set(PATH.findall(PAGE)) - ELSEWHERE)


def exists(path: str) -> bool:
    """Return whether the path is in the repository or package, as the page's start says."""
    return any((folder / path).is_dir() if path.endswith("/") else (folder / path).is_file() for folder in (ROOT, ROOT / "src" / "fission"))


def test_paths_are_found() -> None:
    assert {"protocol/window.py", "cli/commands/", "errors.py", "tests/conformance/links.py", "docs/config.md"} <= set(paths())
    assert not exists("protocol/no_such_file.py")
    assert not exists("protocol/window.py/")


def test_every_file_named_exists() -> None:
    assert [path for path in paths() if not exists(path)] == []


@pytest.mark.parametrize(
    "thing",
    "predefined job; setting; command; column of; exit code; release rule; failure detector; transport; cluster engine; recording format; "
    "metric; message to the user; message between; default window".split("; "),
)
def test_the_page_says_where_to_change_it(thing: str) -> None:
    rows = PAGE.partition("## To change X, go to Y")[2].splitlines()
    found = [row for row in rows if row.startswith("| ") and thing in row.split("|")[1]]
    assert found, f"no row for: {thing}"
    assert all(PATH.search(row) or "](#" in row for row in found)


def test_every_section_is_in_the_list_at_the_top() -> None:
    titles = re.findall(r"^## (.+)$", PAGE, re.MULTILINE)
    assert re.findall(r"^- \[(.+?)\]\(#", PAGE, re.MULTILINE) == titles
