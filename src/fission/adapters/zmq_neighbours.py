"""The far ends of all pipes of one job, and its client, over ZeroMQ: for tools that run one job.

All data for the job uses one connection and arrives in the order of sending, whatever the pipe.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import zmq

from fission.ports import Seconds
from fission.protocol.frames import Buffer

#: Milliseconds between attempts to reach a job that has not started yet; arbitrary, a fraction of a job's start time.
RECONNECT_MS = 5


#: Seconds of the longest single poll, whose timeout is an int in milliseconds; a longer wait takes several polls.
MOST_WAIT_S = 3600.0


class ZmqNeighbours:
    """The network as a single job sees it. Belongs to one thread."""

    def __init__(self, data: str, control: str, back: str) -> None:
        """Listen and connect.

        Args:
            data: address at which the job receives blocks.
            control: address at which the job receives releases and commands.
            back: address for everything that the job sends: blocks, releases, messages.
        """
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._data = self._push(data)
        self._control = self._push(control)
        self._back = self._context.socket(zmq.PULL)
        self._back.setsockopt(zmq.RCVHWM, 0)
        self._back.setsockopt(zmq.LINGER, 0)
        self._back.bind(back)
        self._closed = False

    def _push(self, address: str) -> zmq.Socket[bytes]:
        socket = self._context.socket(zmq.PUSH)
        socket.setsockopt(zmq.SNDHWM, 0)
        socket.setsockopt(zmq.RECONNECT_IVL, RECONNECT_MS)
        socket.setsockopt(zmq.LINGER, 0)
        socket.connect(address)
        return socket

    def send(self, frames: Sequence[Buffer]) -> None:
        """Send a data message to the job; never blocks."""
        self._data.send_multipart(frames)

    def command(self, frame: Buffer) -> None:
        """Send a release or a command to the job; never blocks."""
        self._control.send(frame)

    def wait(self, descriptors: Sequence[int], timeout: Seconds | None) -> set[int]:
        """Wait until a message arrives or a descriptor is readable.

        Args:
            descriptors: file descriptors to watch.
            timeout: seconds to wait; None waits without limit.

        Returns:
            The descriptors that are readable or have reached their end.
        """
        poller = zmq.Poller()
        poller.register(self._back, zmq.POLLIN)
        for descriptor in descriptors:
            poller.register(descriptor, zmq.POLLIN)
        began, left = time.monotonic(), timeout
        while True:
            found = dict(poller.poll(None if left is None else max(0, int(min(left, MOST_WAIT_S) * 1000 + 0.999))))
            if found or timeout is None or time.monotonic() - began >= timeout:
                return {number for number in found if isinstance(number, int)}
            left = timeout - (time.monotonic() - began)

    def receive(self) -> list[Buffer] | None:
        """Return the job's next message; None if there is none."""
        try:
            return list(self._back.recv_multipart(zmq.NOBLOCK))
        except zmq.Again:
            return None

    def close(self) -> None:
        """Close the sockets. Idempotent."""
        if not self._closed:
            self._closed = True
            for socket in (self._data, self._control, self._back):
                socket.close(0)
            self._context.term()
