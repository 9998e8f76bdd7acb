"""The hygiene plugin catches leaks and skips, on small test files in a separate pytest."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def run_pytest(folder: Path, source: str, **environment: str) -> tuple[int, str]:
    """Return exit code and output of a new pytest on one file, with the plugin and our settings."""
    (folder / "test_it.py").write_text(source)
    command = [sys.executable, "-m", "pytest", "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(folder), "-p", "tests.hygiene"]
    command += ["-p", "no:cacheprovider", "-rs", str(folder / "test_it.py")]
    env = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}", "CI": "", **environment}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=50, check=False)
    return done.returncode, done.stdout + done.stderr


SKIPS = """
import pytest

def test_calls_skip():
    pytest.skip("needs a spoon")

@pytest.mark.skipif(True, reason="needs a fork")
def test_marked():
    pass

@pytest.mark.xfail(reason="a known bug")
def test_known_bug():
    assert False

@pytest.mark.xfail(reason="hangs", run=False)
def test_never_run():
    pass
"""


def test_skips_stay_skips_at_home(tmp_path: Path) -> None:
    code, output = run_pytest(tmp_path, SKIPS)
    assert code == 0, output
    assert "2 skipped, 2 xfailed" in output


def test_skips_fail_in_ci_and_name_what_is_missing(tmp_path: Path) -> None:
    code, output = run_pytest(tmp_path, SKIPS, CI="true")
    assert code == 1, output
    assert "1 failed, 1 xfailed, 2 errors" in output  # a skip before the call is an error
    for missing in ("needs a spoon", "needs a fork", "hangs", "nothing may be skipped"):
        assert missing in output


def test_a_skipped_file_fails_in_ci(tmp_path: Path) -> None:
    code, output = run_pytest(tmp_path, "import pytest\npytest.importorskip('no_such_module')\n", CI="true")
    assert code != 0
    assert "no_such_module" in output
    assert "nothing may be skipped" in output


def test_a_test_without_cases_fails_in_ci(tmp_path: Path) -> None:
    source = "import pytest\n@pytest.mark.parametrize('x', [])\ndef test_none(x):\n    pass\n"
    code, output = run_pytest(tmp_path, source, CI="true")
    assert code == 1, output
    assert "1 error" in output


NESTED = """
import os, pathlib, subprocess, sys, tempfile

def test_starts_pytest(tmp_path):
    pathlib.Path("own").write_text(str(tmp_path))
    (tmp_path / "test_inner.py").write_text("def test_it(tmp_path):\\n    print(tmp_path)\\n")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-s", "-q", str(tmp_path / "test_inner.py")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert tempfile.gettempdir() + "/pytest-of-" in done.stdout
"""


def test_a_pytest_of_a_test_leaves_the_folders_of_other_sessions_alone(tmp_path: Path) -> None:
    """pytest removes the folders of all but the last three sessions: of this suite, that takes minutes."""
    root = tmp_path / "root"
    root.mkdir()
    code, output = run_pytest(tmp_path, NESTED, PYTEST_DEBUG_TEMPROOT=str(root))
    assert code == 0, output
    assert (tmp_path / "own").read_text().startswith(f"{root}/")  # as ever, so that one finds them after a failure
    assert [folder.name for folder in root.glob("*/pytest-*") if folder.name != "pytest-current"] == ["pytest-0"]


CLEAN = """
import multiprocessing, os, subprocess, sys, tempfile
from multiprocessing import shared_memory

def test_cleans_up():
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    with tempfile.TemporaryDirectory(prefix="fission-"):
        pass
    memory = shared_memory.SharedMemory(create=True, size=16)
    memory.close()
    memory.unlink()

def test_straggler_that_ends_within_the_grace():
    stays = "import threading; threading.Event().wait(0.3)"
    subprocess.run(["sh", "-c", f"{sys.executable} -c '{stays}' &"], check=True)
"""


def test_clean_tests_pass(tmp_path: Path) -> None:
    code, output = run_pytest(tmp_path, CLEAN)
    assert code == 0, output


LEAKS = """
import subprocess, tempfile
from fission.adapters.shared_memory.segments import run_prefix

def test_leaks():
    subprocess.Popen(["sleep", "1234"]).returncode = 0
    subprocess.run(["sh", "-c", "setsid sleep 5678 >/dev/null 2>&1 &"])
    open(tempfile.gettempdir() + "/fission-1234.sock", "w").close()
    open("/dev/shm/" + run_prefix() + "-left-behind", "w").close()
    open("/dev/shm/fission-another-run-left-behind", "w").close()

def test_next_one_is_judged_by_itself():
    pass
"""


@pytest.mark.slow
def test_leaks_are_named(tmp_path: Path) -> None:
    try:
        code, output = run_pytest(tmp_path, LEAKS)
    finally:
        for path in Path("/dev/shm").glob("fission-*-left-behind"):
            path.unlink(missing_ok=True)
    assert code == 1, output
    assert "2 passed, 1 error" in output
    for leaked in (": sleep 1234", ": sleep 5678", "/fission-1234.sock", "-left-behind"):
        assert leaked in output
    assert "another-run" not in output


SILENT = """
import logging

def test_silences_all():
    logging.disable(logging.CRITICAL)

def test_next_one_is_judged_by_itself():
    assert logging.getLogger("one").isEnabledFor(logging.WARNING)
"""


def test_a_test_that_silences_later_ones_is_caught(tmp_path: Path) -> None:
    code, output = run_pytest(tmp_path, SILENT)
    assert code == 1, output
    assert "2 passed, 1 error" in output
    assert "logging.disable(50)" in output


TREE = """
import subprocess, sys
import pytest
from tests.hygiene import fixture_trees

@pytest.fixture(scope="module")
def manager():
    program = "import subprocess, sys; sys.stdin.readline(); child = subprocess.Popen(['sleep', '60']); print('started', flush=True); "
    program += "sys.stdin.readline(); child.kill(); child.wait()"
    process = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    if TREE:
        fixture_trees.add(process.pid)
    yield process
    fixture_trees.discard(process.pid)
    process.communicate("")

def test_starts_a_process(manager):
    manager.stdin.write("start\\n")
    manager.stdin.flush()
    assert manager.stdout.readline() == "started\\n"
"""


def test_processes_of_a_fixtures_tree_are_not_the_tests(tmp_path: Path) -> None:
    """What the service manager of a wider fixture starts during a test; without the mark it is a leak."""
    assert run_pytest(tmp_path, TREE.replace("TREE:", "True:"))[0] == 0
    code, output = run_pytest(tmp_path, TREE.replace("TREE:", "False:"))
    assert code == 1
    assert "left behind" in output


SPARE = """
import subprocess, sys
import pytest

@pytest.fixture(scope="module")
def server():
    program = '''
import os, sys
from fission.posix.forking import die_with_parent
from fission.runtime.process_title import set_title
set_title(SERVER)
sys.stdin.readline()
server = os.getpid()
if not os.fork():
    die_with_parent(server)
    set_title(SPARE)
    print("forked", flush=True)
sys.stdin.read()
'''
    command = [sys.executable, "-c", program, "a title needs room"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    yield process
    process.kill()
    process.communicate()

def test_it_forks_one(server):
    server.stdin.write("fork\\n")
    server.stdin.flush()
    assert server.stdout.readline() == "forked\\n"
"""


@pytest.mark.parametrize(
    ("server", "spare", "left_behind"),
    [
        ("fission: net fork server client", "fission: net fork server client", False),
        ("fission: net fork server client", "fission: net Job", True),
        ("fission: net client", "fission: net client", True),
    ],
)
def test_the_spare_of_a_wider_fixtures_fork_server_is_not_the_tests(tmp_path: Path, server: str, spare: str, left_behind: bool) -> None:
    """It comes half a second after the last job began, in whatever test then runs."""
    code, output = run_pytest(tmp_path, SPARE.replace("SERVER", repr(server)).replace("SPARE", repr(spare)))
    assert ("left behind" in output, code) == (left_behind, int(left_behind)), output


LONG_VALUES = """
import random

import pytest

DRAWN = random.Random(1)
NUMBERS = [DRAWN.randrange(1000) for _ in range(30_000)]
BLOCKS = [DRAWN.randbytes(20_000) for _ in range(10)]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (NUMBERS, NUMBERS[:20_000] + NUMBERS[10_000:]),
        (BLOCKS, BLOCKS[::-1]),
        (BLOCKS[0], BLOCKS[1]),
        (str(NUMBERS), str(NUMBERS[::-1])),
        ({"a": NUMBERS}, {"a": NUMBERS[::-1]}),
        (set(NUMBERS), set(NUMBERS[:500])),
        (tuple(NUMBERS), tuple(NUMBERS[:500])),
    ],
)
@pytest.mark.timeout(3)
def test_differs(one, other):
    assert one == other
"""


def test_a_difference_of_long_values_is_explained_at_once_in_ci(tmp_path: Path) -> None:
    code, output = run_pytest(tmp_path, LONG_VALUES, CI="true")
    assert code == 1, output
    assert "7 failed" in output, output
    assert "they have 30000 and 40000 items and differ from index 20000 on:" in output
    assert "Timeout" not in output
