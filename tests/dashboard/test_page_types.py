"""The page's JavaScript agrees with the types that its comments declare."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from scripts import check_page


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """The tools of `make browser`, with a folder of their own to check in."""
    folder = tmp_path / "tools"
    folder.mkdir()
    (folder / "typescript").symlink_to(check_page.TOOLS / "typescript")
    shutil.copy(check_page.TOOLS / "uPlot.d.ts", folder)
    return folder


def test_the_page_agrees(tools: Path) -> None:
    assert check_page.check(check_page.PAGE, tools) == (0, "")


def test_mistakes_are_found(tools: Path, tmp_path: Path) -> None:
    page = shutil.copytree(check_page.PAGE, tmp_path / "page")
    (page / "model.js").write_text((page / "model.js").read_text("utf-8").replace("export function rate", "export function rat"), "utf-8")
    (page / "more.js").write_text(
        "/** @param {number} value */\nexport function twice(value) {\n  return value.length;\n}\nconst left = 1;\n"
    )
    code, found = check_page.check(page, tools)
    assert code != 0
    assert "page/main.js" in found  # imports a name that is gone
    assert "more.js(3,16): error TS2339: Property 'length' does not exist on type 'number'." in found
    assert "more.js(5,7): error TS6133: 'left' is declared but its value is never read." in found
