"""What users can import: every module loads, lists its public names and documents them; what is internal says so.

`scripts.build_docs.PUBLIC` lists the public modules: those that the API reference has a page for.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import fission
from scripts.build_docs import PUBLIC


def public_modules() -> Iterator[str]:
    """Yield the dotted names of all public modules; not ``__main__``, which would run."""
    for found in pkgutil.walk_packages(fission.__path__, "fission."):
        if not any(part.startswith("_") for part in found.name.split(".")):
            yield found.name


USERS_MEET = ("fission.core", "fission.errors", "fission.ports", "fission.client", "fission.testing")
MODULES = ["fission", *sorted(public_modules())]


def own_public(module: ModuleType) -> dict[str, object]:
    """Return the public classes and functions that this module itself defines."""
    return {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_") and (inspect.isclass(value) or inspect.isfunction(value)) and value.__module__ == module.__name__
    }


def without_docstring(module: ModuleType) -> Iterator[str]:
    """Yield public classes, functions and methods without a docstring, read from the source.

    The automatic docstrings of dataclasses and similar classes say nothing and do not count.
    Methods count where users meet them, and may inherit their contract.
    """
    tree = ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))
    if tree.body and ast.get_docstring(tree) is None:
        yield module.__name__
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    for node in tree.body:
        if not isinstance(node, (ast.ClassDef, *functions)) or node.name.startswith("_"):
            continue
        if ast.get_docstring(node) is None:
            yield f"{module.__name__}.{node.name}"
        if isinstance(node, ast.ClassDef) and module.__name__.startswith(USERS_MEET):
            public = [inner.name for inner in node.body if isinstance(inner, functions) and not inner.name.startswith("_")]
            for name in public:
                if not inspect.getdoc(getattr(getattr(module, node.name), name)):
                    yield f"{module.__name__}.{node.name}.{name}"


def test_there_are_modules() -> None:
    assert {"fission.errors", "fission.core.base", "fission.core.jobs", "fission.core.pipes", "fission.cli.main"} <= set(MODULES)


@pytest.mark.parametrize("name", MODULES)
def test_modules_can_be_imported_and_all_lists_existing_names(name: str) -> None:
    module = importlib.import_module(name)
    names = getattr(module, "__all__", None)
    if names is None:
        return
    assert len(set(names)) == len(names), f"twice in __all__: {sorted({n for n in names if names.count(n) > 1})}"
    missing = [each for each in names if not hasattr(module, each)]
    assert not missing, f"in __all__, but not in {name}: {missing}"
    unlisted = sorted(set(own_public(module)) - set(names))
    assert not unlisted, f"public in {name}, but not in its __all__: {unlisted}"
    assert list(names) == sorted(names, key=in_order), f"__all__ of {name} is not sorted (ruff check --fix does it)"


def in_order(name: str) -> tuple[int, str]:
    """Sort constants, classes, functions, each by name: the order of ruff's RUF022."""
    return (0 if name.isupper() else 1 if name[:1].isupper() else 2, name)


@pytest.mark.parametrize("name", MODULES)
def test_public_names_have_docstrings(name: str) -> None:
    undocumented = list(without_docstring(importlib.import_module(name)))
    assert not undocumented, "without a docstring: " + ", ".join(undocumented)


def test_the_scripts_of_pyproject_exist() -> None:
    main = importlib.import_module("fission.cli.main")
    assert callable(main.run)
    assert callable(main.admin)
    assert callable(main.debug)


# internal modules of which users still import a name, and why
SHOWN_TOO = {("fission.cli.main", "manage")}  # by every project's manage.py
EARLIER_NAMES = {"fission.recording": "fission.recordings"}
ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("name", sorted({*MODULES} - {*PUBLIC, *EARLIER_NAMES}))
def test_private_modules_are_marked(name: str) -> None:
    parts = name.split(".")
    headers = [str(importlib.import_module(".".join(parts[:length])).__doc__) for length in range(2, len(parts) + 1)]
    said = [bool(re.search(r"\b(Internal: may|modules are internal)", header)) for header in headers]
    assert any(said), f"{name}: its header, or that of its package, must say that it is internal, or scripts/build_docs.py list it"


@pytest.mark.parametrize(
    "name", [name for name in MODULES if any(public.startswith(f"{name}.") for public in PUBLIC) and name != "fission"]
)
def test_a_package_names_its_public_modules(name: str) -> None:
    sentence = re.search(r"Public: (.*?)\.", str(importlib.import_module(name).__doc__), re.DOTALL)
    assert sentence
    found = re.findall(r"`(\w+)`", sentence[1])
    assert [f"{name}.{module}" for module in found] == [public for public in PUBLIC if public.startswith(f"{name}.")]


@pytest.mark.parametrize(("earlier", "now"), EARLIER_NAMES.items())
def test_earlier_names_have_the_same_members(earlier: str, now: str) -> None:
    old, new = importlib.import_module(earlier), importlib.import_module(now)
    assert {name: getattr(old, name) for name in old.__all__} == {name: getattr(new, name) for name in new.__all__}


def shown_imports(page: Path) -> Iterator[tuple[str, str]]:
    """Yield (module, name) of each import from FISSION in a page or program that users read."""
    text = page.read_text(encoding="utf-8")
    for module, names in re.findall(r"^\s*from ((?:fission|pypelinin)[\w.]*) import (\([^)]*\)|[\w, ]+)", text, re.MULTILINE):
        yield from ((module, name.strip()) for name in names.strip("()").split(",") if name.strip())


def test_users_are_shown_public_names_only() -> None:
    for_users = {page for page in (ROOT / "docs").glob("*.md") if page.name not in ("architecture.md", "endpoint.md")}
    for_users |= {ROOT / "README.md", *(ROOT / "examples").rglob("*.py"), *(ROOT / "src/fission/project/templates").rglob("*.*")}
    shown = {(page.relative_to(ROOT).as_posix(), *found) for page in for_users for found in shown_imports(page)}
    assert len(shown) > 50
    public = {(module, name) for module in PUBLIC for name in importlib.import_module(module).__all__} | SHOWN_TOO
    assert not [found for found in sorted(shown) if found[1:] not in public]
