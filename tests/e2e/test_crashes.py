"""Processes that die without a report: jobs, the fork server, the client. The others end by themselves and report why."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import psutil
import pytest

from tests.e2e.support import column, descendants, finish, network, remains, rows, run_folders
from tests.waiting import CommandLine, Running, eventually, is_running

RELAY_JOBS = """
class Relay(ExecutableJob):
    EXECUTABLE = "sh"
    PARAMETERS = "relay.sh"
    DEPENDENCIES = "net/source"

class Family(PythonJob):
    def setup(self, *args, **kwargs):
        subprocess.Popen(["sleep", "1000"])
        subprocess.Popen(["sleep", "1000"], start_new_session=True)

    def run(self, value):
        print("pid", os.getpid(), flush=True)
        return value
"""
RELAY = {"net/source/relay.sh": "sleep 1000 &\ncat <$2 >$4\n"}
CHAIN = """
Endless(outputs=[JSONPipe(1), PicklePipe(9)]),
Family(inputs=[JSONPipe(1)], outputs=[JSONPipe(2)]),
Relay(inputs=[JSONPipe(2)], outputs=[JSONPipe(3)]),
CSVSinkJob("result.csv", inputs=[JSONPipe(3)]),
CSVSinkJob("source.csv", inputs=[PicklePipe(9)]),
"""


def start_chain(fission: CommandLine) -> tuple[Running, int]:
    """A network at work, and the process of its second job."""
    files = network(RELAY_JOBS, CHAIN) | RELAY
    # these tests show how a network ends, not how it continues
    fission.project(files | {"net/config.py": f"{files['net/config.py']}\nRESTARTS = 0\n"})
    client = fission.start("net", "simulate")
    pid = int(client.wait_for(re.compile(r"Family 2\] pid \d+")).split()[-1])
    eventually(lambda: min(len(rows(path)) for path in tables(fission.root)) > 20, 10, "rows in both files")
    return client, pid


def tables(root: Path) -> list[Path]:
    return [root / "net/simulation/4/result.csv", root / "net/simulation/5/source.csv"]


def assert_rows_are_kept(root: Path) -> None:
    for path in tables(root):
        values = column(path)
        assert values == list(range(1, len(values) + 1))
        assert len(values) >= 20
        assert path.read_text().endswith("\n")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT], ids=lambda number: number.name)
def test_a_job_that_is_killed_from_outside(fission: CommandLine, number: signal.Signals) -> None:
    client, pid = start_chain(fission)
    os.kill(pid, number)
    done = finish(client, fission.root, 1)
    assert "Family 2 failed:\n" in done.stderr
    assert f"signal {number.value} ({number.name})" in done.stderr
    assert "net: Family 2 failed after" in done.stdout
    assert re.search(r"^  Endless 1 +stopped", done.stdout, re.MULTILINE)
    assert_rows_are_kept(fission.root)


@pytest.mark.parametrize("code", [0, 7])
def test_a_job_that_leaves_by_the_window(fission: CommandLine, code: int) -> None:
    jobs = f"""
    class Leaves(PythonJob):
        def run(self, value):
            if value == 3:
                print("a last word")
                os._exit({code})
            return value
    """
    listed = """
    Endless(outputs=[PicklePipe(1)]),
    Leaves(inputs=[PicklePipe(1)], outputs=[PicklePipe(2)]),
    CSVSinkJob("result.csv", inputs=[PicklePipe(2)]),
    """
    fission.project(network(jobs, listed))
    done = finish(fission.start("net", "simulate"), fission.root, 1)
    assert f"Leaves 2 failed:\nits process exited with code {code}" in done.stderr
    assert "[Leaves 2] a last word" in done.stdout
    assert re.search(r"^  Leaves 2 +failed", done.stdout, re.MULTILINE)


def test_a_job_that_crashes_while_it_starts(fission: CommandLine) -> None:
    """Its module ends the process when it is imported there."""
    jobs = """
    if os.path.basename(os.getcwd()) == "2":
        os.kill(os.getpid(), signal.SIGKILL)
    """
    fission.project(network(jobs, "Endless(outputs=[PicklePipe(1)]), Show(inputs=[PicklePipe(1)])"))
    done = finish(fission.start("net", "simulate"), fission.root, 1)
    assert "Show 2 failed:\nits process was killed by signal 9 (SIGKILL)" in done.stderr


def test_the_client_is_killed(fission: CommandLine) -> None:
    """The fork server meets the end of its socket: it ends all jobs and removes the folder of the run."""
    client, _ = start_chain(fission)
    family = descendants(client.pid)
    assert len(family) >= 10  # the fork server, five jobs, the relay's shell and cat, the sleepers
    assert run_folders()
    client.process.kill()
    client.process.wait()
    eventually(lambda: not [child for child in family if is_running(child.pid)], 2, "the end of all processes")
    eventually(lambda: not run_folders(), 2, "the end of the run folder")
    assert client.wait(exit_code=-signal.SIGKILL).stderr.count("Traceback") == 0
    assert_rows_are_kept(fission.root)


def test_the_client_is_killed_again_and_again_while_it_starts(fission: CommandLine) -> None:
    fission.project(network("", "Endless(outputs=[PicklePipe(1)]), Show(inputs=[PicklePipe(1)])"))
    for processes in (1, 1, 2, 2, 3, 3):
        with fission.start("net", "simulate") as client:
            eventually(lambda: len(descendants(client.pid)) >= processes, 10, f"{processes} processes")  # noqa: B023 - called at once
            client.process.kill()
            done = client.wait(exit_code=-signal.SIGKILL)
            assert "Traceback" not in done.stderr, done
            eventually(lambda: not left(fission.root), 2, lambda: str(left(fission.root)))


def left(root: Path) -> list[str]:
    """Return what is left of a killed client; its fork server does not clean up the network's folder."""
    return [line for line in remains(root) if "/simulation/" not in line]


def test_after_a_killed_client_the_next_run_is_as_any(fission: CommandLine) -> None:
    """This holds with a console, too: what the dead client left in the network's folder misleads no command."""
    fission.project(network("", "InteractiveJob(outputs=[PicklePipe(1)]), Show(inputs=[PicklePipe(1)])"))
    client = fission.start("net", "simulate")
    client.send_line("one")
    client.wait_for("Show 2] got one")
    client.process.kill()
    client.process.wait()
    eventually(lambda: not run_folders(), 2, "the end of the run folder")
    done = fission.run("net", "send", "1", "--line", "lost", exit_code=2)
    assert "is not running on this machine" in done.stderr
    again = fission.start("net", "simulate")
    again.send_line("two")
    again.wait_for("Show 2] got two")
    again.interrupt()
    finish(again, fission.root, 130)


def test_the_fork_server_is_killed(fission: CommandLine) -> None:
    """The client reports it and ends; the jobs, and what they had started in their groups, die with their parent."""
    client, _ = start_chain(fission)
    (server,) = psutil.Process(client.pid).children()
    # a process that has left the job's process group is then the system's: this test kills it by hand
    stray = [child for child in server.children(recursive=True) if child.name() == "sleep" and os.getsid(child.pid) == child.pid]
    assert len(stray) == 1
    server.kill()
    stray[0].kill()
    done = finish(client, fission.root, 1)
    assert "its fork server died" in done.stderr
    assert "Traceback" not in done.stderr
    assert_rows_are_kept(fission.root)
