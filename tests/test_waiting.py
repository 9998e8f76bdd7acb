"""The helpers of tests/waiting.py work. A ``fission.py`` in the folder replaces the command."""

from __future__ import annotations

import os
import re
import signal
import threading
from pathlib import Path

import pytest

from tests.waiting import CommandLine, eventually, is_running, run_fission

ECHO = """
import sys
for line in sys.stdin:
    print("got", line.strip(), sys.argv[1:], flush=True)
print("end", file=sys.stderr)
sys.exit(3)
"""
# The signals are blocked first; otherwise their default action would end it before sigwait runs.
WAITS = """
import signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, {2, 15})
print("ready", flush=True)
sys.exit(130 if signal.sigwait({2, 15}) == 2 else 15)
"""


@pytest.fixture
def fake(fission: CommandLine, request: pytest.FixtureRequest) -> CommandLine:
    fission.project({"fission.py": request.param})
    return fission


echo = pytest.mark.parametrize("fake", [ECHO], indirect=True)
waits = pytest.mark.parametrize("fake", [WAITS], indirect=True)


def test_eventually_returns_the_result_or_names_what_was_awaited() -> None:
    event = threading.Event()
    threading.Timer(0.05, event.set).start()
    assert eventually(event.is_set, 5, "the timer") is True
    with pytest.raises(AssertionError, match=r"not within 0\.02 s: the moon"):
        eventually(lambda: 0, 0.02, "the moon")


@echo
def test_run_gives_all_of_a_finished_command(fake: CommandLine) -> None:
    done = fake.run("net", "simulate", stdin="one\ntwo\n", exit_code=3)
    assert done.stdout == "got one ['net', 'simulate']\ngot two ['net', 'simulate']\n"
    assert done.stderr == "end\n"
    with pytest.raises(AssertionError, match=r"exit code 3 instead of 0(.|\n)*got one"):
        fake.run(stdin="one\n", exit_code=0)


@echo
def test_lines_are_sent_and_awaited(fake: CommandLine) -> None:
    command = fake.start()
    command.send_line("one")
    assert command.wait_for("one") == "got one []"
    command.send_line("two")
    assert command.wait_for(re.compile(r"^got \w+"), count=2) == "got two []"
    command.end_input()
    assert command.wait_for("end", stream="stderr") == "end"
    with pytest.raises(AssertionError, match=r"the command ended without it(.|\n)*got two"):
        command.wait_for("three")
    assert command.wait(exit_code=3).stderr == "end\n"


@echo
def test_a_late_line_is_an_error_with_the_output(fake: CommandLine) -> None:
    command = fake.start()
    command.send_line("one")
    command.wait_for("one")
    with pytest.raises(AssertionError, match=r"not within 0\.02 s(.|\n)*got one"):
        command.wait_for("two", 0.02)
    with pytest.raises(AssertionError, match=r"not ended within 0\.02 s(.|\n)*got one"):
        command.wait(0.02)


@echo
def test_terminal_echoes_and_ends(fake: CommandLine) -> None:
    command = fake.start(terminal=True)
    command.send("o")
    assert command.wait_for("o", partial=True) == "o"
    command.send_line("ne")
    assert command.wait_for("got") == "got one []"
    command.end_input()
    assert command.wait(exit_code=3).stdout == "one\ngot one []\nend\n"


@waits
@pytest.mark.parametrize("terminal", [False, True])
def test_interrupt_is_ctrl_c(fake: CommandLine, terminal: bool) -> None:
    command = fake.start(terminal=terminal)
    command.wait_for("ready")
    command.interrupt()
    command.wait(exit_code=130)


@waits
def test_signal_and_close(fake: CommandLine) -> None:
    first, second = fake.start(), fake.start()
    for command in (first, second):
        command.wait_for("ready")
    first.signal(signal.SIGTERM)
    first.wait(exit_code=15)
    assert is_running(second.pid)
    second.close()
    second.close()
    assert not is_running(second.pid)
    assert second.wait().exit_code == 15


def test_a_zombie_is_not_running() -> None:
    reading, writing = os.pipe()
    actions = [(os.POSIX_SPAWN_DUP2, reading, 0), (os.POSIX_SPAWN_CLOSE, writing)]
    pid = os.posix_spawn("/bin/sh", ["sh", "-c", "read x"], {}, file_actions=actions)
    assert is_running(pid)
    os.close(writing)
    os.close(reading)
    eventually(lambda: not is_running(pid), 5, "the end of the shell")
    os.waitpid(pid, 0)


def test_project_is_importable_and_environment_can_be_changed(fission: CommandLine) -> None:
    source = "import os\nfrom net.jobs.mine import X\nprint(X, os.environ.get('HOME'), os.environ['COLUMNS'])\n"
    root = fission.project({"fission.py": source, "net/jobs/mine.py": "X = 7\n", "net/config.py": ""}, name="other")
    assert sorted(path.name for path in root.iterdir()) == ["fission.py", "manage.py", "net"]
    assert (root / "net/__init__.py").exists()
    assert fission.run(env={"HOME": None}, exit_code=0).stdout == "7 None 120\n"


def test_run_without_the_fixture(tmp_path: Path) -> None:
    (tmp_path / "fission.py").write_text("print(1)\n")
    assert run_fission(("x",), tmp_path, exit_code=0).stdout == "1\n"
