"""The scripts, started as from a shell."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import fission as package
from tests.waiting import CommandLine

SOURCE = str(Path(package.__path__[0]).parent)
CONFIG = """\
from fission.core.jobs import PythonJob
from fission.core.pipes import PicklePipe
from shared.jobs.jobs import SourceJob


class SinkJob(PythonJob):
    def run(self, value):
        print(value)


JOBS = [SourceJob(outputs=[PicklePipe(1)]), SinkJob(inputs=[PicklePipe(1)])]
"""
SHARED = """\
from fission.core.jobs import PythonJob


class SourceJob(PythonJob):
    def run(self):
        yield 1
"""


def python(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": SOURCE}
    return subprocess.run([sys.executable, *words], cwd=cwd, env=env, capture_output=True, text=True, timeout=30, check=False)


def test_from_nothing_to_a_checked_network(fission: CommandLine, tmp_path: Path) -> None:
    admin = "import sys; from fission.cli.main import admin; admin()"
    assert python("-c", admin, "my_project", "startproject", cwd=tmp_path).returncode == 0
    root = tmp_path / "my_project"
    assert python("manage.py", "net", "startnetwork", cwd=root).returncode == 0
    (root / "net" / "config.py").write_text(CONFIG)
    (root / "shared" / "jobs" / "jobs.py").write_text(SHARED)
    right = "net: OK (2 jobs, 1 pipe, 0 nodes)\n"
    for done in (
        python("manage.py", "net", "check", cwd=root),
        python(str(root / "manage.py"), "net", "check", cwd=tmp_path),  # manage.py finds its own folder
        python("-m", "fission", "net", "check", cwd=root / "net" / "source"),
    ):
        assert (done.returncode, done.stdout, done.stderr) == (0, right, "")
    assert fission.run("net", "check", cwd=root, exit_code=0).stdout == right
    done = fission.run("net", "simulate", cwd=root, exit_code=0)
    assert "[SinkJob 2] 1\n" in done.stdout
    assert "Traceback" not in done.stderr


def test_exit_codes_reach_the_shell(fission: CommandLine) -> None:
    fission.project({"net/config.py": "JOBS = 3\n"})
    assert fission.run("net", "check", exit_code=2).stderr.startswith("Error: net/config.py:1: JOBS must be a list")
    assert "did you mean 'net'?" in fission.run("ne", "check", exit_code=2).stderr
    assert "did you mean 'check'?" in fission.run("net", "chek", exit_code=2).stderr


def test_a_reader_that_went_away_gets_no_traceback(fission: CommandLine) -> None:
    fission.project({"net/config.py": CONFIG, "shared/jobs/jobs.py": SHARED})
    for words in (("net", "check"), ("--help",)):
        reader, writer = os.pipe()
        os.close(reader)
        try:
            source = {**os.environ, "PYTHONPATH": SOURCE}
            command = [sys.executable, "-m", "fission", *words]
            done = subprocess.run(command, cwd=fission.root, env=source, stdout=writer, stderr=subprocess.PIPE, timeout=30, check=False)
        finally:
            os.close(writer)
        assert (done.returncode, done.stderr) == (1, b"")


def test_help_is_quick_and_loads_little(tmp_path: Path) -> None:
    code = (
        "import sys; from fission.cli.main import main; main(['--help']); "
        "print([name for name in ('zmq', 'rich', 'asyncio', 'numpy', 'fission.core', 'fission.client') if name in sys.modules])"
    )
    assert python("-c", code, cwd=tmp_path).stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("text", ["signal.raise_signal(signal.SIGINT)", "exec('signal.raise_signal(signal.SIGINT)')"])
def test_ctrl_c_in_executed_text_is_like_any_other(fission: CommandLine, text: str) -> None:
    """Python notes such a one on its own account, and would kill itself at its end."""
    fission.project({"net/config.py": f"import signal\n{text}\n{CONFIG}", "shared/jobs/jobs.py": SHARED})
    assert "Traceback" not in fission.run("net", "simulate", exit_code=130).stderr
