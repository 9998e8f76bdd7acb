"""What a running network shows: each line of a job with the job's name in front, and what happens to the jobs.

The text of users is written as it comes: not wrapped, no markup, no highlighting. Only what FISSION adds has colours, and only
on a terminal.
"""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TextIO

from fission.cli.looking import table
from fission.cli.nodes_table import HEADINGS, node_cells
from fission.cli.repeats import Repeats
from fission.core.nodes import NodeInfo
from fission.ports import Observer

# The address that virtual nodes have.
LOOPBACK = "127.0.0.1"
# Six hues that can be told apart on dark and light backgrounds; a job's is chosen by its id, so it keeps it from run to run.
JOB_STYLES = ("cyan", "green", "magenta", "yellow", "blue", "bright_red")


class ConsoleObserver(Observer):
    """An observer that writes lines as they come, each whole, whichever thread calls.

    Args:
        out: takes the jobs' standard output; default: sys.stdout.
        err: takes the jobs' standard error and everything that FISSION itself says; default: sys.stderr.
    """

    def __init__(self, out: TextIO | None = None, err: TextIO | None = None) -> None:
        self._out = _Paint(sys.stdout if out is None else out)
        self._err = _Paint(sys.stderr if err is None else err)
        self._lock = threading.Lock()
        self._repeats = Repeats()
        self._reason: tuple[str, int, str] | None = None
        self._placing = False  # there are nodes to choose from

    def job_started(self, job: str, job_id: int) -> None:
        if not self._placing:  # else it is told with its node
            self._say(job_id, job, "started", "dim")

    def nodes_ready(self, nodes: Sequence[NodeInfo], missing: Mapping[str, str]) -> None:
        if (len(nodes) < 2 and not missing) or all(node.ip == LOOPBACK for node in nodes):
            return  # a table of this machine tells nothing
        self._placing = True
        rows = [node_cells(asdict(node), up=node.name not in missing) for node in nodes]
        with self._lock:
            for line in table(HEADINGS, rows):
                self._err.write(f"{line}\n")
            for hint in filter(None, missing.values()):
                self._err.write(f"{hint}\n")

    def job_placed(self, job: str, job_id: int, node: str) -> None:
        if self._placing:
            self._say(job_id, job, f"on node {node}", "dim")

    def job_output(self, job: str, job_id: int, stream: str, line: str) -> None:
        paint = self._err if stream == "stderr" else self._out
        with self._lock:
            paint.write(f"{paint.styled(f'[{job}]', _style(job_id))} {line}\n")

    def job_ended(self, job: str, job_id: int, outcome: str) -> None:
        self._say(job_id, job, outcome, "dim")

    def job_failed(self, job: str, job_id: int, report: str) -> None:
        with self._lock:
            self._err.write(f"{self._err.styled(f'{job} failed:', 'bold red')}\n{report.rstrip()}\n")

    def network_failed(self, job: str, job_id: int, report: str) -> None:
        self._reason = (job, job_id, report)

    def last_words(self) -> None:
        """Write the failure that has ended the network, if one has: after the summary, so that it is the last thing on the screen."""
        if self._reason is not None:
            reason, self._reason = self._reason, None
            self.job_failed(*reason)

    def failover(self, text: str) -> None:
        with self._lock:
            line = self._repeats.take(text)
            if line is not None:
                self._err.write(f"{self._err.styled('Failover:', 'bold magenta')} {line}\n")

    def notice(self, text: str) -> None:
        with self._lock:
            self._err.write(f"{text}\n")

    def warning(self, text: str) -> None:
        with self._lock:
            self._err.write(f"{self._err.styled('Warning:', 'bold yellow')} {text}\n")

    def _say(self, job_id: int, job: str, text: str, style: str) -> None:
        with self._lock:
            self._err.write(f"{self._err.styled(job, _style(job_id))} {self._err.styled(text, style)}\n")


def _style(job_id: int) -> str:
    return JOB_STYLES[job_id % len(JOB_STYLES)]


class _Paint:
    """A text stream and the escape sequences that it understands."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._known: dict[tuple[str, str], str] = {}
        self._colours = stream.isatty()
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a job may print what this terminal's encoding has not

    def write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()

    def styled(self, text: str, style: str) -> str:
        """*text* with the escape sequences around it; as it is where there are no colours (a pipe, NO_COLOR, a dumb terminal)."""
        if not self._colours:
            return text
        key = (text, style)
        if key not in self._known:
            # Rendered once: rich is far too slow to see every line of a busy job.
            from rich.console import Console as RichConsole
            from rich.text import Text

            rich = RichConsole(file=self._stream)
            with rich.capture() as capture:
                rich.print(Text(text, style), end="", soft_wrap=True)
            self._known[key] = capture.get()
        return self._known[key]
