"""The fork server: a single-threaded process with everything loaded that forks others on request.

A fork takes milliseconds. The server serves one stream socket: requests (`client_to_fork_server`)
come in, reports (`fork_server_to_client`) go out. It never inspects a request's payload, so it
runs no user code. When the socket ends because the client is gone, or on SIGTERM, it kills every
child, with all that the children have started and left behind, and ends.

Processes that a child leaves behind in sessions of their own (daemons) are found in one of two ways
(Linux):

- With a *mark*, every child is a process group of its own and has the mark in its environment
  (`fission.posix.descendants`). The server adopts the orphans of its children and kills those of a
  child that has ended. A process that has also given up its environment is killed when no child is
  left.
- Without a mark, every child is expected to adopt its own orphans (`adopt_orphans`), so that the
  server only ever adopts those of dead children, and kills them.

The server survives temporary shortages of the system: a child for which there is no process, memory
or descriptor is reported as refused.

While it has children, it keeps one more, a *spare* (`fission.posix.spare_child`), that has been
forked and prepared in advance and takes over the next request.
"""

from __future__ import annotations

import array
import contextlib
import errno
import gc
import math
import os
import selectors
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from fission.errors import error_text
from fission.posix import descendants
from fission.posix.forking import forked, unblock_ending_signals
from fission.posix.spare_child import SPARE_AFTER_S, Spare
from fission.protocol.messages.client_to_fork_server import ForkChild, SignalChild, decoded_request
from fission.protocol.messages.fork_server_to_client import (
    FORK_SERVER_TO_CLIENT,
    AnyReport,
    ChildEnded,
    ChildForked,
    ForkRefused,
    ForkServerPulse,
    ForkServerReady,
)
from fission.protocol.splitter import Splitter

#: Maximum number of bytes per read; arbitrary.
READ_BYTES = 1 << 20
#: Errors by which the system reports a temporary shortage, and seconds until the next attempt;
#: arbitrary.
SCARCE, SCARCE_S = frozenset({errno.ENOMEM, errno.EAGAIN, errno.ENOBUFS, errno.EMFILE, errno.ENFILE}), 0.05
#: Maximum number of descriptors in one request; arbitrary.
MOST_DESCRIPTORS = 8
#: The first report of a server to which there is nothing to add.
READY = ForkServerReady()


@dataclass(frozen=True, slots=True)
class Child:
    """The information that a forked child has about itself.

    Attributes:
        key: key of the request.
        payload: payload of the request.
        descriptors: descriptors that came with the request.
        server: process id of the fork server.
        server_alive: end of a pipe that is closed when the server dies.
    """

    key: tuple[int, ...]
    payload: bytes
    descriptors: list[int]
    server: int
    server_alive: int


class ForkServer:
    """Serves one socket until it ends."""

    def __init__(
        self,
        channel: socket.socket,
        run_child: Callable[[Child], object],
        *,
        mark: str = "",
        descriptors: int = 0,
        pulse_interval_s: float = math.inf,
        fork: Callable[[], int] = os.fork,
        ready: ForkServerReady = READY,
        prepare_spare: Callable[[], object] | None = None,
        spare_after_s: float = SPARE_AFTER_S,
    ) -> None:
        """Prepare the server; `serve` runs it.

        Args:
            channel: stream socket to the client.
            run_child: called in each child, which ends when it returns.
            mark: prefix of the children's marks, followed by their process ids; empty: children
                adopt their orphans.
            descriptors: number of descriptors that come with each request to fork.
            pulse_interval_s: seconds between two reports that the server is alive.
            fork: function that makes a child's process.
            ready: the first report.
            prepare_spare: called in each spare, before it waits for a request; None: no spare is
                kept.
            spare_after_s: seconds without a child that begins or ends, after which a spare is
                forked or dismissed.
        """
        self._ready = ready
        self._process = os.getpid()
        self._spare = Spare(self._fork_spare, prepare_spare, self._run_spare, spare_after_s, MOST_DESCRIPTORS)
        self._channel, self._run_child = channel, run_child
        self._mark, self._pulse_interval_s, self._fork = mark, pulse_interval_s, fork
        self._splitter = Splitter()
        self._descriptors = _Descriptors(descriptors)
        self._requests: deque[bytes] = deque()
        self._children: dict[int, tuple[int, ...]] = {}  # keys by process id
        self._ended_marks: set[str] = set()  # marks of ended children whose descendants may still run
        self._alive_read, self._alive_write = os.pipe()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(channel, selectors.EVENT_READ)
        self._selector.register(self._wake_read, selectors.EVENT_READ)

    def serve(self) -> bool:
        """Serve until the end, and leave no child running.

        Return whether the socket has ended; False: SIGTERM has arrived.
        """
        descendants.adopt_orphans()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in the terminal is for the client, which ends this process
        for number in (signal.SIGCHLD, signal.SIGTERM):  # read from the descriptor: a handler could raise anywhere
            signal.signal(number, lambda number, frame: None)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        gc.freeze()  # keeps the loaded modules shared with the children
        try:
            self._report(self._ready)
            return self._serve()
        finally:
            self._kill_all()

    def close(self) -> None:
        """Close everything that `__init__` has opened."""
        self._selector.close()
        self._descriptors.close()
        self._spare.dismiss()
        _close_all((self._alive_read, self._alive_write, self._wake_read, self._wake_write))

    def _serve(self) -> bool:
        pulse_at = time.monotonic() if self._pulse_interval_s < math.inf else math.inf
        while True:
            now = time.monotonic()
            if now >= pulse_at:
                self._report(ForkServerPulse())
                pulse_at = now + self._pulse_interval_s
            self._spare.keep(bool(self._children), now)
            wake_at = min(pulse_at, self._spare.due_at)
            for ready, _ in self._selector.select(wake_at - now if wake_at < math.inf else None):
                if ready.fileobj is self._channel:
                    if not self._read():
                        return True
                    while self._requests:
                        self._obey_next()
                else:
                    with contextlib.suppress(BlockingIOError):
                        if signal.SIGTERM in os.read(self._wake_read, 4096):
                            return False
            self._reap()

    # requests

    def _read(self) -> bool:
        """Read what the client has sent; return False if it is gone."""
        space = socket.CMSG_SPACE(MOST_DESCRIPTORS * array.array("i").itemsize)
        try:
            data, ancillary, flags, _ = self._channel.recvmsg(READ_BYTES, space)
        except ConnectionResetError:
            return False  # the client left before it had read all reports
        except (MemoryError, OSError) as why:
            if isinstance(why, OSError) and why.errno not in SCARCE:
                raise
            time.sleep(SCARCE_S)  # nothing was read: the data stay in the socket until there is memory
            return True
        numbers: list[int] = []
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                some = array.array("i")
                some.frombytes(content[: len(content) - len(content) % some.itemsize])
                numbers += some
        cut = bool(flags & socket.MSG_CTRUNC)
        if numbers or cut:
            self._descriptors.add(numbers, cut=cut)
        self._requests += self._messages(data)
        return bool(data)

    def _messages(self, data: bytes) -> list[bytes]:
        """Return the messages that are complete now.

        It waits for memory where there is none, because a stream must not lose a part.
        """
        while True:
            before = self._splitter.pending
            try:
                return self._splitter.feed(data)
            except MemoryError:
                if self._splitter.pending != before:
                    data = b""  # the data were taken; only the messages could not be made
                time.sleep(SCARCE_S)

    def _obey_next(self) -> None:
        request, payload = decoded_request(self._requests.popleft())  # popped: the child keeps no second copy of a large payload
        if isinstance(request, ForkChild):
            self._fork_child(request.key, payload)
            return
        for process, key in self._children.items():
            if key == request.key:
                _send(process, request)

    def _fork_child(self, key: tuple[int, ...], payload: bytes) -> None:
        descriptors = self._descriptors.take()
        if descriptors is None:
            self._report(ForkRefused(key=key, cause="it has no free descriptors (ulimit -n)"))
            return
        process = self._spare.hand_over(key, payload, descriptors)
        if not process:
            try:
                process = self._forked(lambda: self._become(Child(key, payload, descriptors, self._process, self._alive_read)))
            except (OSError, MemoryError) as why:
                _close_all(descriptors)
                self._report(ForkRefused(key=key, cause=f"the system cannot create a process: {error_text(why)}"))
                return
        _close_all(descriptors)
        self._children[process] = key
        self._spare.look_later(time.monotonic())
        self._report(ChildForked(key=key, process=process))

    def _forked(self, body: Callable[[], object]) -> int:
        process = forked(body, self._fork)
        if self._mark:
            with contextlib.suppress(OSError):
                os.setpgid(process, process)  # here too: a signal for the group may come before the child has created it
        return process

    def _become(self, child: Child) -> None:
        self._leave_server()
        self._run_child(child)

    def _leave_server(self) -> None:
        """Release everything of the server, in a child."""
        self._children.clear()
        self._spare.dismiss()
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        if self._mark:
            os.setpgid(0, 0)
            os.environ[descendants.MARK] = f"{self._mark}{os.getpid()}"
        self._selector.close()
        self._channel.close()
        _close_all((self._alive_write, self._wake_read, self._wake_write))
        self._descriptors.close()
        unblock_ending_signals()

    # the spare

    def _fork_spare(self, body: Callable[[], object]) -> int:
        def become() -> None:
            self._leave_server()
            body()

        return self._forked(become)

    def _run_spare(self, key: tuple[int, ...], payload: bytes, descriptors: list[int]) -> None:
        self._run_child(Child(key, payload, descriptors, self._process, self._alive_read))

    # ends

    def _reap(self) -> None:
        ended = []
        orphans = False
        while (found := _ended_child()) is not None:
            process, status = found
            orphans = True  # also if it was an orphan: this process has adopted what it started
            if process == self._spare.process:
                self._spare.dismiss()
            if process in self._children:
                _kill_group(process)  # processes that the child has started and left behind
                self._ended_marks.add(f"{self._mark}{process}")
                ended.append(ChildEnded(key=self._children.pop(process), process=process, code=os.waitstatus_to_exitcode(status)))
        if orphans:
            self._kill_orphans()
        if ended:  # not after the end of a spare alone: one that cannot live must not be forked again and again
            self._spare.look_later(time.monotonic())
        for report in ended:
            self._report(report)

    def _kill_orphans(self) -> None:
        """Kill what ended children have left behind in sessions of their own.

        Without any child, kill everything that is left.
        """
        found = set()
        for process in descendants.children_of(os.getpid()):
            if process in self._children or process == self._spare.process:
                continue
            mark = descendants.mark_of(process) if self._mark else ""
            if (mark in self._ended_marks or not self._mark or not self._children) and descendants.kill([process]):
                found.add(mark)
        self._ended_marks &= found  # when these have ended, a further round shows whether they started more

    def _kill_all(self) -> None:
        for process in list(self._children):
            _kill_group(process)
            descendants.kill([process])
        _wait_for(self._children)
        while descendants.kill(orphans := descendants.children_of(os.getpid())):
            _wait_for(orphans)

    def _report(self, report: AnyReport) -> None:
        with contextlib.suppress(OSError):  # the client is gone: the next read meets the end of the socket
            self._channel.sendall(Splitter.join(FORK_SERVER_TO_CLIENT.encode(report)))


class _Descriptors:
    """Descriptors received for children, in order.

    If the system has refused part of a set, the whole set is missing.
    """

    def __init__(self, number: int) -> None:
        """Prepare for sets of descriptors.

        Args:
            number: number of descriptors in a set.
        """
        self._number = number
        self._sets: deque[list[int] | None] = deque()

    def add(self, numbers: list[int], *, cut: bool) -> None:
        if cut or len(numbers) != self._number:  # this process may have run out of descriptors: a partial set is useless
            _close_all(numbers)
            self._sets.append(None)
        else:
            self._sets.append(numbers)

    def take(self) -> list[int] | None:
        if not self._number:
            return []
        return self._sets.popleft() if self._sets else None

    def close(self) -> None:
        for numbers in self._sets:
            _close_all(numbers or [])


def _send(process: int, request: SignalChild) -> None:
    if request.number == signal.SIGKILL:
        _kill_group(process)
    else:
        os.kill(process, request.number)


def _kill_group(process: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process, signal.SIGKILL)


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
