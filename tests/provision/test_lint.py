"""The role and the playbooks are clean under ansible-lint's strictest profile."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fission.provision.places import PACKAGED

ROOT = Path(__file__).parent.parent.parent


def lint(folder: Path, home: Path, *places: str) -> subprocess.CompletedProcess[str]:
    """Run ansible-lint on a copy of the files: it writes beside them."""
    programs = Path(sys.executable).parent
    env = {**os.environ, "HOME": str(home), "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "LC_ALL": "C.UTF-8"}
    words = [
        str(programs / "ansible-lint"),
        "--config-file",
        str(folder / ".ansible-lint"),
        "--offline",
        "--nocolor",
        "-q",
        *places,
    ]
    return subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, timeout=200, check=False)


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.timeout(300)
def test_the_role_is_clean_and_a_fault_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(PACKAGED, folder)
    shutil.copy(ROOT / ".ansible-lint", folder)
    done = lint(folder, tmp_path, "playbooks", "roles")
    assert done.returncode == 0, done.stdout + done.stderr
    tasks = folder / "roles/setup/tasks/purge.yml"
    tasks.write_text(tasks.read_text().replace("ansible.builtin.find", "find"))
    done = lint(folder, tmp_path, "roles/setup/tasks/purge.yml")
    assert done.returncode != 0
    assert "fqcn" in done.stdout
