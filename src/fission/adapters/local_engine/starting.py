"""Starts fork servers, and words what they report about the setting PRELOAD."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from fission.ports import NodeName
from fission.protocol.messages.fork_server_to_client import ForkServerReady

#: Code that a fork server's interpreter runs. It receives sys.path as an argument and not as PYTHONPATH, which the jobs and
#: their executables would inherit: a script for another Python would find the wrong standard library.
FORK_SERVER_CODE = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from fission.runtime.job_fork_server import main; sys.exit(main(sys.argv[2:]))"
)


@dataclass(frozen=True)
class ForkServerStart:
    """What all fork servers of an engine have in common; see `LocalEngine`."""

    run_folder: str
    preload: Sequence[str]
    pulse_interval_s: float
    cleanup: tuple[str, str]
    title: str
    program: str

    def start(self, name: NodeName, user_modules: Sequence[str]) -> tuple[subprocess.Popen[bytes], socket.socket]:
        """Start a fork server; return its process and the client's end of its socket.

        Args:
            name: name of its virtual node.
            user_modules: modules of PRELOAD.

        Raises:
            OSError: the system refuses the process.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            path = json.dumps([entry for entry in sys.path if entry])
            command = [sys.executable, "-c", self.program, path, str(theirs.fileno()), self.run_folder]
            title = " ".join(("fission:", *self.title.split(), "fork", "server", name))
            command += [*self.cleanup, str(self.pulse_interval_s), title, *self.preload, "--", *user_modules]
            # its own session: a Ctrl-C at the terminal reaches only the client, which then stops the jobs in order
            try:
                process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, start_new_session=True)
            except OSError:
                ours.close()
                raise
        return process, ours


def failures(report: ForkServerReady) -> list[str]:
    """Return a sentence about each module that could not be imported, without an end."""
    return [f"PRELOAD names {remark.module!r}, which cannot be imported: {remark.text}" for remark in report.failed]


def remarks(report: ForkServerReady) -> list[str]:
    """Return a sentence about each module that has left something running or open."""
    return [f"PRELOAD: {remark.module} {remark.text}" for remark in report.remarks]
