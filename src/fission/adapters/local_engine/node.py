"""The client's view of a virtual node of this machine: its fork server, its jobs, their output."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
from collections import deque
from collections.abc import Sequence

from fission.ports import JobId, NodeName
from fission.protocol.messages.client_to_fork_server import SignalChild
from fission.protocol.splitter import Splitter

#: Bytes of a job's output that one read takes, and the most that wait for the end of a line.
READ_BYTES = 1 << 16


class Stream:
    """One output stream of a job, split into lines."""

    def __init__(self, job: JobId, name: str, descriptor: int) -> None:
        self.job, self.name, self.descriptor = job, name, descriptor
        self._rest = b""

    def read(self) -> tuple[tuple[str, ...], bool]:
        """Return the complete lines received, and whether there may be more."""
        try:
            data = os.read(self.descriptor, READ_BYTES)
        except BlockingIOError:
            return (), False
        if not data:
            return self.rest(), False
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > READ_BYTES:
            lines.append(self._rest)
            self._rest = b""
        return tuple(line.decode("utf-8", "replace") for line in lines), True

    def rest(self) -> tuple[str, ...]:
        """Return the rest of an unterminated line."""
        rest, self._rest = self._rest, b""
        return (rest.decode("utf-8", "replace"),) if rest else ()


class Running:
    """One incarnation of a job."""

    def __init__(self, job: JobId, incarnation: int) -> None:
        self.job, self.incarnation = job, incarnation
        self.streams: list[Stream] = []
        self.report = -1
        self.killer: asyncio.TimerHandle | None = None
        self.process = 0  # id of the process and of its process group; 0 until the fork server has reported it

    def signal(self, number: int) -> SignalChild:
        """Return the request that makes its fork server send the job a signal."""
        return SignalChild(key=(self.job, self.incarnation), number=number)


class Node:
    """A virtual node: a fork server and its jobs."""

    def __init__(self, name: NodeName, process: subprocess.Popen[bytes], channel: socket.socket) -> None:
        channel.setblocking(False)  # a frozen node must not make the client wait
        self.name, self.process, self.channel = name, process, channel
        self.splitter = Splitter()
        self.ready = asyncio.get_running_loop().create_future()
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

    def hang_up(self) -> None:
        """Close the client's end of the socket. Idempotent."""
        self._drop_outbox()
        if self.channel.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self.channel.fileno())
            self.channel.close()

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
