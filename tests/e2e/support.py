"""What the tests of whole networks share: the documents' code, results as files, and what must be gone when a client has ended.

`finish` is how these tests end a client: it waits for the end and for nothing being left of the run, at once and not only after the
grace that tests/hygiene.py gives at the end of a test.
"""

from __future__ import annotations

import contextlib
import csv
import os
import re
import tempfile
import textwrap
import time
from pathlib import Path

import psutil

from tests import hygiene
from tests.waiting import DEADLINE_S, Finished, Running, eventually, is_running

DOCUMENTS = Path(__file__).parent / "documents"
#: What Ctrl-C, SIGTERM and the end of a network may take (SPEC section 1).
STOP_S = 2.0
#: What the kernel may take to bury processes that were killed, and files of a run after a crash; arbitrary.
GONE_S = 2.0

#: First lines of the jobs.py of most tests.
IMPORTS = """\
import json, os, signal, subprocess, sys, threading, time
from fission.core.jobs import *
from fission.core.pipes import *
"""
#: A job that tells its process id and then sends numbers for ever, and sinks that show or count what comes.
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
    """The blocks of the documents, one behind the other."""
    return "\n\n".join((DOCUMENTS / f"{name}.txt").read_text(encoding="utf-8") for name in names)


def network(jobs: str, listed: str, *, extra: str = "", name: str = "net") -> dict[str, str]:
    """The files of a network: the classes of its jobs.py and the entries of JOBS."""
    return {
        f"{name}/jobs/jobs.py": IMPORTS + COMMON_JOBS + textwrap.dedent(jobs),
        f"{name}/config.py": f"from {name}.jobs.jobs import *\n{textwrap.dedent(extra)}\nJOBS = [\n{textwrap.dedent(listed)}\n]\n",
    }


def rows(path: Path) -> list[list[str]]:
    """The rows of a CSV file, its header first; none if it is not there yet. A row that is not complete does not count."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    return list(csv.reader(text[: text.rfind("\n") + 1].splitlines()))


def column(path: Path, number: int = 0) -> list[int]:
    """One column of a CSV file of whole numbers, without the header."""
    return [int(row[number]) for row in rows(path)[1:]]


def printed(text: str, job: str) -> list[str]:
    """What a job printed, in order."""
    return re.findall(rf"^\[{re.escape(job)}\] (.*)$", text, re.MULTILINE)


def run_folders() -> set[str]:
    """The temporary folders of runs that exist now."""
    with contextlib.suppress(FileNotFoundError):
        return {name for name in os.listdir(tempfile.gettempdir()) if name.startswith("fission-")}
    return set()


def descendants(pid: int) -> list[psutil.Process]:
    """Everything that a process has started and that still lives."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return [child for child in psutil.Process(pid).children(recursive=True) if is_running(child.pid)]
    return []


def remains(root: Path) -> list[str]:
    """What is left of this test's runs: processes that have come down to this one, and what the last runs of a project's networks had."""
    processes = [child for child in descendants(os.getpid()) if child not in hygiene.held_processes]
    found = [f"process {child.pid}: {_command(child)}" for child in processes if "resource_tracker" not in _command(child)]
    folders = {name for name in run_folders() if f"{tempfile.gettempdir()}/{name}" not in hygiene.held_things}
    found += sorted(f"run folder {name}" for name in folders)
    found += [str(path) for pattern in ("running.json", "*/.*.fifo") for path in root.glob(f"*/simulation/{pattern}")]
    return found


def finish(client: Running, root: Path, exit_code: int | None, deadline_s: float = DEADLINE_S) -> Finished:
    """Waits for the end of a client and checks its exit code, and that nothing is left of its run."""
    done = client.wait(deadline_s, exit_code=exit_code)
    eventually(lambda: not remains(root), GONE_S, lambda: "nothing is left behind; there is still " + "; ".join(remains(root)))
    return done


def stop(client: Running, root: Path, exit_code: int = 130) -> Finished:
    """Ctrl-C; the client must end in time and leave nothing."""
    began = time.monotonic()
    client.interrupt()
    done = finish(client, root, exit_code)
    assert time.monotonic() - began < STOP_S, f"it took {time.monotonic() - began:.2f} s\n{done}"
    return done


def _command(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline()) or str(process.name())
    return "?"
