"""One name, one class: no two classes of src have the same name."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src"
#: Names that two published interfaces have, each with the reason.
PUBLISHED: dict[str, str] = dict.fromkeys(("Job", "Pipeline", "PipelineManager"), "pypelinin has them, and its successor too")


def files() -> dict[str, str]:
    """Return the text of every module by path; templates are not modules."""
    paths = [path for path in sorted(SOURCE.rglob("*.py")) if "templates" not in path.parts]
    return {str(path.relative_to(SOURCE)): path.read_text(encoding="utf-8") for path in paths}


def shared_names(texts: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the places of every name that several classes have, ``PATH:LINE``."""
    places = defaultdict(list)
    for path, text in texts.items():
        for node in ast.walk(ast.parse(text, path)):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(f"{path}:{node.lineno}")
    return {name: found for name, found in places.items() if len(found) > 1}


def test_a_name_has_one_class() -> None:
    found = shared_names(files())
    wrong = {name: places for name, places in found.items() if len(places) > (2 if name in PUBLISHED else 1)}
    assert not wrong, f"several classes of one name; rename one: {wrong}"
    assert set(PUBLISHED) <= set(found), "PUBLISHED has a name that only one class has now"


@pytest.mark.parametrize(
    ("texts", "names"),
    [
        ({"a.py": "class A: ...", "b.py": "class B: ..."}, []),
        ({"a.py": "class A: ...", "b.py": "def f():\n    class A: ..."}, ["A"]),
        ({"a.py": "class A:\n    class A: ..."}, ["A"]),
    ],
)
def test_what_is_found(texts: dict[str, str], names: list[str]) -> None:
    assert list(shared_names(texts)) == names
