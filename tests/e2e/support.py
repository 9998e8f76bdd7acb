"""Shared parts of the tests of whole networks: the documents' code, results, and leftovers.

These tests end a client with `finish`, which waits for the end and checks that nothing of the run
remains: at once, not only after the grace period that tests/hygiene.py gives at the end of a test.
"""

from __future__ import annotations

import contextlib
import csv
import os
import re
import tempfile
import textwrap
from pathlib import Path

import psutil

from tests import hygiene
from tests.deadlines import Deadline
from tests.waiting import DEADLINE_S, Finished, Running, eventually, is_running

DOCUMENTS = Path(__file__).parent / "documents"
#: Time limit in seconds for Ctrl-C, SIGTERM and the end of a network.
STOP_S = 2.0
#: Seconds for the kernel to remove killed processes and, after a crash, a run's files; arbitrary.
GONE_S = 2.0

#: First lines of the jobs.py of most tests.
IMPORTS = """\
import json, os, signal, subprocess, sys, threading, time
from fission.core.jobs import *
from fission.core.pipes import *
"""
#: A job that prints its process id and then sends endless numbers, and sinks that show or count them.
COMMON_JOBS = """
class Endless(PythonJob):
    def run(self):
        number = 0
        while True:
            number += 1
            yield number
            time.sleep(0.005)

class Count(PythonJob):
    def __init__(self, limit=10, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.limit = limit
    def run(self):
        yield from range(1, self.limit + 1)

class Show(PythonJob):
    def run(self, *values):
        print("got", *values)
"""


def document(*names: str) -> str:
    """Return the code blocks of the documents, concatenated."""
    return "\n\n".join((DOCUMENTS / f"{name}.txt").read_text(encoding="utf-8") for name in names)


def network(jobs: str, listed: str, *, extra: str = "", name: str = "net") -> dict[str, str]:
    """Return the files of a network: the classes of its jobs.py and the entries of JOBS."""
    return {
        f"{name}/jobs/jobs.py": IMPORTS + COMMON_JOBS + textwrap.dedent(jobs),
        f"{name}/config.py": f"from {name}.jobs.jobs import *\n{textwrap.dedent(extra)}\nJOBS = [\n{textwrap.dedent(listed)}\n]\n",
    }


def rows(path: Path) -> list[list[str]]:
    """Return the rows of a CSV file, its header first; none without a file.

    An incomplete row does not count.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    return list(csv.reader(text[: text.rfind("\n") + 1].splitlines()))


def column(path: Path, number: int = 0) -> list[int]:
    """Return one column of a CSV file of integers, without the header."""
    return [int(row[number]) for row in rows(path)[1:]]


def printed(text: str, job: str) -> list[str]:
    """Return the lines that a job printed, in order."""
    return re.findall(rf"^\[{re.escape(job)}\] (.*)$", text, re.MULTILINE)


def run_folders() -> set[str]:
    """Return the temporary folders of runs that exist now."""
    with contextlib.suppress(FileNotFoundError):
        return {name for name in os.listdir(tempfile.gettempdir()) if name.startswith("fission-")}
    return set()


def descendants(pid: int) -> list[psutil.Process]:
    """Return all running processes that a process has started."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return [child for child in psutil.Process(pid).children(recursive=True) if is_running(child.pid)]
    return []


def remains(root: Path) -> list[str]:
    """Return what remains of this test's runs.

    These are processes that descend from this one, and the resources of a project's last runs.
    """
    processes = [child for child in descendants(os.getpid()) if child not in hygiene.held_processes]
    found = [f"process {child.pid}: {_command(child)}" for child in processes if "resource_tracker" not in _command(child)]
    folders = {name for name in run_folders() if f"{tempfile.gettempdir()}/{name}" not in hygiene.held_things}
    found += sorted(f"run folder {name}" for name in folders)
    found += [str(path) for pattern in ("running.json", "*/.*.fifo") for path in root.glob(f"*/simulation/{pattern}")]
    return found


def finish(client: Running, root: Path, exit_code: int | None, deadline_s: float = DEADLINE_S) -> Finished:
    """Wait for the end of a client; check its exit code and that nothing of its run remains."""
    done = client.wait(deadline_s, exit_code=exit_code)
    eventually(lambda: not remains(root), GONE_S, lambda: "nothing is left behind; there is still " + "; ".join(remains(root)))
    return done


def stop(client: Running, root: Path, exit_code: int = 130, within_s: float = STOP_S) -> Finished:
    """Press Ctrl-C; the client must end in time and leave nothing."""
    end = Deadline(within_s)
    client.interrupt()
    done = finish(client, root, exit_code)
    assert not end.over, f"it took {end.passed_s:.2f} s\n{done}"
    return done


def _command(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline()) or str(process.name())
    return "?"
