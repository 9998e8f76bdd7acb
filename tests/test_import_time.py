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


@pytest.mark.parametrize("module", ["fission", "fission.core.jobs", "fission.cli.main"])
def test_import_loads_nothing_heavy(module: str) -> None:
    loaded = fresh(f"import sys; bare = set(sys.modules); import {module}; print(*sorted(set(sys.modules) - bare))").split()
    assert module in loaded
    assert not [name for name in HEAVY if name in loaded]


def test_simulate_needs_no_extra() -> None:
    """What `make demo` runs is installed without extras."""
    extras = ("distributed", "dask", "cryptography", "sqlalchemy", "yaml", "matplotlib", "numpy", "ptpython", "pytest")
    code = f"import sys\nfor name in {extras}: sys.modules[name] = None\nimport fission.client, fission.cli.commands.simulate"
    subprocess.run([sys.executable, "-c", code], check=True)
