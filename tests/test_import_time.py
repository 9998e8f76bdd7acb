"""`import fission` is fast and light: every process of a network runs it, on boards too."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

import fission

HEAVY = (
    "aiohttp",
    "asyncio",
    "cryptography",
    "dask",
    "distributed",
    "matplotlib",
    "multiprocessing",
    "numpy",
    "scipy",
    "sounddevice",
    "soundfile",
    "sqlalchemy",
    "tornado",
    "zmq",
)


def fresh(code: str) -> str:
    """Return what the code prints in a fresh interpreter."""
    source = str(Path(fission.__path__[0]).parent)
    env = {**os.environ, "PYTHONPATH": source}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_takes_less_than_150_ms() -> None:
    # timed inside: the interpreter's own start does not count
    code = "import time; begin = time.perf_counter(); import fission; print(time.perf_counter() - begin)"
    seconds = [float(fresh(code)) for _ in range(6)][1:]  # the first run may have to compile
    assert statistics.median(seconds) < 0.150, seconds


@pytest.mark.parametrize("module", ["fission", "fission.core.jobs", "fission.cli.main", "fission.connectors.audio"])
def test_import_loads_nothing_heavy(module: str) -> None:
    loaded = fresh(f"import sys; bare = set(sys.modules); import {module}; print(*sorted(set(sys.modules) - bare))").split()
    assert module in loaded
    assert not [name for name in HEAVY if name in loaded]


def test_simulate_needs_no_extra() -> None:
    """What `make demo` runs is installed without extras."""
    extras = ("distributed", "dask", "cryptography", "sqlalchemy", "yaml", "matplotlib", "numpy", "ptpython", "pytest")
    code = f"import sys\nfor name in {extras}: sys.modules[name] = None\nimport fission.client, fission.cli.commands.simulate"
    subprocess.run([sys.executable, "-c", code], check=True)


#: Modules of an idle node beside Python's own and FISSION's, of which 320 were measured. It may grow with what a node does.
MOST_NODE_MODULES = 350


def node_modules(tmp_path: Path, before: str = "") -> list[str]:
    """Return the modules of others that `fission node` has imported when it begins to wait for a client."""
    line = ["fission", "node", "--client", "127.0.0.1", "--insecure", "--root", str(tmp_path / "of" / "node")]
    code = (
        f"import asyncio, sys, tempfile; tempfile.mkdtemp = lambda **where: {str(tmp_path)!r}; {before}\n"
        "asyncio.run = lambda work: work.close()\n"
        f"sys.argv = {line!r}\n"
        "from fission.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "known = {'fission', *sys.stdlib_module_names}\n"
        "print('MODULES', *sorted(name for name in sys.modules if name.partition('.')[0] not in known))\n"
    )
    return fresh(code).rpartition("MODULES")[2].split()


def test_an_idle_node_imports_only_what_it_uses(tmp_path: Path) -> None:
    loaded = node_modules(tmp_path)
    assert "distributed.worker" in loaded
    unused = ("numpy", "jinja2", "pandas", "matplotlib", "sqlalchemy", "bokeh", "dask.array", "dask.dataframe", "aiohttp")
    assert not [name for name in loaded for left_out in unused if name == left_out or name.startswith(f"{left_out}.")]
    assert len(loaded) < MOST_NODE_MODULES, loaded


def test_the_modules_of_a_node_that_imports_all_of_dask_are_noticed(tmp_path: Path) -> None:
    loaded = node_modules(tmp_path, before="import distributed")
    assert "numpy" in loaded
    assert "jinja2" in loaded
