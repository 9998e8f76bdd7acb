"""Where a Broker's worker processes come from: a process that has loaded everything, has no threads, and forks.

A fork takes some ten milliseconds, and what the user's script has defined is there in it, a StoreClass of the script itself too. The
nest ends with its Broker, and every worker process with the nest, however they die.

So does whatever the workers have started and left behind, a daemon in a session of its own too (Linux): each worker process is the
*subreaper* of what it starts, and when it is dead the nest is; what has no other parent there belongs to a dead worker and is killed.
Only when the nest itself is killed by SIGKILL does the system know nothing of this.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Container
from typing import Any, NoReturn

import psutil

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # <linux/prctl.h>
_ENDING = (signal.SIGINT, signal.SIGTERM)


class Nest:
    """The Broker's end. One thread's."""

    def __init__(self, prepare: Callable[[], None], live: Callable[[int, dict[str, Any]], None]) -> None:
        """Forks the nest; to be called before this process has threads.

        Args:
            prepare: called once in the nest: load what all processes need.
            live: called in each worker process with its slot and what `start` was given; its end is the process's.
        """
        self._socket, theirs = socket.socketpair()
        parent = os.getpid()
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = forked(lambda: _nest(theirs, self._socket, parent, prepare, live))
        theirs.close()
        self._socket.setblocking(False)
        self._rest = b""

    def fileno(self) -> int:
        """Readable when something is to be heard."""
        return self._socket.fileno()

    def start(self, slot: int, told: dict[str, Any]) -> None:
        """Fork a process for this slot."""
        with contextlib.suppress(OSError):
            self._socket.sendall(json.dumps({"slot": slot, "told": told}).encode() + b"\n")

    def hear(self) -> list[dict[str, Any]] | None:
        """What has happened: ``slot``, ``pid``, and ``status`` (of waitpid) if the process has ended; None: the nest is gone."""
        try:
            while data := self._socket.recv(65536):
                self._rest += data
            return None
        except BlockingIOError:
            pass
        except OSError:
            return None
        *lines, self._rest = self._rest.split(b"\n")
        return [json.loads(line) for line in lines]

    def close(self) -> None:
        """End the nest and all its processes; twice is right."""
        if self.pid:
            self._socket.close()
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self.pid, 0)
            self.pid = 0


def why(status: int) -> str:
    """How a process ended, in words, from what waitpid says."""
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"exit code {code}"
    with contextlib.suppress(ValueError):
        return f"signal {-code} ({signal.Signals(-code).name})"
    return f"signal {-code}"


def forked(body: Callable[[], object]) -> int:
    """Fork a process that calls ``body`` and ends; return its pid.

    SIGINT and SIGTERM wait there until ``body`` has set its own handlers and calls `disturbed`: those of the process that forked may raise
    what leads back into its code.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    try:
        pid = os.fork()
        if pid == 0:
            _guarded(body)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return pid


def disturbed() -> None:
    """SIGINT and SIGTERM come again: call it in a forked process when its own handlers, which raise nothing, are set."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)


def _guarded(body: Callable[[], object]) -> NoReturn:
    """A forked process never returns into the code that it was forked from."""
    code = 1
    try:
        body()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def die_with_parent(parent: int) -> None:
    """To be called in a forked process: the system kills it when its parent dies, in whatever way (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def adopt_orphans() -> None:
    """From now on the orphans among the descendants of this process become its children (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _children() -> list[int]:
    """Pids of this process's children."""
    with contextlib.suppress(OSError), open(f"/proc/self/task/{os.getpid()}/children") as file:
        return [int(pid) for pid in file.read().split()]
    return [child.pid for child in psutil.Process().children()]


def _kill_orphans(known: Container[int]) -> None:
    """SIGKILL for children that are not *known*: a dead worker has left them. Theirs come up when they are dead."""
    for pid in _children():
        if pid not in known:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)


def _nest(mine: socket.socket, theirs: socket.socket, parent: int, prepare: Callable[[], None], live: Callable[..., None]) -> None:
    if os.getppid() != parent:  # it is dead; later, the end of the socket says so, and there is time to end the others
        os._exit(1)
    theirs.close()
    adopt_orphans()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in the terminal is for the Broker, which ends us
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # there is nothing to end before there are children
    disturbed()
    prepare()
    gc.freeze()  # what is loaded stays shared with the forks
    children: dict[int, int] = {}
    wake, woken = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM):  # they are read from the descriptor: a handler that raises may do so anywhere
        signal.signal(number, lambda number, frame: None)
    try:
        _hatch(mine, wake, children, live)
    finally:
        with contextlib.suppress(ChildProcessError):
            while True:
                _kill_orphans(())
                os.waitpid(-1, 0)


def _hatch(mine: socket.socket, wake: int, children: dict[int, int], live: Callable[..., None]) -> None:
    rest = b""
    while True:
        ready = select.select([mine.fileno(), wake], [], [])[0]
        if wake in ready:
            with contextlib.suppress(BlockingIOError):
                if signal.SIGTERM in os.read(wake, 4096):
                    return
            with contextlib.suppress(ChildProcessError):
                while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                    if (slot := children.pop(ended[0], None)) is not None:
                        _tell(mine, slot=slot, pid=ended[0], status=ended[1])
            _kill_orphans(children)
        if mine.fileno() in ready:
            try:
                data = mine.recv(65536)
            except ConnectionResetError:  # the Broker went away before it had read all our news
                return
            if not data:
                return
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                order = json.loads(line)
                me = os.getpid()
                pid = forked(lambda: _worker(me, mine, wake, order, live))  # noqa: B023 - called at once
                children[pid] = order["slot"]
                _tell(mine, slot=order["slot"], pid=pid)


def _tell(mine: socket.socket, **news: int) -> None:
    with contextlib.suppress(OSError):  # the Broker is gone: its end of the socket is met next
        mine.sendall(json.dumps(news).encode() + b"\n")


def _worker(nest: int, mine: socket.socket, wake: int, order: dict[str, Any], live: Callable[..., None]) -> None:
    die_with_parent(nest)
    adopt_orphans()
    mine.close()
    signal.set_wakeup_fd(-1)
    os.close(wake)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    disturbed()
    live(order["slot"], order["told"])
