"""A job's links over ZeroMQ: PUSH/PULL, with one PULL socket for data and one for control.

High-water marks are off: windows bound what is in flight, so a send never blocks and a cycle of
jobs cannot deadlock inside ZeroMQ. On one machine sending starts before the other end exists; the
reconnect interval is short because a job often starts later than its producer.

Between machines (`Wiring.ip`) a connection can break and lose what was in flight. ZeroMQ would
reconnect and continue with the next message, and the consumer would treat the gap as blocks that
are lost for good. These connections are therefore made once: when one breaks, the job's control
thread is notified to rewire the pipe, which sends everything in the replay buffer again.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from socket import AF_UNIX
from socket import socket as plain_socket
from typing import Any

import zmq

from fission.core.addresses import bracketed
from fission.errors import EngineError, InternalError
from fission.ports import PipeId, Seconds, Wiring
from fission.protocol.frames import Buffer, announces_more, encode_command
from fission.protocol.messages.client_to_job import RepeatReports, RewirePipe
from fission.protocol.pieces import MAX_PART_BYTES, PIECE_BYTES, is_split, joined, split

#: Milliseconds between attempts to reach the other end; arbitrary, a fraction of a job's start time.
RECONNECT_MS = 5
#: Frames of at least this many bytes are handed to ZeroMQ without a copy. Measured: for smaller frames
#: ZeroMQ's notification of completion costs as much as the copy.
ZERO_COPY_BYTES = 1 << 20
#: As `zmq.Socket.send`, without its handling of socket kinds that are not used here: it is called for every message.
_send = zmq.backend.Socket.send
_IPC = "ipc://"
_HERE = "ipc://@/"  # prefix of an address that stands for a file in the run folder of this machine
_TCP = "tcp://"
#: Seconds before a broken connection between machines is made again; arbitrary, a fraction of a node's permitted silence.
RETRY_S = 0.05
#: Milliseconds for connecting to another machine, and the longest pause between attempts to reach the client; arbitrary.
CONNECT_MS = 1000
LONGEST_RETRY_MS = 500
log = logging.getLogger("fission.runtime")
_BROKEN = zmq.EVENT_DISCONNECTED | zmq.EVENT_CLOSED | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_AUTH


#: Seconds of the longest single poll, whose timeout is an int in milliseconds; a longer wait takes several polls.
MOST_WAIT_S = 3600.0


def warm_up() -> None:
    """Make and use a pair of sockets once, for a process that will soon make its links."""
    with zmq.Context() as context, context.socket(zmq.PULL) as pull, context.socket(zmq.PUSH) as push:
        pull.bind("inproc://warm-up")
        push.connect("inproc://warm-up")
        push.send(b"")
        pull.recv()
    thread = threading.Thread(target=time.monotonic)
    thread.start()
    thread.join()


class ZmqLinks:
    """`fission.ports.Links` over ZeroMQ sockets.

    Addresses have ZeroMQ's syntax (``ipc://``, ``tcp://``, ``inproc://``).
    """

    def __init__(
        self, wiring: Wiring, context: zmq.Context[zmq.Socket[bytes]] | None = None, guard: Callable[[Any], Any] | None = None
    ) -> None:
        """Bind and connect the sockets.

        Args:
            wiring: addresses of the links.
            context: ZeroMQ context to share; None creates one that ends with the links.
            guard: returns a context's encryption towards other machines; None disables it.

        Raises:
            EngineError: an address cannot be bound.
        """
        self._own_context = context is None
        self._context: zmq.Context[zmq.Socket[bytes]] = context or zmq.Context()
        self._sockets: list[zmq.Socket[bytes]] = []
        self._files: list[str] = []  # of addresses in the file system
        self._lock = threading.Lock()  # protects the sockets that several threads use
        self._closed = False
        self._far: set[PipeId] = set()  # outputs to other machines, which are sent in pieces
        self._far_client = wiring.client.startswith(_TCP)
        self._plain_bytes = PIECE_BYTES if wiring.ip else ZERO_COPY_BYTES  # smaller single-frame messages need no further check
        self._run_folder = wiring.run_folder
        self._guard = guard(self._context) if guard is not None else None
        self._poller = zmq.Poller()
        self._monitors: dict[zmq.Socket[bytes], PipeId] = {}
        self._watched: list[zmq.Socket[bytes]] = []  # sockets with a monitor
        self._where: dict[PipeId, str] = {**wiring.outputs, **wiring.inputs}
        self._retries: dict[PipeId, float] = {}  # times at which to remake broken connections
        self._greeted = 0  # connections to the client so far; more than one means that it was away
        self._client_monitor: zmq.Socket[bytes] | None = None
        self._addresses: dict[str, str] = {}
        self._data, self._wake_data = self._pull(wiring.data, "data", wiring.ip)
        self._control, self._wake_control = self._pull(wiring.control, "control", wiring.ip)
        self._poller.register(self._control, zmq.POLLIN)
        self._out = {pipe: self._push(address, pipe) for pipe, address in wiring.outputs.items()}
        self._back = {pipe: self._push(address, pipe) for pipe, address in wiring.inputs.items()}
        self._client_address = wiring.client
        self._client = self._reach_client(wiring.client) if wiring.client else None

    @property
    def addresses(self) -> Mapping[str, str]:
        return self._addresses

    def _resolved(self, address: str) -> str:
        return f"{_IPC}{self._run_folder}/{address[len(_HERE) :]}" if address.startswith(_HERE) else address

    def _listen_far(self, socket: zmq.Socket[bytes], ip: str, purpose: str) -> None:
        """Make a socket reachable from other machines too.

        Options only apply to endpoints bound after they are set: its other addresses keep theirs.
        """
        socket.setsockopt(zmq.MAXMSGSIZE, MAX_PART_BYTES)
        if self._guard is not None:
            self._guard.listen(socket)
        address = f"{_TCP}{bracketed(ip)}:*"
        socket.setsockopt(zmq.IPV6, "[" in address)
        try:
            socket.bind(address)
        except zmq.ZMQError as why:
            self.close(0)
            raise EngineError(f"cannot listen at {ip}: {why}") from None
        self._addresses[purpose] = str(socket.getsockopt_string(zmq.LAST_ENDPOINT))

    def _reach_client(self, address: str) -> zmq.Socket[bytes]:
        socket = self._socket(zmq.PUSH)
        if address.startswith(_TCP):
            # here ZeroMQ reconnects by itself: the client may restart, and then receives all reports again
            socket.setsockopt(zmq.RECONNECT_IVL_MAX, LONGEST_RETRY_MS)
            self._prepare_far(socket)
            self._client_monitor = socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED)
            self._watched.append(socket)
            self._poller.register(self._client_monitor, zmq.POLLIN)
        self._connect(socket, address)
        return socket

    def _prepare_far(self, socket: zmq.Socket[bytes]) -> None:
        socket.setsockopt(zmq.CONNECT_TIMEOUT, CONNECT_MS)
        if self._guard is not None:
            self._guard.encrypt(socket)

    def _connect(self, socket: zmq.Socket[bytes], address: str) -> None:
        socket.setsockopt(zmq.IPV6, "[" in address)
        try:
            socket.connect(self._resolved(address))
        except zmq.ZMQError as why:  # the sender of this command is faulty: that must not end the job
            log.warning("nothing can be sent to %r: %s", address[:100], why)

    def _pull(self, address: str, purpose: str, ip: str) -> tuple[zmq.Socket[bytes], zmq.Socket[bytes]]:
        address = self._resolved(address)
        inside = f"inproc://fission-{purpose}-{id(self)}"
        socket = self._socket(zmq.PULL)
        file = address[len(_IPC) :] if address.startswith(_IPC) else ""
        try:
            if file and not _free(file):
                raise zmq.ZMQError(zmq.EADDRINUSE)  # ZeroMQ itself would take the address from the process that listens there
            socket.bind(address)
        except zmq.ZMQError as why:
            self.close(0)
            raise EngineError(f"cannot listen at {address}: {why}") from None
        if file:
            self._files.append(file)
        socket.bind(inside)
        waker = self._socket(zmq.PUSH)
        waker.connect(inside)
        if ip:
            self._listen_far(socket, ip, purpose)
        return socket, waker

    def _push(self, address: str, pipe: PipeId) -> zmq.Socket[bytes]:
        socket = self._socket(zmq.PUSH)
        if self._addresses and address.startswith(_TCP):
            socket.setsockopt(zmq.RECONNECT_IVL, -1)
            self._prepare_far(socket)
            monitor: zmq.Socket[bytes] = socket.get_monitor_socket(_BROKEN)
            self._monitors[monitor] = pipe
            self._watched.append(socket)
            self._poller.register(monitor, zmq.POLLIN)
        if address.startswith(_TCP):
            self._far.add(pipe)
        else:
            self._far.discard(pipe)
        if address:
            self._connect(socket, address)
        return socket

    def _drop(self, socket: zmq.Socket[bytes], pipe: PipeId) -> None:
        for monitor in [monitor for monitor, watched in self._monitors.items() if watched == pipe]:
            del self._monitors[monitor]
            self._poller.unregister(monitor)
            socket.disable_monitor()
            monitor.close(0)
            self._watched.remove(socket)
        self._sockets.remove(socket)
        socket.close(0)

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
            if len(frames) == 1 and len(frames[0]) < self._plain_bytes:
                _send(socket, frames[0], zmq.NOBLOCK)
            elif pipe in self._far:
                _send_pieces(socket, frames)
            elif len(frames) == 1 and len(frames[0]) < ZERO_COPY_BYTES:
                _send(socket, frames[0], zmq.NOBLOCK)
            else:
                socket.send_multipart(frames, zmq.NOBLOCK, copy=False)
        except zmq.Again:
            pass  # the other end of an inproc address is gone for good; other addresses queue the message

    def receive(self, *, wait: bool = True) -> list[Buffer] | None:
        socket = self._data
        try:
            frame = socket.recv(0 if wait else zmq.NOBLOCK)
        except zmq.Again:
            return None
        if not frame:
            return None
        if not announces_more(frame):
            return [frame]
        frames: list[Buffer] = [frame]
        if is_split(frame):
            while socket.getsockopt(zmq.RCVMORE):
                frames.append(socket.recv())
            return joined(frames)
        # further frames are large: they are taken without a copy
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
                with contextlib.suppress(zmq.Again):  # the client refuses us
                    if self._far_client:
                        _send_pieces(self._client, [frame])
                    else:
                        self._client.send(frame, zmq.NOBLOCK)

    def control(self, timeout: Seconds | None) -> list[Buffer] | None:
        if self._retries:
            rest = max(0.0, min(self._retries.values()) - time.monotonic())
            timeout = rest if timeout is None else min(timeout, rest)
        ready = dict(self._poller.poll(None if timeout is None else max(0, int(min(timeout, MOST_WAIT_S) * 1000 + 0.999))))
        for socket in ready:
            if socket is self._control:
                frames: list[Buffer] = joined(socket.recv_multipart())
                return frames if frames != [b""] else None
            if self._client_monitor is not None and socket is self._client_monitor:
                socket.recv_multipart()
                self._greeted += 1
                if self._greeted > 1:
                    return [encode_command(RepeatReports())]
            elif socket in self._monitors:
                socket.recv_multipart()
                self._retries.setdefault(self._monitors[socket], time.monotonic() + RETRY_S)
        now = time.monotonic()
        for pipe, at in self._retries.items():
            if now >= at:
                del self._retries[pipe]
                return [encode_command(RewirePipe(pipe=pipe))]
        return None

    def wake_control(self) -> None:
        with self._lock:
            if not self._closed:
                self._wake_control.send(b"")

    def redirect(self, pipe: PipeId, address: str) -> None:
        address = address or self._where.get(pipe, "")
        side = self._out if pipe in self._out else self._back
        if pipe not in side:
            raise InternalError(f"pipe {pipe} is not one of {sorted(self._out)} or {sorted(self._back)}")
        with self._lock:
            old = side[pipe]
            self._where[pipe] = address
            self._retries.pop(pipe, None)
            if self._monitors:
                self._drop(old, pipe)
            else:
                self._sockets.remove(old)
                old.close(0)
            side[pipe] = self._push(address, pipe)

    def reach_client(self, address: str) -> None:
        with self._lock:
            if self._client is None or self._closed or address == self._client_address:
                return
            with contextlib.suppress(zmq.ZMQError):  # its connection is gone already
                self._client.disconnect(self._resolved(self._client_address))
            self._client_address = address
            self._connect(self._client, address)

    def close(self, linger: Seconds) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
            if self._guard is not None:
                self._guard.close()
            # before their monitors are closed: ZeroMQ waits until the last event is received
            for socket in self._watched:
                socket.disable_monitor()
            for monitor in [*self._monitors, *([self._client_monitor] if self._client_monitor is not None else [])]:
                monitor.close(0)
            for socket in self._sockets:
                socket.close(int(linger * 1000))
            if self._own_context:
                self._context.term()
            for file in self._files:  # ZeroMQ does not remove them
                with contextlib.suppress(FileNotFoundError):  # the run folder may already be gone
                    os.unlink(file)


def _free(file: str) -> bool:
    """Return whether no process listens at this file; remove the file of a killed process."""
    if not os.path.lexists(file):
        return True
    with plain_socket(AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(file)
        except ConnectionRefusedError:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(file)
            return True
        except OSError:  # its queue is full, it is not a socket, or it is not ours
            return False
    return False


def _send_pieces(socket: zmq.Socket[bytes], frames: Sequence[Buffer]) -> None:
    *before, last = split(frames)
    for part in before:
        _send(socket, part, zmq.NOBLOCK | zmq.SNDMORE)
    _send(socket, last, zmq.NOBLOCK)
