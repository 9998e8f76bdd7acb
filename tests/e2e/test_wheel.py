"""The wheel that docs/several_machines.md builds and installs has all that FISSION needs, besides its dependencies."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs_runner import ROOT

BUILD = "python3 -m pip wheel --no-deps --wheel-dir dist ."
INSTALL = "python3 -m pip install 'dist/fission-0.1.0-py3-none-any.whl[cluster]'"
#: Tests have no package index: what builds the wheel, and the dependencies, are those of this virtual environment.
OFFLINE = ["--no-index", "--disable-pip-version-check", "--quiet"]


def run(command: str, *more: str, cwd: Path, env: dict[str, str] | None = None) -> str:
    """Run a command of the page, with this interpreter, and return what it prints."""
    words = [sys.executable if word == "python3" else word for word in shlex.split(command)]
    done = subprocess.run([*words, *more], cwd=cwd, env={**os.environ, **(env or {})}, capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_wheel_installs_and_makes_a_project(tmp_path: Path) -> None:
    for name in ("src", "pyproject.toml", "README.md", "LICENSE"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    run(BUILD, "--no-build-isolation", *OFFLINE, cwd=tmp_path)
    run(INSTALL, "--no-deps", "--target", "site", *OFFLINE, cwd=tmp_path)
    site = tmp_path / "site"
    assert (site / "fission" / "py.typed").is_file()
    for path in ("roles/setup/templates/fission.service.j2", "playbooks/servers.yml", "plugins/callback/fission_events.py"):
        assert (site / "fission" / "provision" / "ansible" / path).is_file()
    assert {path.name for path in site.iterdir()} >= {"fission", "pypelinin", "bin"}
    env = {"PYTHONPATH": str(site)}
    where = run("python3 -c 'import fission; print(fission.__file__)'", cwd=tmp_path, env=env)
    assert where.startswith(str(site))
    run("python3 -m fission startproject weather", cwd=tmp_path, env=env)
    run("python3 -m fission station startnetwork", cwd=tmp_path / "weather", env=env)
    assert (tmp_path / "weather" / "station" / "config.py").is_file()
