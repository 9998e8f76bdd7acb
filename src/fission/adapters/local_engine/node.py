"""The client's view of a virtual node of this machine: its fork server and its jobs."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
from collections import deque
from collections.abc import Sequence

from fission.adapters.local_engine.running_job import Running
from fission.ports import JobId, NodeName
from fission.posix.exit_status import how_ended
from fission.protocol.messages.fork_server_to_client import ForkServerReady
from fission.protocol.splitter import Splitter

#: Seconds from the end of a process's socket to that of the process. Arbitrary: the system closes the one while it ends the other.
ENDING_S = 0.5


class Node:
    """A virtual node: a fork server and its jobs.

    Attributes:
        user_modules: the user's modules that its fork server imports.
        loaded: whether its fork server has loaded its modules.
        late: ends a fork server that takes too long to import the user's modules.
        leaving: whether it was ended by `LocalEngine.end_node`: nothing of it is reported.
    """

    def __init__(
        self, name: NodeName, process: subprocess.Popen[bytes], channel: socket.socket, user_modules: tuple[str, ...] = ()
    ) -> None:
        self.user_modules = user_modules
        self.loaded = self.leaving = False
        self.late: asyncio.TimerHandle | None = None
        channel.setblocking(False)  # a frozen node must not make the client wait
        self.name, self.process, self.channel = name, process, channel
        self.splitter = Splitter()
        self.ready: asyncio.Future[ForkServerReady] = asyncio.get_running_loop().create_future()
        self.running: dict[
            tuple[JobId, int], Running
        ] = {}  # by job and incarnation: a frozen node has incarnations that have been replaced elsewhere
        self._outbox: deque[tuple[memoryview, tuple[int, ...]]] = deque()  # requests that wait for room, with their descriptors
        self.incarnation = 1
        self.frozen = False
        self.lost = False

    def send(self, message: bytes, descriptors: Sequence[int] = ()) -> None:
        """Send a request, now or when the socket has room; takes ownership of the descriptors.

        Raises:
            OSError: the node is gone.
        """
        self._outbox.append((memoryview(message), tuple(descriptors)))
        try:
            self._flush()
        except OSError:
            self._drop_outbox()
            raise

    def signal(self, number: int) -> bool:
        """Send a signal to the fork server; return whether there was one."""
        try:
            os.kill(self.process.pid, number)
        except (ProcessLookupError, PermissionError):
            return False
        return True

    def how_ended(self) -> str:
        """Return a predicate for the fork server, whose socket has ended."""
        try:
            return how_ended(self.process.wait(ENDING_S))
        except subprocess.TimeoutExpired:
            return "has closed its socket"

    def hang_up(self) -> None:
        """Close the client's end of the socket. Idempotent."""
        self._drop_outbox()
        if self.channel.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self.channel.fileno())
            self.channel.close()

    def cancel_late(self) -> None:
        """Let the fork server take its time. Idempotent."""
        if self.late is not None:
            self.late.cancel()
            self.late = None

    def leave(self) -> None:
        """Report nothing of its jobs from now on."""
        self.leaving = True
        self.cancel_late()
        self._drop_outbox()
        for running in self.running.values():
            running.close()
        self.running.clear()

    def _flush(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._outbox:
                message, descriptors = self._outbox[0]
                # a view: the rest of a large message is not copied for each piece
                sent = socket.send_fds(self.channel, [message], descriptors) if descriptors else self.channel.send(message)
                _close_all(descriptors)
                if sent < len(message):
                    self._outbox[0] = (message[sent:], ())
                else:
                    self._outbox.popleft()
        except BlockingIOError:
            loop.add_writer(self.channel.fileno(), self._on_room)
        else:
            loop.remove_writer(self.channel.fileno())

    def _on_room(self) -> None:
        try:
            self._flush()
        except OSError:  # the loss of the node is reported as an event
            self._drop_outbox()

    def _drop_outbox(self) -> None:
        for _, descriptors in self._outbox:
            _close_all(descriptors)
        self._outbox.clear()
        if self.channel.fileno() >= 0:
            asyncio.get_running_loop().remove_writer(self.channel.fileno())


def _close_all(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
