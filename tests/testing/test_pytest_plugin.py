"""The pytest plugin and `fission NETWORK test`, in a project as a user has it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.support import network
from tests.waiting import CommandLine

JOBS = """
class Double(PythonJob):
    def __init__(self, factor=2, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.factor = factor
    def run(self, value):
        with open("last.txt", "w") as file:
            file.write(str(value))
        return value * self.factor
"""
LISTED = """
Count(outputs=[PicklePipe(1)]),
Double(inputs=[PicklePipe(1)], outputs=[PicklePipe(2)]),
Show(inputs=[PicklePipe(2)]),
"""
TESTS = """
from pathlib import Path

import pytest
from fission.core.base import JOBS, PIPES, reset
from fission.core.pipes import PicklePipe
from fission.emulate import emulate
from net.jobs.jobs import Double


@pytest.fixture(params=[3, -1])
def factor(request):
    return request.param


@pytest.fixture
def fission_test_job(factor):
    return Double(factor=factor, inputs=[PicklePipe(9001)], outputs=[PicklePipe(9101)])


def test_with_parameters(fission_test_emulator, factor):
    assert fission_test_emulator.job.factor == factor
    assert fission_test_emulator(7) == [7 * factor]


@pytest.fixture(scope="module")
def my_job():
    yield Double(inputs=[PicklePipe(9001)], outputs=[PicklePipe(9101)])
    reset()


@pytest.fixture
def my_emulator(my_job):
    emulator = emulate(my_job)
    yield emulator
    emulator.kill()


@pytest.mark.parametrize("value", [1, 2])
def test_by_hand(my_emulator, value):
    assert my_emulator(value) == [2 * value]


def test_config(fission_cfg, fission_cfg_jobs):
    assert len(fission_cfg.JOBS) == 3
    job = fission_cfg_jobs(1)
    assert job.job is fission_cfg.JOBS[1]
    assert job(4) == [8]
    assert fission_cfg_jobs(0)() == [1]
    assert job.cwd == ".emulate/2"
    assert Path(job.cwd, "last.txt").read_text() == "4"
    assert not PIPES and not JOBS  # so ids are free, as long as the test makes jobs of its own


def test_network(fission_cfg, fission_network):
    assert fission_network(fission_cfg.JOBS, {1: [5]}).sinks == {3: [10]}


@pytest.mark.slow
def test_slow():
    Path("slow.txt").touch()
"""


@pytest.fixture
def project(fission: CommandLine) -> Path:
    return fission.project({**network(JOBS, LISTED), "net/tests/test_net.py": TESTS})


def test_all_fixtures(fission: CommandLine, project: Path) -> None:
    done = fission.run("net", "test", exit_code=0)
    assert "6 passed, 1 skipped" in done.stdout
    assert not (project / "slow.txt").exists()


def test_slow_tests_are_run_when_asked_for(fission: CommandLine, project: Path) -> None:
    assert "1 passed, 6 deselected" in fission.run("net", "test", "--runslow", "-k", "slow", exit_code=0).stdout
    assert (project / "slow.txt").exists()


@pytest.mark.slow
@pytest.mark.soak
def test_one_of_them(fission: CommandLine, project: Path) -> None:
    assert "1 passed" in fission.run("net", "test", "net/tests/test_net.py::test_network", "-q", exit_code=0).stdout


@pytest.mark.slow
@pytest.mark.soak
def test_plain_pytest_finds_the_project_too(fission: CommandLine, project: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-p", "fission.testing.pytest_plugin", "net/tests", "-q", "-k", "config or network"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout


def test_a_failing_test_is_exit_code_1(fission: CommandLine) -> None:
    fission.project(
        {**network(JOBS, LISTED), "net/tests/test_net.py": "def test_it(fission_cfg_jobs):\n    assert fission_cfg_jobs(1)(4) == [9]\n"}
    )
    assert "assert [8] == [9]" in fission.run("net", "test", exit_code=1).stdout


def test_a_job_that_raises_shows_the_users_code(fission: CommandLine) -> None:
    test = "def test_it(fission_cfg_jobs):\n    fission_cfg_jobs(1)(None)\n"
    fission.project({**network(JOBS, LISTED), "net/tests/test_net.py": test})
    out = fission.run("net", "test", exit_code=1).stdout
    assert "Double 2 failed:" in out
    assert "return value * self.factor" in out


def test_a_job_that_is_not_there(fission: CommandLine) -> None:
    fission.project({**network(JOBS, LISTED), "net/tests/test_net.py": "def test_it(fission_cfg_jobs):\n    fission_cfg_jobs(3)\n"})
    out = fission.run("net", "test", exit_code=1).stdout
    assert "must be an index of JOBS, but is 3; there are 0: Count 1, 1: Double 2, 2: Show 3" in out


def test_a_test_file_that_cannot_be_loaded(fission: CommandLine) -> None:
    fission.project({**network(JOBS, LISTED), "net/tests/test_net.py": "import nothing_like_that\n"})
    assert "nothing_like_that" in fission.run("net", "test", exit_code=1).stdout


def test_wrong_use(fission: CommandLine, project: Path) -> None:
    assert "unrecognized arguments: --nonsense" in fission.run("net", "test", "--nonsense", exit_code=2).stderr


def test_no_tests(fission: CommandLine) -> None:
    fission.project(network(JOBS, LISTED))
    done = fission.run("net", "test", exit_code=2)
    assert "Error: net has no tests: there is no folder" in done.stderr
    (fission.root / "net/tests").mkdir()
    assert "Error: net has no tests in" in fission.run("net", "test", exit_code=2).stderr


def test_ctrl_c(fission: CommandLine) -> None:
    test = "import time\ndef test_it(capfd):\n    with capfd.disabled():\n        print('waits', flush=True)\n    time.sleep(100)\n"
    fission.project({**network(JOBS, LISTED), "net/tests/test_net.py": test})
    client = fission.start("net", "test")
    client.wait_for("waits")
    client.interrupt()
    client.wait(exit_code=130)


def test_other_projects_tests_are_left_alone(tmp_path: Path) -> None:
    """The plugin is loaded wherever FISSION is installed: it ignores tests marked slow in other projects."""
    (tmp_path / "test_other.py").write_text("import pytest\n@pytest.mark.slow\ndef test_it():\n    pass\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "fission.testing.pytest_plugin"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False)
    assert "1 passed" in done.stdout


def test_it_loads_nothing_heavy() -> None:
    code = "import sys, pytest; bare = set(sys.modules); import fission.testing.pytest_plugin; print(*sorted(set(sys.modules) - bare))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    ours = [name for name in done.stdout.split() if not name.startswith("_")]
    assert ours == ["fission", "fission.testing", "fission.testing.pytest_plugin"]
