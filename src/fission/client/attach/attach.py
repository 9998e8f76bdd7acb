"""Another terminal's side of a running network: attach, stop, status, background start."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fission import durable
from fission.client.attach.follow import as_json
from fission.client.folders.endings import pid_of
from fission.client.serve.broadcast import retell
from fission.client.serve.control_server import RUNNING_FILE, Viewer, run_folders_of
from fission.errors import EXIT_FAILED, EXIT_OK, EngineError, UnknownNameError, UserError
from fission.ports import Observer
from fission.posix.exit_status import how_ended
from fission.protocol.messages.client_to_viewer import JobsMeasured, RunFollowed, RunStatus, RunStopping
from fission.protocol.messages.run_events import EVENTS, ShowSummary
from fission.protocol.messages.viewer_to_client import FollowRun, InspectRun, MeasureJobs, StopRun

#: Seconds that a client has to end after the request to stop: the grace of its jobs, and the cleaning up. Arbitrary.
STOP_S = 15.0
#: Seconds until a client in the background must answer requests. Arbitrary: loading a project may take long on a
#: board.
START_S = 60.0
#: Seconds between two checks for it; arbitrary.
LOOK_S = 0.05


def attach(
    folder: Path, observer: Observer, *, jobs: Sequence[int] = (), nodes: Sequence[str] = (), events: bool = True
) -> tuple[list[str], int]:
    """Follow a running network until it ends. Blocks.

    Args:
        folder: the network's folder.
        observer: notified of what its client reports, with ``events`` also of recent events.
        jobs: ids of the jobs whose output is wanted; empty: all.
        nodes: names or addresses of nodes; only the output of jobs on these nodes is wanted; empty:
            all nodes.
        events: whether more than output is wanted.

    Returns:
        The lines of the summary, and the exit code; ([], 1) if the client died.

    Raises:
        UserError: the network is not running on this machine, or there is no such job or node.
    """
    with Viewer(folder) as viewer:
        names = _node_names(viewer, nodes) if nodes else []
        if events:
            observer.notice(f"following {folder.name}; Ctrl-C ends this view, not the network")
        viewer.ask(FollowRun(jobs=tuple(jobs), nodes=tuple(names), outputs=True, events=events), RunFollowed)
        for packet in viewer.packets():
            if packet is None:
                continue
            event = EVENTS.decode(packet)
            if isinstance(event, ShowSummary):
                return list(event.lines), event.exit_code
            retell(event, observer)
    return [], EXIT_FAILED if events else EXIT_OK


def _node_names(viewer: Viewer, wanted: Sequence[str]) -> list[str]:
    """Return the names of nodes given by name or address.

    Raises:
        UnknownNameError: there is no such node.
    """
    from fission.project.names import did_you_mean

    known = viewer.ask(InspectRun(), RunStatus).nodes
    names = []
    for word in wanted:
        meant = [node.name for node in known if word in (node.name, node.ip)]
        if not meant:
            words = [word for node in known for word in dict.fromkeys((node.name, node.ip)) if word]
            raise UnknownNameError(f"there is no node {word}{did_you_mean(word, words) or '.'} Nodes: {', '.join(words)}")
        names += meant
    return list(dict.fromkeys(names))


def stop(folder: Path) -> None:
    """Stop a running network and wait for its end. Blocks.

    Raises:
        UserError: the network is not running on this machine.
        EngineError: the network does not end.
    """
    process = ask_to_stop(folder)
    deadline = time.monotonic() + STOP_S
    while _alive(process):
        if time.monotonic() > deadline:
            raise EngineError(f"the client of {folder.name} (process {process}) has not ended for {STOP_S:g} s; kill -9 {process} ends it")
        time.sleep(LOOK_S)


def ask_to_stop(folder: Path, by: str = "") -> int:
    """Ask a running network to stop; return the process id of its client, which ends. Blocks.

    Args:
        folder: the network's folder.
        by: who asks, for the run's log; empty: this user, at this machine.

    Raises:
        UserError: the network is not running on this machine.
    """
    with Viewer(folder) as viewer:
        return viewer.ask(StopRun(by=by), RunStopping).pid


def runs_here(folder: Path) -> bool:
    """Return whether the network of a folder is running on this machine."""
    try:
        with Viewer(folder):
            return True
    except UserError:
        return False


def status(folder: Path) -> dict[str, Any]:
    """Return the nodes and jobs of a running network as JSON values.

    Raises:
        UserError: the network is not running on this machine.
    """
    with Viewer(folder) as viewer:
        return {**as_json(viewer.ask(InspectRun(), RunStatus)), **as_json(viewer.ask(MeasureJobs(), JobsMeasured))}


def start_in_background(command: Sequence[str], folder: Path) -> tuple[int, str]:
    """Start a client that outlives this process; return its process id and its output so far once it answers. Blocks.

    Args:
        command: command line of the client.
        folder: the network's folder.

    Raises:
        UserError: the client ended at once; the text is its output.
        EngineError: the client did not answer in time.
    """
    descriptor, name = tempfile.mkstemp(prefix=durable.UNFINISHED, dir=folder)
    output = Path(name)
    with os.fdopen(descriptor, "r+b") as said:
        try:
            process = subprocess.Popen(
                [*command, "--output", name], stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True
            )
            deadline = time.monotonic() + START_S
            while time.monotonic() < deadline:
                if process.poll() == EXIT_OK:
                    return process.pid, _written(said.fileno())  # a short run
                if process.returncode is not None:
                    text = _written(said.fileno()).strip().removeprefix("Error: ")
                    raise UserError(text or f"the client {how_ended(process.returncode)}")
                if process.pid in (pid_of(run / RUNNING_FILE) for run in run_folders_of(folder)):
                    return process.pid, _written(said.fileno())
                time.sleep(LOOK_S)
        finally:
            output.unlink(missing_ok=True)  # the client has moved it into the folder of its run
    process.terminate()
    raise EngineError(f"the client has not answered for {START_S:g} s; it was stopped")


def _written(descriptor: int) -> str:
    """Return what is in a file, without moving its position: the process that writes shares it."""
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0).decode("utf-8", "replace")


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        # an unreaped child of this process is dead all the same
        with open(f"/proc/{process}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] != b"Z"
    except OSError:
        return not sys.platform.startswith("linux")
