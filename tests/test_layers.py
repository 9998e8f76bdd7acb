"""The layers of DESIGN.md, section 3: a file imports only from its own folder or lower floors.

Imports must not form a cycle, neither between modules nor between the rooms (folders) of a floor.
The imports are read from the source with ast, so
those inside functions count too. Imports under TYPE_CHECKING count as well, except for cycles: a
job has pipes and a pipe has jobs, and only their types know each other. A module's name in a
string, which is how a job's process learns its adapters, is not an import.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src"

# Top-level name in the package: floor. A folder and everything below it share one. The package
# itself is above the ports, which it may re-export, so nothing below imports from it.
FLOORS = {
    "errors": 0,
    "durable": 0,
    "ownership": 0.5,
    "core": 1,
    "protocol": 2,
    "posix": 2.5,
    "ports": 3,
    "__init__": 3.5,
    "adapters": 4,
    "runtime": 5,
    "project": 5,
    "service": 5.5,
    "client": 6,
    "pipelines": 6,
    "testing": 7,
    "emulate": 7.5,
    "recording": 7.5,
    "recordings": 5.5,
    "connectors": 5.5,
    "cli": 8,
    "visualize": 8.5,
    "dashboard": 7,
    "provision": 7,
    "manager": 8.5,
    "__main__": 9,
}
# Stricter than the floors: runtime receives its adapters.
NOT_INTO = {"runtime": {"adapters"}}
# The rooms of the client, in their order: each imports only from earlier ones.
CLIENT_ROOMS = ("folders", "reports", "serve", "run", "attach", "dry_run")
# Messages check their fields with limits that modules beside them define.
USES_ITS_PARENT = {"fission.protocol.messages", "fission.protocol.messages.pipelines"}
# Sans-IO: `now` and the random number generator are arguments.
IO_MODULES = frozenset(
    "asyncio concurrent ctypes fcntl glob http logging mmap multiprocessing os pathlib queue random sched select selectors "
    "shutil signal socket socketserver ssl subprocess tempfile termios threading time urllib".split()
)
# Exceptions of these modules that never leave the process.
IN_MEMORY = {"io.BytesIO"}
# Libraries for one outside system stay in the adapters.
ONLY_IN_ADAPTERS = frozenset({"zmq", "distributed", "dask", "sqlalchemy"})
# Within the adapters, Dask stays in the cluster engine and the pipelines' daemon for Dask.
DASK_ONLY_IN = ("fission.adapters.cluster.", "fission.adapters.dask_pipelines")


def modules_of(source: Path) -> dict[str, Path]:
    """Return every module of the package in *source* by its dotted name; templates do not count."""
    found = {}
    for path in sorted((source / "fission").rglob("*.py")):
        parts = path.relative_to(source).with_suffix("").parts
        if "templates" not in parts:
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports_of(module: str, path: Path, modules: dict[str, Path]) -> Iterator[tuple[str, int, bool]]:
    """Yield what the module imports: (dotted name of a module, line, whether only for types)."""
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for statement in node.body
        for inner in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno, id(node) in for_types
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
                base = ".".join([*package[: len(package) - node.level + 1], *filter(None, [base])])
            for alias in node.names:
                # `from package import name`: a module of the package, or a name that the package's own file defines
                inner = f"{base}.{alias.name}"
                yield inner if inner in modules or inner in IN_MEMORY else base, node.lineno, id(node) in for_types


def home(module: str) -> str:
    """Return the floor's folder or file that contains a module of the package."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def broken_rules(source: Path) -> list[str]:
    """Return every import below ``source/fission`` that breaks a rule, as one line each."""
    modules = modules_of(source)
    problems = []
    inside: dict[str, set[str]] = {module: set() for module in modules}
    rooms: dict[str, set[str]] = {}
    for module, path in modules.items():
        here = home(module)
        if here not in FLOORS:
            problems.append(f"{module}: {here} is on no floor; FLOORS in tests/test_layers.py says where things live")
            continue
        for imported, line, only_types in imports_of(module, path, modules):
            place = f"{path.relative_to(source)}:{line}: {module} imports {imported}"
            top = imported.split(".")[0]
            if top != "fission":
                if here == "protocol" and top in IO_MODULES and imported not in IN_MEMORY and not only_types:
                    problems.append(f"{place}, but protocol/ is sans-IO")
                if top in ONLY_IN_ADAPTERS and here != "adapters":
                    problems.append(f"{place}, which belongs into an adapter")
                elif top in ("distributed", "dask") and not module.startswith(DASK_ONLY_IN):
                    problems.append(f"{place}, which belongs into {' or '.join(DASK_ONLY_IN)}")
                continue
            there = home(imported)
            if here == there:
                room, from_room = room_of(module, modules), room_of(imported, modules)
                if not only_types:
                    inside[module].add(imported)
                    if room != from_room and not (room in USES_ITS_PARENT and room.startswith(f"{from_room}.")):
                        rooms.setdefault(room, set()).add(from_room)
                if here == "client" and later_room(module, imported):
                    problems.append(f"{place}, a later room; the order is {', '.join(CLIENT_ROOMS)}")
                if here == "adapters" and module.split(".")[2:3] != imported.split(".")[2:3]:
                    problems.append(f"{place}, but no adapter imports another")
            elif there not in FLOORS:
                problems.append(f"{place}, which is on no floor")
            elif FLOORS[there] >= FLOORS[here]:
                problems.append(f"{place}: floor {FLOORS[here]:g} imports only from lower floors, {there} is on floor {FLOORS[there]:g}")
            elif there in NOT_INTO.get(here, ()):
                problems.append(f"{place}, but {here} is handed its {there}")
    found = cycles(inside) or cycles(rooms)
    return list(dict.fromkeys(problems)) + [f"cycle: {' -> '.join(cycle)}" for cycle in found]


def room_of(module: str, modules: dict[str, Path]) -> str:
    """Return the package that contains a module; a package is its own."""
    return module if module not in modules or modules[module].name == "__init__.py" else module.rpartition(".")[0]


def later_room(module: str, imported: str) -> bool:
    """Return whether a module of the client imports from a later room than its own."""
    own, other = module.split(".")[2:3], imported.split(".")[2:3]
    return bool(own and other) and own != other and CLIENT_ROOMS.index(own[0]) < CLIENT_ROOMS.index(other[0])


def cycles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Return one cycle for each group of modules that import each other in cycles."""
    found: list[list[str]] = []
    done: set[str] = set()

    def visit(module: str, way: list[str]) -> None:
        if module in way:
            found.append([*way[way.index(module) :], module])
            return
        if module in done:
            return
        for imported in sorted(graph.get(module, ())):
            visit(imported, [*way, module])
        done.add(module)

    for module in sorted(graph):
        visit(module, [])
    return found


def test_every_import_keeps_to_its_floor() -> None:
    problems = broken_rules(SOURCE)
    assert not problems, "\n".join(problems)


BROKEN = [
    ("core/jobs.py", "from fission.protocol import frames", "core.jobs imports fission.protocol.frames: floor 1"),
    ("core/jobs.py", "def f():\n    import fission.client", "core/jobs.py:2: fission.core.jobs imports fission.client: floor 1"),
    ("core/jobs.py", "from .. import client", "imports fission.client: floor 1"),
    ("core/jobs.py", "from .pipes import X", "cycle: fission.core.jobs -> fission.core.pipes -> fission.core.jobs"),
    ("core/jobs.py", "import fission", "imports fission: floor 1"),
    ("core/jobs.py", "import zmq", "core.jobs imports zmq, which belongs into an adapter"),
    ("protocol/frames.py", "def f():\n    from time import monotonic", "imports time, but protocol/ is sans-IO"),
    ("adapters/zmq_links.py", "def f():\n    import distributed", "adapters.zmq_links imports distributed, which belongs into"),
    ("adapters/zmq_links.py", "from .memory_links import X", "no adapter imports another"),
    ("runtime/host.py", "from ..adapters.zmq_links import Z", "runtime is handed its adapters"),
    ("runtime/host.py", "from ..project import config", "runtime.host imports fission.project.config: floor 5"),
    ("project/config.py", "from ..runtime.host import x", "project.config imports fission.runtime.host: floor 5"),
    ("client/run/run.py", "from .jobs.a import X", "cycle: fission.client.run -> fission.client.run.jobs -> fission.client.run"),
    ("client/serve/taps.py", "def f():\n    from fission.client.run.run import X", "a later room; the order is folders"),
    ("client/__init__.py", "from fission.cli import main", "floor 6 imports only from lower floors, cli is on floor 8"),
    ("attic/old.py", "", "attic is on no floor"),
    ("core/jobs.py", "from fission.attic import old", "imports fission.attic, which is on no floor"),
]


@pytest.mark.parametrize(("path", "text", "problem"), BROKEN, ids=[problem for _, _, problem in BROKEN])
def test_a_broken_tree_is_caught(tmp_path: Path, path: str, text: str, problem: str) -> None:
    write_good_tree(tmp_path)
    target = tmp_path / "fission" / path
    target.parent.mkdir(exist_ok=True)
    target.write_text(text)
    assert [line for line in broken_rules(tmp_path) if problem in line], broken_rules(tmp_path)


def test_a_good_tree_is_not(tmp_path: Path) -> None:
    write_good_tree(tmp_path)
    assert broken_rules(tmp_path) == []


def write_good_tree(root: Path) -> None:
    files = {
        "__init__.py": "from .errors import E",
        "__main__.py": "from fission.cli import main",
        "errors.py": "import socket",
        "core/__init__.py": "from .jobs import J",
        "core/jobs.py": "from ..errors import E\nfrom .head import H",
        "core/pipes.py": "from fission.core.jobs import J",
        "core/head.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .pipes import P",
        "protocol/__init__.py": "",
        "protocol/frames.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import random",
        "ports.py": "from .core.pipes import P",
        "adapters/zmq_links.py": "import zmq\nfrom fission import ports",
        "adapters/memory_links.py": "from fission.ports import Links",
        "runtime/host.py": "from ..ports import Links\nADAPTER = 'fission.adapters.zmq_links'",
        "project/config.py": "import fission.core.jobs",
        "client/__init__.py": "from ..adapters.zmq_links import Z\nfrom ..project.config import C\nfrom .run.run import R",
        "client/run/__init__.py": "",
        "client/run/run.py": "from fission.client.serve.taps import T\nfrom fission.client.run.plan import P",
        "client/run/plan.py": "",
        "client/run/jobs/__init__.py": "",
        "client/run/jobs/a.py": "from fission.client.run.plan import P",
        "client/serve/__init__.py": "",
        "client/serve/taps.py": "",
        "cli/main.py": "import fission\nfrom ..client import simulate",
        "project/templates/config.py": "from fission.cli import nothing",
    }
    for path, text in files.items():
        target = root / "fission" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
