"""A page of docs/ that is drawn from the code: writes it, or checks that it is current; the part that all such scripts share."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def page_path(name: str) -> Path:
    """Return the path of a page in docs/."""
    return ROOT / "docs" / name


def cell(text: str) -> str:
    """Return a text as a cell of a table."""
    return text.replace("``", "`").replace("|", "\\|")


def first_paragraph(doc: str | None) -> str:
    """Return the first paragraph of a docstring, as one line."""
    return " ".join((doc or "").strip().split("\n\n")[0].split()).replace("``", "`")


def write_or_check(path: Path, page: str, arguments: list[str], usage: str | None) -> int:
    """Write a page, or check it.

    Args:
        path: file of the page.
        page: text that it must have.
        arguments: of the command line: none to write the page, ``--check`` to compare it.
        usage: text for wrong arguments, the script's docstring.

    Returns:
        The exit code: 0; 1 if the checked page differs; 2 for wrong arguments.
    """
    if arguments == ["--check"]:
        return 0 if path.exists() and path.read_text(encoding="utf-8") == page else 1
    if arguments:
        sys.stderr.write(f"{usage}\n")
        return 2
    path.parent.mkdir(exist_ok=True)
    path.write_text(page, encoding="utf-8")
    return 0
