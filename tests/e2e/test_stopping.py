"""Ctrl-C and SIGTERM at any moment, once or more, with jobs of every kind: an end within 2 s, and nothing is left."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

import fission as fission_package
from tests.deadlines import Deadline
from tests.e2e.support import STOP_S, column, descendants, finish, network, printed, remains, rows, run_folders, stop
from tests.waiting import CommandLine, Finished, Running, eventually, is_running

SOURCE = str(Path(fission_package.__path__[0]).parent)


def fission_command() -> str:
    return f"{sys.executable} -m fission"


def blocked(pid: int) -> bool:
    """Whether a process sleeps in a write to a pipe."""
    return "pipe" in Path(f"/proc/{pid}/wchan").read_text()


#: Jobs that start processes of their own: one in the job's session, one that leaves its process group.
FAMILY_JOBS = """
class Parent(PythonJob):
    def setup(self, *args, **kwargs):
        self.child = subprocess.Popen(["sh", "-c", "sleep 1000 & echo grandchild $!; wait"])
        print("child", self.child.pid)
    def run(self, value):
        return value

class Relay(ExecutableJob):
    EXECUTABLE = "sh"
    PARAMETERS = "relay.sh"
    DEPENDENCIES = "net/source"
"""
FAMILY_FILES = {
    "net/source/relay.sh": "echo relay $$\nsleep 1000 &\necho helper $!\ncat <$2 >$4\n",
}
FAMILY = """
Endless(outputs=[JSONPipe(1)]),
Parent(inputs=[JSONPipe(1)], outputs=[JSONPipe(2)]),
Relay(inputs=[JSONPipe(2)], outputs=[JSONPipe(3)]),
CSVSinkJob("result.csv", inputs=[JSONPipe(3)]),
"""


def family(fission: CommandLine) -> tuple[Running, list[int]]:
    """Start a network; return the client, and the processes that its jobs have printed, with the jobs and the fork server."""
    fission.project(network(FAMILY_JOBS, FAMILY) | FAMILY_FILES)
    client = fission.start("net", "simulate")
    lines = [client.wait_for(re.compile(rf"\] {word} \d+$")) for word in ("child", "grandchild", "relay", "helper")]
    result = fission.root / "net/simulation/4/result.csv"
    eventually(lambda: len(rows(result)) > 5, 10, "some rows")
    pids = [int(line.split()[-1]) for line in lines]
    return client, pids + [child.pid for child in descendants(client.pid)]


Way = Callable[[Running], None]
WAYS: dict[str, tuple[Way, int]] = {
    "Ctrl-C": (lambda client: client.interrupt(), 130),
    "SIGINT to the client alone": (lambda client: client.signal(signal.SIGINT), 130),
    "SIGTERM": (lambda client: client.signal(signal.SIGTERM), 143),
    "SIGTERM to the group": (lambda client: os.killpg(client.pid, signal.SIGTERM), 143),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_network_with_a_large_family_stops_cleanly(fission: CommandLine, way: str) -> None:
    client, pids = family(fission)
    assert len(set(pids)) == len(pids) - 4 >= 9  # the processes that they printed are there, and are ours
    act, code = WAYS[way]
    end = Deadline(STOP_S)
    act(client)
    done = finish(client, fission.root, code)
    assert not end.over, done
    assert not [pid for pid in pids if is_running(pid)]
    assert "Traceback" not in done.stderr
    values = column(fission.root / "net/simulation/4/result.csv")
    assert values == list(range(1, len(values) + 1))
    assert f"net: {'terminated' if code == 143 else 'interrupted'} after" in done.stdout
    assert done.stdout.count("  stopped") == 4, done


# -- jobs that do not want to -----------------------------------------------------------------------------------------

STUBBORN = {
    "ignores SIGTERM": "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: time.sleep(0.01)",
    "blocks all signals": "signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())\nwhile True: time.sleep(100)",
    "long C call": "sum(range(10 ** 15))",
    "bare except": "while True:\n    try:\n        time.sleep(100)\n    except:\n        pass",
    "bare except that prints": "while True:\n    try:\n        time.sleep(0.001)\n    except:\n        print('swallowed')",
    "endless finally": "try:\n    time.sleep(100)\nfinally:\n    time.sleep(100)",
    "a thread that is not a daemon": "threading.Thread(target=time.sleep, args=(100,)).start()\ntime.sleep(100)",
    "an endless exit handler": "import atexit\natexit.register(time.sleep, 100)\ntime.sleep(100)",
    "a child in a session of its own": "subprocess.run(['sleep', '1000'], start_new_session=True)",
}


def stubborn_job(name: str, body: str) -> str:
    code = body.replace("\n", "\n        ")
    return f"""
class {name}(PythonJob):
    def run(self, value):
        print("is stubborn", flush=True)
        {code}
"""


@pytest.mark.parametrize("kind", STUBBORN)
def test_a_stubborn_job_is_killed(fission: CommandLine, kind: str) -> None:
    listed = "Endless(outputs=[PicklePipe(1)]), Stubborn(inputs=[PicklePipe(1)])"
    fission.project(network(stubborn_job("Stubborn", STUBBORN[kind]), listed))
    client = fission.start("net", "simulate")
    client.wait_for("Stubborn 2] is stubborn")
    done = stop(client, fission.root)
    assert "Traceback" not in done.stderr
    assert re.search(r"^  Stubborn 2 +(stopped|killed)", done.stdout, re.MULTILINE), done
    assert re.search(r"^  Endless 1 +stopped", done.stdout, re.MULTILINE), done


def test_all_kinds_of_stubborn_jobs_in_one_network_and_ctrl_c_pressed_twice(fission: CommandLine) -> None:
    """The second one kills at once, the others are only impatience."""
    numbers = range(1, len(STUBBORN) + 1)
    jobs = [stubborn_job(f"Stubborn{number}", body) for number, body in zip(numbers, STUBBORN.values(), strict=True)]
    pipes = ", ".join(f"PicklePipe({number})" for number in numbers)
    listed = [f"Endless(outputs=[{pipes}])", *(f"Stubborn{number}(inputs=[PicklePipe({number})])" for number in numbers)]
    fission.project(network("".join(jobs), ",\n".join(listed)))
    client = fission.start("net", "simulate")
    client.wait_for("is stubborn", count=len(STUBBORN))
    client.interrupt()
    client.wait_for("Endless 1 stopped", stream="stderr")
    end = Deadline(1)
    client.interrupt()
    done = finish(client, fission.root, 130)
    assert not end.over, done  # it does not wait for the grace of the first one
    assert "Traceback" not in done.stderr
    assert "not started" not in done.stdout, done


def test_user_code_cleans_up_when_it_is_stopped(fission: CommandLine) -> None:
    jobs = """
    class Tidy(PythonJob):
        def run(self, value):
            self.file = open("half.txt", "w")
            try:
                print("at work", flush=True)
                time.sleep(100)
            finally:
                self.file.write("closed in order")
                self.file.close()

    class TidySource(PythonJob):
        def run(self):
            try:
                while True:
                    yield 1
                    time.sleep(0.01)
            finally:
                open("finally.txt", "w").write("generators too")
    """
    fission.project(network(jobs, "TidySource(outputs=[PicklePipe(1)]), Tidy(inputs=[PicklePipe(1)])"))
    client = fission.start("net", "simulate")
    client.wait_for("Tidy 2] at work")
    done = stop(client, fission.root)
    assert (fission.root / "net/simulation/2/half.txt").read_text() == "closed in order"
    assert (fission.root / "net/simulation/1/finally.txt").read_text() == "generators too"
    assert done.stdout.count("  stopped") == 2


def test_a_stop_that_was_swallowed_gives_no_false_value(fission: CommandLine) -> None:
    """As in version 4 of the tutorial: a bare except surrounds the work, and what run returns then must not reach a file."""
    jobs = """
    class Guarded(PythonJob):
        def run(self, value):
            try:
                if value == 3:
                    print("at work", flush=True)
                    time.sleep(100)
                result = value
            except:
                result = "error"
            return result
    """
    listed = """
    Endless(outputs=[PicklePipe(1)]),
    Guarded(inputs=[PicklePipe(1)], outputs=[PicklePipe(2)]),
    CSVSinkJob("result.csv", inputs=[PicklePipe(2)]),
    """
    files = network(jobs, listed)
    fission.project(files | {"net/config.py": f"{files['net/config.py']}\nRESTARTS = 0\n"})
    client = fission.start("net", "simulate")
    client.wait_for("at work")
    result = fission.root / "net/simulation/3/result.csv"
    eventually(lambda: len(rows(result)) == 3, 5, "two rows")
    guarded = job_process(client, fission.root / "net/simulation/2")
    os.kill(guarded, signal.SIGTERM)  # this job alone, so that its sink has time to write the wrong value
    done = finish(client, fission.root, 1)
    assert "Guarded 2 failed:\nits process was stopped by SIGTERM, which FISSION did not send" in done.stderr
    assert rows(result) == [["pipe_2"], ["1"], ["2"]]


def job_process(client: Running, folder: Path) -> int:
    """The process of the job that works in a folder."""
    found = [child.pid for child in descendants(client.pid) if os.readlink(f"/proc/{child.pid}/cwd") == str(folder.resolve())]
    assert len(found) == 1
    return found[0]


# -- at any moment ----------------------------------------------------------------------------------------------------


def exists(path: Callable[[CommandLine], Path]) -> Callable[[CommandLine, Running], bool]:
    return lambda fission, client: path(fission).exists()


MOMENTS: dict[str, Callable[[CommandLine, Running], bool]] = {
    "the process exists": lambda fission, client: True,
    "it is Python": lambda fission, client: "python" in psutil.Process(client.pid).name(),
    "the run folder exists": lambda fission, client: bool(run_folders()),
    "the fork server exists": lambda fission, client: bool(psutil.Process(client.pid).children()),
    "the folders are made": exists(lambda fission: fission.root / "net/simulation"),
    "info.txt is written": exists(lambda fission: fission.root / "net/simulation/info.txt"),
    "the log is begun": exists(lambda fission: fission.root / "net/simulation/fission.log"),
    "a job is started": lambda fission, client: "Endless 1 started" in client.stderr,
    "a job process exists": lambda fission, client: len(descendants(client.pid)) > 1,
    "two job processes exist": lambda fission, client: len(descendants(client.pid)) > 2,
    "the last job is started": lambda fission, client: "Show 2 started" in client.stderr,
    "a job prints": lambda fission, client: "got 1" in client.stdout,
}


#: What is loaded before Ctrl-C can be taken; a traceback from there is Python's own.
FIRST_FILES = ("__init__.py", "__main__.py", "cli/__init__.py", "cli/interrupts.py")
#: How Python reports that its import system has swallowed a KeyboardInterrupt. If it did so before it had read our first lines, there is
#: no Ctrl-C that we could know of, and a user would press again.
LOST = "Exception ignored in: <function _get_module_lock"
#: How Python itself reports that it was interrupted before it could run anything.
NOT_YET_PYTHON = re.compile(r"KeyboardInterrupt\n\Z|\AFatal Python error: init|\ACould not import runpy|lost sys\.stderr\n\Z")


def ends_well(client: Running, root: Path, code: int) -> Finished:
    """Our exit code and no traceback of ours. Before Python has read our first lines, the end and its traceback are Python's own."""
    eventually(lambda: client.process.poll() is not None or LOST in client.stderr, 10, "the end of the client")
    if client.process.poll() is None:
        os.killpg(client.pid, signal.SIGINT if code == 130 else signal.SIGTERM)
    done = finish(client, root, None)
    frames = re.findall(r'^\s+File ".*/fission/(.*)", line', done.stderr, re.MULTILINE)
    assert set(frames) <= set(FIRST_FILES), done
    if done.exit_code != code:
        assert done.exit_code in ((-signal.SIGINT, 1) if code == 130 else (-signal.SIGTERM,)), done
        assert done.stdout == "", done
        assert not done.stderr.strip() or NOT_YET_PYTHON.search(done.stderr), done
    return done


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("moment", MOMENTS)
def test_during_start(fission: CommandLine, moment: str, number: int) -> None:
    fission.project(network("", "Endless(outputs=[PicklePipe(1)]), Show(inputs=[PicklePipe(1)])"))
    client = fission.start("net", "simulate")
    deadline = Deadline(10)
    while not MOMENTS[moment](fission, client):  # as soon as it can be seen: no pause
        assert not deadline.over, f"no {moment}"
    end = Deadline(STOP_S)
    os.killpg(client.pid, number)
    done = ends_well(client, fission.root, 130 if number == signal.SIGINT else 143)
    assert not end.over, done


@pytest.mark.parametrize("presses", [1, 2, 3])
def test_at_random_moments(fission: CommandLine, presses: int) -> None:
    """From the fork of the client to the work of its jobs; the second and third press come at random moments too."""
    fission.project(network("", "Endless(outputs=[PicklePipe(1)]), Show(inputs=[PicklePipe(1)])"))
    rng = random.Random(f"presses {presses}")
    for attempt in range(8):
        pauses = [rng.uniform(0, 0.5)] + [rng.choice([0.0, rng.uniform(0, 0.15)]) for _ in range(presses - 1)]
        with fission.start("net", "simulate") as client:
            for pause in pauses:
                wait_a_while(client, pause)
                if client.process.poll() is None:
                    client.interrupt()
            end = Deadline(STOP_S)
            done = ends_well(client, fission.root, 130)
            assert not end.over, (attempt, pauses, done)


def wait_a_while(client: Running, seconds: float) -> None:
    """Wait for a moment that no event marks; return early if the client ends."""
    try:
        client.process.wait(seconds)
    except subprocess.TimeoutExpired:
        return


#: First lines of a config. With a mask it is as if the signal came right before the call: it meets another thread, and Python's part of the
#: handler waits for the main thread, whose call is not interrupted.
WAIT = """\
import signal, threading, time
threading.Thread(target=time.sleep, args=(100,), daemon=True).start()
def wait(*mask):
    signal.pthread_sigmask(signal.SIG_BLOCK, mask)
    print("loading", flush=True)
    time.sleep(100)
"""


@pytest.mark.parametrize("mask", ["", "signal.SIGINT"], ids=["in the call", "right before the call"])
@pytest.mark.parametrize(
    "body",
    [
        "wait({mask})",
        "try:\n    wait({mask})\nexcept:\n    pass",
        "class Slow:\n    def __set_name__(self, owner, name):\n        wait({mask})\nclass Owner:\n    slow = Slow()",
    ],
    ids=["plain", "swallowed", "become another error"],
)
def test_while_the_config_is_loaded(fission: CommandLine, body: str, mask: str) -> None:
    """Whatever the user's modules make of a KeyboardInterrupt, nothing is started after it."""
    files = network("", "Endless(outputs=[PicklePipe(1)]), Show(inputs=[PicklePipe(1)])")
    fission.project(files | {"net/config.py": f"{WAIT}{body.format(mask=mask)}\n{files['net/config.py']}"})
    client = fission.start("net", "simulate")
    client.wait_for("loading")
    done = stop(client, fission.root)
    assert done.stderr.strip() == ""
    assert not (fission.root / "net/simulation").exists()


@pytest.mark.parametrize("mask", ["", "signal.SIGINT"], ids=["in the call", "right before the call"])
def test_while_a_config_is_only_checked(fission: CommandLine, mask: str) -> None:
    fission.project({"net/config.py": f"{WAIT}wait({mask})\n"})
    client = fission.start("net", "check")
    client.wait_for("loading")
    assert stop(client, fission.root).stderr.strip() == ""


def test_at_the_end(fission: CommandLine) -> None:
    """Ctrl-C while the network ends by itself: one of the two wins, and either is clean."""
    fission.project(network("", "Count(3, outputs=[PicklePipe(1)]), Show(inputs=[PicklePipe(1)])"))
    for text, stream in (
        ("got 3", "stdout"),
        ("Show 2 finished", "stderr"),
        ("Count 1 finished", "stderr"),
        ("net: finished", "stdout"),
    ) * 2:
        with fission.start("net", "simulate") as client:
            client.wait_for(text, stream=stream)
            client.interrupt()
            done = finish(client, fission.root, None)
            assert done.exit_code in (0, 130), done
            assert "Traceback" not in done.stderr
            assert "KeyboardInterrupt" not in done.stderr
            assert printed(done.stdout, "Show 2") == ["got 1", "got 2", "got 3"]


def test_when_no_program_reads_the_output(fission: CommandLine) -> None:
    """A reader that stops reading, as a pager does, fills the pipe; Ctrl-C must reach the client all the same."""
    jobs = """
    class Floods(PythonJob):
        def run(self):
            while True:
                print("x" * 1000)
                yield 1
    """
    fission.project(network(jobs, "Floods(outputs=[PicklePipe(1)]), Show(inputs=[PicklePipe(1)])"))
    script = f"{fission_command()} net simulate >pipe 2>errors"
    os.mkfifo(fission.root / "pipe")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([SOURCE, os.environ.get("PYTHONPATH", "")])}
    shell = subprocess.Popen(["sh", "-c", f"exec {script}"], cwd=fission.root, env=environment, start_new_session=True)
    reader = os.open(fission.root / "pipe", os.O_RDONLY)  # and never a read
    try:
        eventually(lambda: blocked(shell.pid), 10, "the client's output is stuck")
        os.killpg(shell.pid, signal.SIGINT)
        assert shell.wait(STOP_S) == 130
    finally:
        if shell.poll() is None:
            shell.kill()
            shell.wait()
        os.close(reader)
    assert not remains(fission.root)


def test_the_reader_of_the_output_goes_away(fission: CommandLine) -> None:
    """As with `| head -1`: the network is stopped without a complaint of ours."""
    fission.project(network("", "Endless(outputs=[PicklePipe(1)]), Show(inputs=[PicklePipe(1)])"))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([SOURCE, os.environ.get("PYTHONPATH", "")])}
    command = f"{fission_command()} net simulate 2>errors | head -1"
    done = subprocess.run(["sh", "-c", command], cwd=fission.root, env=environment, capture_output=True, text=True, timeout=20, check=True)
    errors = (fission.root / "errors").read_text()
    assert done.stdout == "[Show 2] got 1\n", errors
    assert "Traceback" not in errors
    assert "Exception ignored" not in errors
    eventually(lambda: not remains(fission.root), 2, lambda: str(remains(fission.root)))
