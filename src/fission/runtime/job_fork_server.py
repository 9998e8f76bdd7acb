"""The fork server of a node: forks the processes of its jobs.

A request contains a `job_payload` and three descriptors: standard output, standard error, report.
Only the job's own process unpickles the bundle.

A spare has called the function `warm_up` of each loaded module that has one: it does in small what
every job does with the module first. The memory that a job shares with the server is copied page
by page when the job first writes to it, which is half of its start.
"""

from __future__ import annotations

import importlib
import os
import shutil
import socket
import sys
from collections.abc import Callable, Sequence

from fission.ports import bundle_of
from fission.posix.fork_server import READY, Child, ForkServer
from fission.protocol.messages.fork_server_to_client import ForkServerReady
from fission.runtime import job_process
from fission.runtime.preloading import ending_with, preload, renew_random_numbers
from fission.runtime.process_title import set_title

#: Descriptors that come with each request: standard output, standard error, report.
DESCRIPTORS = 3


def main(arguments: list[str], fork: Callable[[], int] = os.fork) -> int:
    """Serve the socket with descriptor ``arguments[0]``.

    Args:
        arguments: descriptor; folder of the run, which is removed at the end; import string of a
            function that is called at the end, and its argument; seconds between pulses; title of
            the process; modules to load; "--"; the user's modules to load (PRELOAD).
        fork: function that forks a job's process.
    """
    channel = socket.socket(fileno=int(arguments[0]))
    set_title(arguments[5])
    end = arguments.index("--", 6)
    for module in arguments[6:end]:
        importlib.import_module(module)
    ready = READY
    if users := arguments[end + 1 :]:
        os.dup2(2, 1)  # what a module prints must not be mixed with the client's results
        with ending_with(channel.fileno(), lambda: _clean_up(arguments)):
            failed, remarks = preload(users)
        ready = ForkServerReady(failed=failed, remarks=remarks)
    server = ForkServer(
        channel,
        _become_job,
        mark=f"{arguments[1]}:{os.getpid()}:",  # known to the engine, which searches for leftover processes if this process was killed
        descriptors=DESCRIPTORS,
        pulse_interval_s=float(arguments[4]),
        fork=fork,
        ready=ready,
        prepare_spare=lambda: _prepare_spare(arguments[5], arguments[6:end]),
    )
    if server.serve():  # otherwise the engine still runs, and the next fork server needs the folder
        _clean_up(arguments)
    return 0


def _clean_up(arguments: list[str]) -> None:
    shutil.rmtree(arguments[1], ignore_errors=True)
    if arguments[2]:
        module, _, name = arguments[2].partition(":")
        getattr(importlib.import_module(module), name)(arguments[3])


def _prepare_spare(title: str, modules: Sequence[str]) -> None:
    set_title(title)
    renew_random_numbers()
    for module in modules:
        if (warm_up := getattr(sys.modules[module], "warm_up", None)) is not None:
            warm_up()


def _become_job(child: Child) -> None:
    stdout, stderr, report = child.descriptors
    renew_random_numbers()
    job_process.take_over_output(stdout, stderr)
    job_process.become_job(bundle_of(child.payload), report, child.server_alive)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
