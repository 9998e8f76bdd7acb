"""`make docs` builds without warnings, and the API reference has exactly the public names."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from scripts.build_docs import PUBLIC, build, collect


def test_every_public_module_lists_its_public_names() -> None:
    assert [name for name in PUBLIC if not getattr(importlib.import_module(name), "__all__", ())] == []


def test_the_site_has_the_pages_of_the_repository(tmp_path: Path) -> None:
    collect(tmp_path / "docs")
    pages = {path.relative_to(tmp_path / "docs").as_posix() for path in (tmp_path / "docs").rglob("*.md")}
    assert pages >= {"README.md", "CONTRIBUTING.md", "docs/README.md", "docs/jobs.md", "examples/README.md", "api/fission.core.jobs.md"}
    assert {name.removeprefix("api/").removesuffix(".md") for name in pages if name.startswith("api/")} == {*PUBLIC, "README"}


@pytest.mark.slow
@pytest.mark.timeout(300)  # 6 s of CPU time
def test_the_site_has_every_public_name_and_no_warnings(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code = build(tmp_path)
    assert code == 0, capfd.readouterr().err
    for name in PUBLIC:
        page = (tmp_path / "site" / "api" / f"{name}.html").read_text(encoding="utf-8")
        documented = re.findall(rf'id="{re.escape(name)}\.(\w+)" class="doc doc-heading"', page)
        assert sorted(documented) == sorted(importlib.import_module(name).__all__), name
