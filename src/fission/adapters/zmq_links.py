"""A job's links over ZeroMQ: PUSH/PULL, one PULL socket for data and one for control.

High-water marks are off: windows bound what is under way, so a send never blocks and a circle of jobs cannot wait for itself
inside ZeroMQ. Sending starts before the other end exists; the reconnect interval is short because a job that starts later
than its producer is the normal case.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Sequence

import zmq

from fission.errors import EngineError, InternalError
from fission.ports import PipeId, Seconds, Wiring
from fission.protocol.frames import Buffer, announces_more

#: Milliseconds between attempts to reach the other end; arbitrary, a fraction of what a job's start takes.
RECONNECT_MS = 5
#: Frames of this many bytes and more are handed to ZeroMQ without a copy. From pyzmq's own default for copying.
ZERO_COPY_BYTES = 64 << 10
_IPC = "ipc://"


class ZmqLinks:
    """`fission.ports.Links` over ZeroMQ sockets, addresses as ZeroMQ writes them (``ipc://``, ``tcp://``, ``inproc://``)."""

    def __init__(self, wiring: Wiring, context: zmq.Context[zmq.Socket[bytes]] | None = None) -> None:
        """Bind and connect.

        Args:
            wiring: addresses.
            context: a ZeroMQ context to share; by default an own one, which ends with the links.

        Raises:
            EngineError: an address cannot be bound.
        """
        self._own_context = context is None
        self._context: zmq.Context[zmq.Socket[bytes]] = context or zmq.Context()
        self._sockets: list[zmq.Socket[bytes]] = []
        self._files: list[str] = []  # of addresses in the file system
        self._lock = threading.Lock()  # of the sockets that several threads use
        self._closed = False
        self._data, self._wake_data = self._pull(wiring.data, "data")
        self._control, self._wake_control = self._pull(wiring.control, "control")
        self._poller = zmq.Poller()
        self._poller.register(self._control, zmq.POLLIN)
        self._out = {pipe: self._push(address) for pipe, address in wiring.outputs.items()}
        self._back = {pipe: self._push(address) for pipe, address in wiring.inputs.items()}
        self._client = self._push(wiring.client) if wiring.client else None

    def _pull(self, address: str, purpose: str) -> tuple[zmq.Socket[bytes], zmq.Socket[bytes]]:
        inside = f"inproc://fission-{purpose}-{id(self)}"
        socket = self._socket(zmq.PULL)
        file = address[len(_IPC) :] if address.startswith(_IPC) else ""
        try:
            if file and os.path.exists(file):
                raise zmq.ZMQError(zmq.EADDRINUSE)  # ZeroMQ itself would take the address away from whoever listens there
            socket.bind(address)
        except zmq.ZMQError as why:
            self.close(0)
            raise EngineError(f"cannot listen at {address}: {why}") from None
        if file:
            self._files.append(file)
        socket.bind(inside)
        waker = self._socket(zmq.PUSH)
        waker.connect(inside)
        return socket, waker

    def _push(self, address: str) -> zmq.Socket[bytes]:
        socket = self._socket(zmq.PUSH)
        socket.connect(address)
        return socket

    def _socket(self, kind: int) -> zmq.Socket[bytes]:
        socket = self._context.socket(kind)
        socket.setsockopt(zmq.SNDHWM, 0)
        socket.setsockopt(zmq.RCVHWM, 0)
        socket.setsockopt(zmq.RECONNECT_IVL, RECONNECT_MS)
        socket.setsockopt(zmq.LINGER, 0)
        self._sockets.append(socket)
        return socket

    def send(self, pipe: PipeId, frames: Sequence[Buffer]) -> None:
        socket = self._out[pipe]
        try:
            if len(frames) == 1 and len(frames[0]) < ZERO_COPY_BYTES:
                socket.send(frames[0], zmq.NOBLOCK)
            else:
                socket.send_multipart(frames, zmq.NOBLOCK, copy=False)
        except zmq.Again:
            pass  # the other end of an inproc address is gone for good; other addresses keep what nobody takes

    def receive(self, *, wait: bool = True) -> list[Buffer] | None:
        socket = self._data
        try:
            frame = socket.recv(0 if wait else zmq.NOBLOCK)
        except zmq.Again:
            return None
        if not announces_more(frame):
            return [frame] if frame else None
        # further frames are big: they are taken without a copy
        frames: list[Buffer] = [frame]
        while socket.getsockopt(zmq.RCVMORE):
            frames.append(socket.recv(copy=False).buffer)
        return frames

    def wake(self) -> None:
        with self._lock:
            if not self._closed:
                self._wake_data.send(b"")

    def answer(self, pipe: PipeId, frame: Buffer) -> None:
        with self._lock:
            if not self._closed:
                with contextlib.suppress(zmq.Again):  # as in send
                    self._back[pipe].send(frame, zmq.NOBLOCK)

    def tell(self, frame: Buffer) -> None:
        with self._lock:
            if self._client is not None and not self._closed:
                self._client.send(frame)

    def control(self, timeout: Seconds | None) -> list[Buffer] | None:
        if not self._poller.poll(None if timeout is None else max(0, int(timeout * 1000 + 0.999))):
            return None
        frames: list[Buffer] = list(self._control.recv_multipart())
        return frames if frames != [b""] else None

    def wake_control(self) -> None:
        with self._lock:
            if not self._closed:
                self._wake_control.send(b"")

    def redirect(self, pipe: PipeId, address: str) -> None:
        side = self._out if pipe in self._out else self._back
        if pipe not in side:
            raise InternalError(f"pipe {pipe} is not one of {sorted(self._out)} or {sorted(self._back)}")
        with self._lock:
            old = side[pipe]
            side[pipe] = self._push(address)
            self._sockets.remove(old)
            old.close(0)

    def close(self, linger: Seconds) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
            for socket in self._sockets:
                socket.close(int(linger * 1000))
            if self._own_context:
                self._context.term()
            for file in self._files:  # ZeroMQ leaves them behind
                with contextlib.suppress(FileNotFoundError):  # the run's folder may be gone already
                    os.unlink(file)
