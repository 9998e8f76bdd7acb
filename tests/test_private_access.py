"""No module uses private attributes of another one, neither in src nor in the tests' helpers.

Counted are ``x._name``, where x is not self, cls or super() and the module itself does not define
``_name``, and ``from m import _name``. Only names that the project defines count, not those of
other projects' modules, such as `os._exit`. Names that begin with ``_fission_`` are the project's
own inside users' classes, where a plain name may collide with the user's: they are internal to the
package.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
#: Exact number left in each helper. Lower it with each fix; src and all other helpers have none.
LEFT: dict[str, int] = {
    "tests/stateful/sim_broken.py": 1,
}
OWN = "_fission_"
#: Published methods of named tuples.
OF_TUPLES = frozenset({"_replace", "_asdict", "_fields"})


def files() -> dict[str, str]:
    """Return the text of every module of src and of every helper of the tests, by path."""
    paths = [path for path in sorted((ROOT / "src").rglob("*.py")) if "templates" not in path.parts]
    paths += [path for path in sorted((ROOT / "tests").rglob("*.py")) if not path.name.startswith("test_")]
    return {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in paths}


def is_private(name: str) -> bool:
    """Return whether a name is private to its module or class."""
    special = name.startswith("__") and name.endswith("__")
    return name.startswith("_") and bool(name.strip("_")) and not special and name not in OF_TUPLES and not name.startswith(OWN)


def defined_in(tree: ast.AST) -> set[str]:
    """Return the private names that a module defines.

    These are functions, classes, variables, attributes and entries of ``__slots__``.
    """
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and is_self(node.value):
            found.add(node.attr)
        elif isinstance(node, ast.Assign) and any(isinstance(target, ast.Name) and target.id == "__slots__" for target in node.targets):
            found |= {inner.value for inner in ast.walk(node.value) if isinstance(inner, ast.Constant) and isinstance(inner.value, str)}
    return {name for name in found if is_private(name)}


def is_self(node: ast.AST) -> bool:
    """Return whether an expression is self, cls or super()."""
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id == "super"
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


def outside_modules(tree: ast.AST) -> set[str]:
    """Return the names under which a module imports other projects' modules, such as ``os``."""
    imported = [alias for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    return {alias.asname or alias.name for alias in imported if alias.name.split(".")[0] not in ("fission", "pypelinin", "tests", "a")}


def accesses(texts: Mapping[str, str]) -> Iterator[tuple[str, int, str]]:
    """Yield every access across a module border: (path, line, what)."""
    trees = {path: ast.parse(text, path) for path, text in texts.items()}
    own = {path: defined_in(tree) for path, tree in trees.items()}
    project = set().union(*own.values())
    for path, tree in trees.items():
        foreign, outside = project - own[path], outside_modules(tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and node.attr in foreign and not is_self(node.value):
                if isinstance(node.value, ast.Name) and node.value.id in outside:
                    continue
                yield path, node.lineno, ast.unparse(node)
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    if is_private(alias.name) and alias.name in project:
                        yield path, node.lineno, f"from {node.module} import {alias.name}"


def test_private_attributes_stay_in_their_modules() -> None:
    found = list(accesses(files()))
    counted = Counter(path for path, _, _ in found)
    grown = {path for path, number in counted.items() if number > LEFT.get(path, 0)}
    lines = [f"{path}:{line}: {what}" for path, line, what in found if path in grown]
    assert not grown, "private attributes of other modules; make them public, or move what needs them:\n" + "\n".join(lines)
    assert counted == LEFT, "fewer than LEFT says: write the new numbers there"


A = "class A:\n    __slots__ = ('_slot',)\n    def __init__(self):\n        self._own = 1\n    def _method(self): ...\n_VARIABLE = 1\n"


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("a._own", 1),
        ("a._own = 2", 1),
        ("a.b._method()", 1),
        ("x._slot, x._slot", 2),
        ("from a import _VARIABLE", 1),
        ("import a\na._VARIABLE", 1),
        ("class B(A):\n    def f(self): return self._own, super()._method()", 0),
        ("class B:\n    _own = 1\nB()._own", 0),
        ("import os\nos._own(1)", 0),
        ("a._fission_name, a.__class__, a.own", 0),
    ],
)
def test_what_is_counted(text: str, number: int) -> None:
    assert len(list(accesses({"a.py": A, "b.py": text}))) == number
