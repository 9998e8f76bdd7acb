"""The spare of a fork server: a child that was forked in advance and waits for its request.

A fork, and the first writes of a child to memory that it shares with its server, take milliseconds
for which a lost job would wait. The request and its descriptors are one message on a pair of
sockets. The server never waits for the spare: a request that the socket does not take at once, or
that is large, gets a child of its own.
"""

from __future__ import annotations

import array
import contextlib
import json
import math
import os
import socket
from collections.abc import Callable
from typing import cast

from fission.posix.forking import die_with_parent, outlive_parent

#: Seconds without a child that begins or ends, after which a spare is forked or dismissed.
#: Arbitrary: a network has started by then, and a lost job has been placed.
SPARE_AFTER_S = 0.5
#: Longest request in bytes that a spare gets. Arbitrary: the buffer of a socket has more.
MOST_BYTES = 64 << 10


class Spare:
    """The server's side of its spare.

    Attributes:
        process: process id of the spare; 0: there is none.
        due_at: time at which `keep` has something to do, in seconds; infinity: never.
    """

    def __init__(
        self,
        fork: Callable[[Callable[[], object]], int],
        prepare: Callable[[], object] | None,
        run: Callable[[tuple[int, ...], bytes, list[int]], object],
        after_s: float,
        most_descriptors: int,
    ) -> None:
        """Start without a spare.

        Args:
            fork: forks a process that calls a function and ends; returns its process id.
            prepare: called in each spare before it waits; None: there never is a spare.
            run: called in the spare with key, payload and descriptors of its request.
            after_s: seconds from `look_later` until a spare is forked or dismissed.
            most_descriptors: largest number of descriptors in one request.
        """
        self.process, self.due_at = 0, math.inf
        self._fork, self._prepare, self._run = fork, prepare, run
        self._after_s, self._most_descriptors = after_s, most_descriptors
        self._channel: socket.socket | None = None

    def look_later(self, now: float) -> None:
        """Put off forking or dismissing, because a child has begun or ended."""
        if self._prepare is not None:
            self.due_at = now + self._after_s

    def keep(self, wanted: bool, now: float) -> None:
        """Fork or dismiss the spare, when it is time.

        Args:
            wanted: whether there shall be a spare.
            now: current time, in seconds.
        """
        if now < self.due_at:
            return
        self.due_at = math.inf
        if not wanted:
            self.dismiss()
        elif not self.process:
            # without a spare, the next child is forked when it is requested
            with contextlib.suppress(OSError, MemoryError):
                self._fork_one()

    def _fork_one(self) -> None:
        server = os.getpid()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                self.process = self._fork(lambda: self._live(server, ours, theirs))
            except BaseException:
                ours.close()
                raise
        ours.setblocking(False)
        self._channel = ours

    def _live(self, server: int, ours: socket.socket, theirs: socket.socket) -> None:
        """Wait in the spare until it has a request or the server closes its end."""
        die_with_parent(server)  # a stopped spare would not see the end of the channel, and no other process knows of it
        ours.close()
        with contextlib.suppress(Exception):  # a spare is of use without it, and the request may be here already
            cast(Callable[[], object], self._prepare)()
        request = _received(theirs, self._most_descriptors)
        theirs.close()
        if request is not None:
            outlive_parent()  # as any child, which decides itself what it does then
            self._run(*request)

    def hand_over(self, key: tuple[int, ...], payload: bytes, descriptors: list[int]) -> int:
        """Give the spare a request; return its process id, or 0 if no spare takes it.

        Args:
            key: key of the request.
            payload: payload of the request.
            descriptors: descriptors of the request; the caller closes its own.
        """
        if self._channel is None or len(payload) > MOST_BYTES:
            return 0
        process = self.process
        try:
            message = json.dumps(key).encode() + b"\n" + payload
            if len(message) > MOST_BYTES:
                return 0
            socket.send_fds(self._channel, [message], descriptors)
        except (OSError, MemoryError):  # it was killed, or memory is short
            process = 0
        self.dismiss()
        return process

    def dismiss(self) -> None:
        """Close the channel: a spare without a request ends, and this process has none."""
        if self._channel is not None:
            self._channel.close()
        self._channel, self.process = None, 0


def _received(channel: socket.socket, most_descriptors: int) -> tuple[tuple[int, ...], bytes, list[int]] | None:
    """Wait for a request; return key, payload and descriptors, or None at the end of the channel.

    Raises:
        OSError, MemoryError: the system lacks something. The request may be lost, so the process
            must not end as if it had done its work.
    """
    message, ancillary, flags, _ = channel.recvmsg(MOST_BYTES, socket.CMSG_SPACE(most_descriptors * array.array("i").itemsize))
    descriptors = array.array("i")
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(content[: len(content) - len(content) % descriptors.itemsize])
    if not message:
        return None
    if flags & socket.MSG_CTRUNC:  # this process has no free descriptors: it ends, which its server reports
        for descriptor in descriptors:
            os.close(descriptor)
        os._exit(1)
    key, _, payload = message.partition(b"\n")
    return tuple(json.loads(key)), payload, list(descriptors)
