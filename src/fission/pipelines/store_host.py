"""One store for all worker processes of a Broker, in a process of its own: `retrieve` and `save`
are called one after the other.

pypelinin's stores are written for that: one instance in each Broker, never two calls at a time. A
store of which each worker process may have an instance has a class attribute ``parallel = True``,
and is not used through this module.

A worker process sends one end of a socket pair to the host over the `StoreListener`, a pair of
datagram sockets that all processes inherit: there is no address that another user could connect to,
nothing to clean up, and a restarted host finds the waiting connections. Before it calls the store
the host answers with an empty message: a call that was waiting when the host died, because of
another job's call, is repeated; a call that had started has failed.
"""

from __future__ import annotations

import array
import contextlib
import pickle
import select
import socket
import struct
from collections.abc import Callable, Mapping
from typing import Any

from fission.pipelines.errors import DaemonError, StoreRaised
from fission.pipelines.jobs import error_texts
from fission.pipelines.slots import Slots
from fission.protocol.messages.pipelines.router_to_worker import JobOrder

_LENGTH = struct.Struct("<Q")
_PIECE = 1 << 20


class StoreListener:
    """Connects worker processes with the process of the store. Create it before both are forked."""

    def __init__(self) -> None:
        self._clients, self._host = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)

    def connect(self) -> socket.socket:
        """Return a new connection to the host, which may start later."""
        mine, its = socket.socketpair()
        with its:
            ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [its.fileno()]))]
            self._clients.sendmsg([b"store"], ancillary)
        return mine

    def accept(self) -> socket.socket | None:
        """Return the next connection; None: the message had none."""
        _, ancillary, _, _ = self._host.recvmsg(16, socket.CMSG_SPACE(4))
        for level, kind, data in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                (descriptor,) = array.array("i", data[:4])
                return socket.socket(fileno=descriptor)
        return None

    def fileno(self) -> int:
        """Return the descriptor that is readable when there is a connection to accept."""
        return self._host.fileno()

    def close(self) -> None:
        """Close both ends."""
        self._clients.close()
        self._host.close()


class SharedStore:
    """The Broker's one store, as its worker processes see it. For one thread."""

    def __init__(self, listener: StoreListener) -> None:
        """Connect with the first call.

        Args:
            listener: shared with the process of the store.
        """
        self._listener = listener
        self._socket: socket.socket | None = None

    def check(self) -> None:
        """Wait until the store is constructed.

        Raises:
            DaemonError: it cannot be constructed.
        """
        try:
            self._call("check", None)
        except StoreRaised as error:
            raise DaemonError(str(error.args[0])) from None

    def retrieve(self, info: Mapping[str, Any]) -> Any:
        """Return what the store's `retrieve` returns.

        Raises:
            StoreRaised: it has raised, or an argument or result cannot be pickled.
        """
        return self._call("retrieve", info)

    def save(self, info: Mapping[str, Any]) -> None:
        """Call the store's `save`.

        Raises:
            StoreRaised: as `retrieve`.
        """
        self._call("save", info)

    def save_monitoring(self, data: Mapping[str, Any]) -> None:
        """Call the store's `save_monitoring`.

        Raises:
            StoreRaised: as `retrieve`.
        """
        self._call("save_monitoring", data)

    def close(self) -> None:
        """Close the connection; the store stays."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _call(self, method: str, argument: Any) -> Any:
        try:
            request = pickle.dumps((method, argument))
        except Exception as error:
            raise StoreRaised(
                f"the result of process must be picklable to reach the store's process: {error!r}; "
                "a StoreClass with parallel = True needs no pickling",
                "",
            ) from error
        answer, begun = self._exchange(request)
        while answer is None and not begun and method != "check":  # do not wait for a store that cannot be constructed
            answer, begun = self._exchange(request)
        if answer is None:
            raise StoreRaised("the store's process died before it answered", "")
        kind, *values = pickle.loads(answer)
        if kind == "raised":
            raise StoreRaised(*values)
        return values[0]

    def _exchange(self, request: bytes) -> tuple[bytes | None, bool]:
        """Return the answer, None if the host died before it, and whether the host had started the
        call.
        """
        begun = False
        with contextlib.suppress(OSError):
            if self._socket is None:
                self._socket = self._listener.connect()
            self._socket.sendall(_LENGTH.pack(len(request)) + request)
            begun = _receive(self._socket) is not None
            answer = _receive(self._socket) if begun else None
            if answer is not None:
                return answer, True
        self.close()
        return None, begun


def _receive(connection: socket.socket) -> bytes | None:
    """Return one message; None: the other end is gone."""
    data = bytearray()
    wanted = _LENGTH.size
    while len(data) < wanted:
        piece = connection.recv(min(_PIECE, wanted - len(data)))
        if not piece:
            return None
        data += piece
        if wanted == _LENGTH.size == len(data):
            wanted += _LENGTH.unpack(data)[0]
    return bytes(data[_LENGTH.size :])


def host(listener: StoreListener, make: Callable[[], Any], slots: Slots, slot: int) -> None:
    """Be the store's process, until it is killed.

    Args:
        listener: shared with the worker processes.
        make: constructs the store; raises DaemonError if that fails.
        slots: shared with the Broker.
        slot: in which the process notes for which job it works.
    """
    try:
        store, failure = make(), ""
    except DaemonError as error:
        store, failure = None, str(error)
    buffers: dict[socket.socket, bytearray] = {}
    while True:
        sources: list[int | socket.socket] = [listener.fileno(), *buffers]
        ready = select.select(sources, [], [])[0]
        if listener.fileno() in ready:
            connection = listener.accept()
            if connection is not None:
                buffers[connection] = bytearray()
        for connection in [each for each in ready if isinstance(each, socket.socket)]:
            if not _serve(connection, buffers[connection], lambda method, argument: _answer(store, failure, slots, slot, method, argument)):
                del buffers[connection]
                connection.close()


def _serve(connection: socket.socket, buffer: bytearray, answer: Callable[[str, Any], bytes]) -> bool:
    """Take what has arrived, and return False if the worker process is gone; one that is killed
    while it sends does not block others.
    """
    with contextlib.suppress(OSError):
        piece = connection.recv(_PIECE)
        if not piece:
            return False
        buffer += piece
        if len(buffer) < _LENGTH.size:
            return True
        end = _LENGTH.size + _LENGTH.unpack_from(buffer)[0]
        if len(buffer) < end:
            return True
        request = bytes(buffer[_LENGTH.size : end])
        del buffer[:end]
        connection.sendall(_LENGTH.pack(0))  # the call has started
        reply = answer(*pickle.loads(request))
        connection.sendall(_LENGTH.pack(len(reply)) + reply)
        return True
    return False


def _answer(store: Any, failure: str, slots: Slots, slot: int, method: str, argument: Any) -> bytes:
    if failure:
        return pickle.dumps(("raised", failure, ""))
    if method == "check":
        return pickle.dumps(("returned", None))
    if method != "save_monitoring":
        slots.begin(slot, JobOrder(argument["job id"], argument["worker"], None, None, 0))
    try:
        return pickle.dumps(("returned", getattr(store, method)(argument)))
    except BaseException as error:  # SystemExit and the like, too: a job must not end the store
        return pickle.dumps(("raised", *error_texts(error, __file__)))
    finally:
        slots.end(slot)
