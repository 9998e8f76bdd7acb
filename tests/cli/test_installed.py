"""FISSION as pip installs it, with metadata that other tools read; the tests themselves run from the source."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

import fission as package

ENTRY = "[pytest11]\nfission.testing.pytest_plugin = fission.testing.pytest_plugin\n"
CONFIG = "from fission.core.jobs import ForwardingJob\nJOBS = []\n"


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder like site-packages, with FISSION in it as a wheel leaves it."""
    source = Path(package.__file__).parent
    folder = tmp_path / "site-packages"
    shutil.copytree(source, folder / "fission", ignore=shutil.ignore_patterns("__pycache__"))
    info = folder / f"fission_networks-{package.__version__}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: fission-networks\nVersion: {package.__version__}\n")
    (info / "entry_points.txt").write_text(ENTRY)
    files = [path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()]
    (info / "RECORD").write_text("".join(f"{path},,\n" for path in files))
    return folder


@pytest.mark.slow
def test_the_networks_tests_run_without_warnings(fission: Any, installed: Path) -> None:
    fission.project({"net/config.py": CONFIG, "net/tests/test_it.py": "def test_it():\n    assert 1 + 1 == 2\n"})
    done = fission.run("net", "test", "-W", "error", exit_code=0, env={"PYTHONPATH": str(installed)})
    assert "1 passed" in done.stdout
    assert "warning" not in (done.stdout + done.stderr).lower()
