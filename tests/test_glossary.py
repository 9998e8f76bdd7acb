"""docs/glossary.md is the output of scripts/draw_glossary.py, and the files in it exist."""

from __future__ import annotations

import re

import pytest

from scripts.draw_glossary import PAGE, ROOT, SECTIONS, Term, file_of, main, page

TERMS = [term for terms in SECTIONS.values() for term in terms]
REDRAW = "a definition has moved: .venv/bin/python -m scripts.draw_glossary"


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), REDRAW
    assert main(["--check"]) == 0, REDRAW


def test_every_file_on_the_page_exists() -> None:
    files = re.findall(r"\| `([^`]+)` \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(files) == len(TERMS)
    assert [file for file in files if not (ROOT / "src" / "fission" / file).is_file()] == []


def test_one_row_for_each_word() -> None:
    words = [term.word for term in TERMS]
    assert sorted({word for word in words if words.count(word) > 1}) == []


def test_every_row_is_one_sentence() -> None:
    assert [term.word for term in TERMS if not re.fullmatch(r"[A-Z][^.]*(\.[a-z][^.]*)*\.", term.meaning)] == []


@pytest.mark.parametrize("files", [{}, {"Name": ["a.py", "b.py"]}])
def test_a_name_that_is_not_defined_once_is_refused(files: dict[str, list[str]]) -> None:
    with pytest.raises(LookupError, match="Name"):
        file_of(Term("word", "other word", "A sentence.", "Name"), files)
