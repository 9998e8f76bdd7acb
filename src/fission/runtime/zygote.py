"""The zygote of a node: a process with the runtime loaded that forks a job's process in milliseconds.

It has one thread, reads orders from a stream socket (see `Splitter`; each message is a JSON line and, behind it, a bundle)
and reports ends. Orders: ``launch`` with a pickled `JobBundle`, a `Place` if the bundle does not say where the job works, and three
descriptors (standard output, standard error, report); ``kill`` with a signal. It never unpickles a bundle and never imports user
code. When the socket ends, because the node's service or the client is gone, it kills every job, removes the run's folder and ends.

Every job is a process group of its own, so that what a job has started dies with it. What has left the group dies with the zygote,
which on Linux adopts the orphans of its jobs.
"""

from __future__ import annotations

import array
import contextlib
import importlib
import json
import os
import pickle
import selectors
import shutil
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Iterable
from typing import Any, NoReturn

from fission.ports import JobBundle, Place
from fission.protocol.splitter import Splitter
from fission.runtime import job_process

#: Descriptors that come with a launch: standard output, standard error, report.
DESCRIPTORS = 3
_PR_SET_CHILD_SUBREAPER = 36  # <linux/prctl.h>


class _Child:
    """What `serve` returns in a job's process."""

    def __init__(self, bundle: bytes, place: dict[str, Any] | None, descriptors: list[int], life: int) -> None:
        self.bundle, self.place, self.descriptors, self.life = bundle, place, descriptors, life

    def run(self) -> NoReturn:
        """Become the job."""
        stdout, stderr, report = self.descriptors
        job_process.take_over_output(stdout, stderr)
        bundle: JobBundle = pickle.loads(self.bundle)
        job_process.become_job(bundle if self.place is None else bundle.at(Place(**self.place)), report, self.life)


class Zygote:
    """Serves one socket until it ends."""

    def __init__(self, channel: socket.socket, pulse_interval_s: float) -> None:
        """Args: channel: to the node's service or the client. pulse_interval_s: how often it is told that the node lives."""
        self._channel = channel
        self._pulse_interval_s = pulse_interval_s
        self._splitter = Splitter()
        self._descriptors: deque[int] = deque()
        self._jobs: dict[int, dict[str, Any]] = {}  # by process id
        self._life, self._life_write = os.pipe()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(channel, selectors.EVENT_READ)
        self._selector.register(self._wake_read, selectors.EVENT_READ)

    def serve(self) -> _Child | None:
        """Serve until the socket ends. Returns in every job's process too, with what is to be run there."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        pulse_at = time.monotonic()
        while True:
            now = time.monotonic()
            if now >= pulse_at:
                self._report({"event": "pulse"})
                pulse_at = now + self._pulse_interval_s
            for key, _ in self._selector.select(pulse_at - now):
                if key.fileobj is self._channel:
                    messages = self._read()
                    if messages is None:
                        return None
                    for message in messages:
                        child = self._obey(message)
                        if child is not None:
                            return child
                else:
                    with contextlib.suppress(BlockingIOError):
                        os.read(self._wake_read, 4096)
            self._reap()

    def kill_all(self) -> None:
        """Kill every job and what jobs have started, and wait for their ends."""
        for process in list(self._jobs):
            _kill_group(process, signal.SIGKILL)
        _wait_for(self._jobs)
        while orphans := [process for process in _children() if _kill(process)]:
            _wait_for(orphans)

    def _read(self) -> list[bytes] | None:
        space = socket.CMSG_SPACE(DESCRIPTORS * array.array("i").itemsize)
        try:
            data, ancillary, _, _ = self._channel.recvmsg(1 << 20, space)
        except ConnectionResetError:
            return None  # the other side went away before it had read all our reports
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                numbers = array.array("i")
                numbers.frombytes(content[: len(content) - len(content) % numbers.itemsize])
                self._descriptors.extend(numbers)
        return self._splitter.feed(data) if data else None

    def _obey(self, message: bytes) -> _Child | None:
        line, _, tail = message.partition(b"\n")
        order = json.loads(line)
        if order["do"] == "launch":
            return self._launch(order, tail)
        for process, known in self._jobs.items():
            if known["job"] == order["job"] and known["incarnation"] == order["incarnation"]:
                if order["signal"] == signal.SIGKILL:
                    _kill_group(process, signal.SIGKILL)
                else:
                    os.kill(process, order["signal"])
        return None

    def _launch(self, order: dict[str, Any], bundle: bytes) -> _Child | None:
        descriptors = [self._descriptors.popleft() for _ in range(DESCRIPTORS)]
        process = os.fork()
        if process == 0:
            return self._become_job(bundle, order.get("place"), descriptors)
        with contextlib.suppress(OSError):
            os.setpgid(process, process)  # here too: an order to kill may come before the child has done it
        for descriptor in descriptors:
            os.close(descriptor)
        known = self._jobs[process] = {"job": order["job"], "incarnation": order["incarnation"]}
        self._report(known | {"event": "launched", "process": process})
        return None

    def _become_job(self, bundle: bytes, place: dict[str, Any] | None, descriptors: list[int]) -> _Child:
        self._jobs.clear()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setpgid(0, 0)
        self._selector.close()
        self._channel.close()
        for descriptor in (self._life_write, self._wake_read, self._wake_write, *self._descriptors):
            os.close(descriptor)
        return _Child(bundle, place, descriptors, self._life)

    def _reap(self) -> None:
        while (found := _ended_child()) is not None:
            process, status = found
            if process not in self._jobs:
                continue  # an orphan of a job
            _kill_group(process, signal.SIGKILL)  # what the job has started and left behind
            self._report(self._jobs.pop(process) | {"event": "exited", "code": os.waitstatus_to_exitcode(status)})

    def _report(self, event: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):  # the reader is gone: its end of the socket is met next
            self._channel.sendall(Splitter.join(json.dumps(event).encode()))


def _kill_group(process: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process, number)


def _kill(process: int) -> bool:
    try:
        os.kill(process, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _wait_for(processes: Iterable[int]) -> None:
    for process in processes:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(process, 0)


def _ended_child() -> tuple[int, int] | None:
    try:
        process, status = os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return None
    return (process, status) if process else None


def _adopt_orphans() -> None:
    """Become the parent of whatever the jobs leave behind, where the system has a way for that."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _children() -> list[int]:
    """Children of this process; empty where there is no /proc."""
    found = []
    for folder in filter(str.isdigit, os.listdir("/proc") if os.path.isdir("/proc") else []):
        # pid (name) state parent ...; the name may have anything in it. No file: it has ended meanwhile
        with contextlib.suppress(OSError), open(f"/proc/{folder}/stat", "rb") as file:
            if int(file.read().rpartition(b")")[2].split()[1]) == os.getpid():
                found.append(int(folder))
    return found


def main(arguments: list[str]) -> int:
    """Serve the socket with descriptor ``arguments[0]``.

    Args:
        arguments: the descriptor; the run's folder, which is removed at the end; import string of a function that is called at the
            end, and its argument; seconds between pulses; modules to load.
    """
    channel = socket.socket(fileno=int(arguments[0]))
    for module in arguments[5:]:
        importlib.import_module(module)
    zygote = Zygote(channel, float(arguments[4]))
    with contextlib.suppress(OSError):  # the other side is gone already, which `serve` will find too
        channel.sendall(Splitter.join(json.dumps({"event": "ready"}).encode()))
    _adopt_orphans()
    child, owner = None, os.getpid()
    try:
        child = zygote.serve()
    finally:
        if child is None and os.getpid() == owner:
            zygote.kill_all()
            shutil.rmtree(arguments[1], ignore_errors=True)
            if arguments[2]:
                module, _, name = arguments[2].partition(":")
                getattr(importlib.import_module(module), name)(arguments[3])
    if child is not None:
        child.run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
