"""The terminal output of a running network: lines of jobs, prefixed with the job's name, and
events.

User text is written unchanged: not wrapped, no markup, no highlighting. Only FISSION's own text has
colours, and only on a terminal.
"""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TextIO

from fission.cli.jobs_table import terminal_width
from fission.cli.nodes_table import node_lines
from fission.cli.repeats import Repeats
from fission.core.nodes import NodeInfo
from fission.ports import Observer

# The address of virtual nodes.
LOOPBACK = "127.0.0.1"
# Six hues that are distinguishable on dark and light backgrounds. The job's id selects one, so a job keeps its colour from run to run.
JOB_STYLES = ("cyan", "green", "magenta", "yellow", "blue", "bright_red")


class ConsoleObserver(Observer):
    """An observer that writes each line at once and whole. Thread-safe.

    Args:
        out: stream for the jobs' standard output; default: sys.stdout.
        err: stream for the jobs' standard error and FISSION's messages; default: sys.stderr.
    """

    def __init__(self, out: TextIO | None = None, err: TextIO | None = None) -> None:
        self._out = _Paint(sys.stdout if out is None else out)
        self._err = _Paint(sys.stderr if err is None else err)
        self._lock = threading.Lock()
        self._repeats = Repeats()
        self._reason: tuple[str, int, str] | None = None
        self._placing = False  # whether there are several nodes

    def job_started(self, job: str, job_id: int) -> None:
        if not self._placing:  # otherwise `job_placed` reports it with its node
            self._write_event(job_id, job, "started", "dim")

    def nodes_ready(self, nodes: Sequence[NodeInfo], missing: Mapping[str, str]) -> None:
        if (len(nodes) < 2 and not missing) or all(node.ip == LOOPBACK for node in nodes):
            return  # a table with only this machine has no information
        self._placing = True
        rows = [{**asdict(node), "up": node.name not in missing} for node in nodes]
        with self._lock:
            for line in node_lines(rows, self._err.width):
                self._err.write(f"{line}\n")
            for hint in filter(None, missing.values()):
                self._err.write(f"{hint}\n")

    def job_placed(self, job: str, job_id: int, node: str) -> None:
        if self._placing:
            self._write_event(job_id, job, f"on node {node}", "dim")

    def job_output(self, job: str, job_id: int, stream: str, line: str) -> None:
        paint = self._err if stream == "stderr" else self._out
        with self._lock:
            paint.write(f"{paint.styled(f'[{job}]', _style(job_id))} {line}\n")

    def job_ended(self, job: str, job_id: int, outcome: str) -> None:
        self._write_event(job_id, job, outcome, "dim")

    def job_failed(self, job: str, job_id: int, report: str) -> None:
        with self._lock:
            self._err.write(f"{self._err.styled(f'{job} failed:', 'bold red')}\n{report.rstrip()}\n")

    def network_failed(self, job: str, job_id: int, report: str) -> None:
        self._reason = (job, job_id, report)

    def last_words(self) -> None:
        """Write the failure that ended the network, if any. Call it last, after the summary."""
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

    def _write_event(self, job_id: int, job: str, text: str, style: str) -> None:
        with self._lock:
            self._err.write(f"{self._err.styled(job, _style(job_id))} {self._err.styled(text, style)}\n")


def _style(job_id: int) -> str:
    return JOB_STYLES[job_id % len(JOB_STYLES)]


class _Paint:
    """A text stream with the escape sequences that its terminal supports.

    Attributes:
        width: characters of a line; None if it is not a terminal.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._known: dict[tuple[str, str], str] = {}
        self._colours = stream.isatty()
        self.width = terminal_width(stream)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a job may print characters that this terminal's encoding lacks

    def write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()

    def styled(self, text: str, style: str) -> str:
        """Return the text with escape sequences; unchanged without colours (a pipe, NO_COLOR, a
        dumb terminal).
        """
        if not self._colours:
            return text
        key = (text, style)
        if key not in self._known:
            # Rendered once: rich is much too slow for every line of a busy job.
            from rich.console import Console as RichConsole
            from rich.text import Text

            rich = RichConsole(file=self._stream)
            with rich.capture() as capture:
                rich.print(Text(text, style), end="", soft_wrap=True)
            self._known[key] = capture.get()
        return self._known[key]
