"""The zygote of a node: a process with the runtime loaded that forks a job's process in milliseconds.

It has one thread, reads orders from a stream socket (see `Splitter`; each message is a JSON line and, behind it, a bundle)
and reports ends. Orders: ``launch`` with a pickled `JobBundle`, a `Place` if the bundle does not say where the job works, and three
descriptors (standard output, standard error, report); ``kill`` with a signal. It never unpickles a bundle and never imports user
code. When the socket ends, because the node's service or the client is gone, it kills every job, removes the run's folder and ends.

Every job is a process group of its own, so that what a job has started dies with it. What has left the group is found by the mark in its
environment (`fission.descendants`), because on Linux the zygote adopts the orphans of its jobs: it is killed when its job has ended. What
has given up its environment too is killed when no job is left.

It survives what the system refuses for a while: a job for which there is no process, memory or descriptor is reported as one that this
node cannot start.
"""

from __future__ import annotations

import array
import contextlib
import errno
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
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from fission import descendants
from fission.errors import error_text
from fission.ports import JobBundle, Place
from fission.protocol.splitter import Splitter
from fission.runtime import job_process
from fission.runtime.process_title import set_title

#: Descriptors that come with a launch: standard output, standard error, report.
DESCRIPTORS = 3
#: Most bytes that are read at once; arbitrary.
READ_BYTES = 1 << 20
#: What the system says while it lacks something, and seconds until it is asked again; arbitrary.
SCARCE, SCARCE_S = frozenset({errno.ENOMEM, errno.EAGAIN, errno.ENOBUFS, errno.EMFILE, errno.ENFILE}), 0.05


class _Descriptors:
    """Descriptors that have come for launches, in order; those that the system has refused to hand over are missing as a whole."""

    def __init__(self) -> None:
        self._sets: deque[list[int] | None] = deque()

    def add(self, numbers: list[int], *, cut: bool) -> None:
        if cut:  # this process may have no more descriptors: what has come of this set is useless
            _close_all(numbers)
        self._sets.append(None if cut or len(numbers) != DESCRIPTORS else numbers)

    def take(self) -> list[int] | None:
        return self._sets.popleft() if self._sets else None

    def close(self) -> None:
        for numbers in self._sets:
            _close_all(numbers or [])


class _Child:
    """What `serve` returns in a job's process."""

    def __init__(self, bundle: bytes, place: dict[str, Any] | None, descriptors: list[int], life: int, mark: str) -> None:
        self.bundle, self.place, self.descriptors, self.life, self.mark = bundle, place, descriptors, life, mark

    def run(self) -> NoReturn:
        """Become the job."""
        stdout, stderr, report = self.descriptors
        os.environ[descendants.MARK] = f"{self.mark}{os.getpid()}"
        job_process.take_over_output(stdout, stderr)
        bundle: JobBundle = pickle.loads(self.bundle)
        job_process.become_job(bundle if self.place is None else bundle.at(Place(**self.place)), report, self.life)


class Zygote:
    """Serves one socket until it ends."""

    def __init__(self, channel: socket.socket, pulse_interval_s: float, mark: str, fork: Callable[[], int] = os.fork) -> None:
        """Prepare; `serve` begins.

        Args:
            channel: to the node's service or the client.
            pulse_interval_s: seconds between the pulses by which they know that the node lives.
            mark: what the marks of the jobs' processes begin with, their ids follow.
            fork: makes a job's process.
        """
        self._mark, self._fork = mark, fork
        self._ended_marks: set[str] = set()  # of jobs that have ended, while something of theirs may live
        self._channel = channel
        self._pulse_interval_s = pulse_interval_s
        self._splitter = Splitter()
        self._descriptors = _Descriptors()
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
        while descendants.kill(orphans := descendants.children_of(os.getpid())):
            _wait_for(orphans)

    def _read(self) -> list[bytes] | None:
        space = socket.CMSG_SPACE(DESCRIPTORS * array.array("i").itemsize)
        try:
            data, ancillary, flags, _ = self._channel.recvmsg(READ_BYTES, space)
        except ConnectionResetError:
            return None  # the other side went away before it had read all our reports
        except (MemoryError, OSError) as why:
            if isinstance(why, OSError) and why.errno not in SCARCE:
                raise
            time.sleep(SCARCE_S)  # nothing was read: it is still there when there is memory
            return []
        numbers: list[int] = []
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                some = array.array("i")
                some.frombytes(content[: len(content) - len(content) % some.itemsize])
                numbers += some
        cut = bool(flags & socket.MSG_CTRUNC)
        if numbers or cut:
            self._descriptors.add(numbers, cut=cut)
        return self._messages(data) if data else None

    def _messages(self, data: bytes) -> list[bytes]:
        """What is whole now; waits for memory where there is none, because a stream that has lost something is lost."""
        while True:
            before = self._splitter.pending
            try:
                return self._splitter.feed(data)
            except MemoryError:
                if self._splitter.pending != before:
                    data = b""  # it has taken it, and only could not give the messages
                time.sleep(SCARCE_S)

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
        known = {"job": order["job"], "incarnation": order["incarnation"]}
        descriptors = self._descriptors.take()
        if descriptors is None:
            self._report(known | {"event": "refused", "cause": "it has no free descriptors (ulimit -n)"})
            return None
        try:
            process = self._fork()
        except (OSError, MemoryError) as why:
            _close_all(descriptors)
            self._report(known | {"event": "refused", "cause": f"the system makes no new process: {error_text(why)}"})
            return None
        if process == 0:
            return self._become_job(bundle, order.get("place"), descriptors)
        with contextlib.suppress(OSError):
            os.setpgid(process, process)  # here too: an order to kill may come before the child has done it
        _close_all(descriptors)
        self._jobs[process] = known
        self._report(known | {"event": "launched", "process": process})
        return None

    def _become_job(self, bundle: bytes, place: dict[str, Any] | None, descriptors: list[int]) -> _Child:
        self._jobs.clear()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setpgid(0, 0)
        self._selector.close()
        self._channel.close()
        _close_all((self._life_write, self._wake_read, self._wake_write))
        self._descriptors.close()
        return _Child(bundle, place, descriptors, self._life, self._mark)

    def _reap(self) -> None:
        ended = []
        orphans = False
        while (found := _ended_child()) is not None:
            process, status = found
            orphans = True  # also if it was one: what it had started is ours now
            if process in self._jobs:
                _kill_group(process, signal.SIGKILL)  # what the job has started and left behind
                self._ended_marks.add(f"{self._mark}{process}")
                ended.append(self._jobs.pop(process) | {"event": "exited", "code": os.waitstatus_to_exitcode(status)})
        if orphans:
            self._kill_orphans()
        for event in ended:
            self._report(event)

    def _kill_orphans(self) -> None:
        """Kill what jobs that have ended have left behind in sessions of its own; without any job, all that is left."""
        found = set()
        for process in descendants.children_of(os.getpid()):
            if process not in self._jobs:
                mark = descendants.mark_of(process)
                if (mark in self._ended_marks or not self._jobs) and descendants.kill([process]):
                    found.add(mark)
        self._ended_marks &= found  # their ends will show whether they had started more

    def _report(self, event: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):  # the reader is gone: its end of the socket is met next
            self._channel.sendall(Splitter.join(json.dumps(event).encode()))


def _kill_group(process: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process, number)


def _close_all(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


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


def main(arguments: list[str], fork: Callable[[], int] = os.fork) -> int:
    """Serve the socket with descriptor ``arguments[0]``.

    Args:
        arguments: the descriptor; the run's folder, which is removed at the end; import string of a function that is called at the
            end, and its argument; seconds between pulses; its title; modules to load.
        fork: makes a job's process.
    """
    channel = socket.socket(fileno=int(arguments[0]))
    set_title(arguments[5])
    for module in arguments[6:]:
        importlib.import_module(module)
    # as the engine knows it, which looks for what is left when this process was killed
    zygote = Zygote(channel, float(arguments[4]), f"{arguments[1]}:{os.getpid()}:", fork)
    with contextlib.suppress(OSError):  # the other side is gone already, which `serve` will find too
        channel.sendall(Splitter.join(json.dumps({"event": "ready"}).encode()))
    descendants.adopt_orphans()
    child, owner, over = None, os.getpid(), False
    try:
        child = zygote.serve()
        over = child is None
    finally:
        if child is None and os.getpid() == owner:
            zygote.kill_all()
            if over:  # else the engine lives, and the next zygote needs the folder
                shutil.rmtree(arguments[1], ignore_errors=True)
                if arguments[2]:
                    module, _, name = arguments[2].partition(":")
                    getattr(importlib.import_module(module), name)(arguments[3])
    if child is not None:
        child.run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
