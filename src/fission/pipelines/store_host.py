"""One store for all worker processes of a Broker, in a process of its own: `retrieve` and `save` are called one after the other.

That is what pypelinin's stores are written for: one instance a Broker, never two calls at a time. A store that may be made in every worker
process, with calls at the same time, says so by a class attribute, ``parallel = True``, and is not used through this module.

A worker process hands one end of a socket pair to the host over the `Rendezvous`, a pair of datagram sockets that all of them inherit:
there is no address that another user could connect to, nothing to remove, and a host that was started again finds those who wait.
Before it calls the store the host answers with an empty message: a call that was waiting when the host died, because of another job's
call, is made again; one that had begun has failed.
"""

from __future__ import annotations

import array
import contextlib
import json
import pickle
import select
import socket
import struct
from collections.abc import Callable, Mapping
from typing import Any

from fission.pipelines.errors import DaemonError, StoreRaised
from fission.pipelines.jobs import error_texts
from fission.pipelines.slots import Slots

_LENGTH = struct.Struct("<Q")
_PIECE = 1 << 20


class Rendezvous:
    """Where worker processes meet the store's process. To be made before both are forked."""

    def __init__(self) -> None:
        self._clients, self._host = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)

    def connect(self) -> socket.socket:
        """A fresh connection to the host, whether it is there already or not."""
        mine, its = socket.socketpair()
        with its:
            ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [its.fileno()]))]
            self._clients.sendmsg([b"store"], ancillary)
        return mine

    def accept(self) -> socket.socket | None:
        """The next connection; None: what came was none."""
        _, ancillary, _, _ = self._host.recvmsg(16, socket.CMSG_SPACE(4))
        for level, kind, data in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                (descriptor,) = array.array("i", data[:4])
                return socket.socket(fileno=descriptor)
        return None

    def fileno(self) -> int:
        """Readable when there is a connection to accept."""
        return self._host.fileno()

    def close(self) -> None:
        """Give both ends back."""
        self._clients.close()
        self._host.close()


class SharedStore:
    """The Broker's one store, as its worker processes see it. For one thread."""

    def __init__(self, rendezvous: Rendezvous) -> None:
        """Args: rendezvous: with the store's process."""
        self._rendezvous = rendezvous
        self._socket: socket.socket | None = None

    def check(self) -> None:
        """Wait until the store is made.

        Raises:
            DaemonError: it cannot be constructed.
        """
        try:
            self._call("check", None)
        except StoreRaised as error:
            raise DaemonError(str(error.args[0])) from None

    def retrieve(self, info: Mapping[str, Any]) -> Any:
        """What the store's `retrieve` returns.

        Raises:
            StoreRaised: it has raised, or what is to be handed over cannot be pickled.
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
        """Give the connection back; the store stays."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _call(self, method: str, argument: Any) -> Any:
        try:
            request = pickle.dumps((method, argument))
        except Exception as error:
            raise StoreRaised(
                f"what process returned cannot be handed to the store's process: {error!r}; "
                "a StoreClass with parallel = True gets it where it was made",
                "",
            ) from error
        answer, begun = self._exchange(request)
        while answer is None and not begun and method != "check":  # a store that cannot even be made must not be waited for
            answer, begun = self._exchange(request)
        if answer is None:
            raise StoreRaised("the store's process died before it answered", "")
        kind, *values = pickle.loads(answer)
        if kind == "raised":
            raise StoreRaised(*values)
        return values[0]

    def _exchange(self, request: bytes) -> tuple[bytes | None, bool]:
        """The answer, None if the host died before it came; and whether the host had begun with the call."""
        begun = False
        with contextlib.suppress(OSError):
            if self._socket is None:
                self._socket = self._rendezvous.connect()
            self._socket.sendall(_LENGTH.pack(len(request)) + request)
            begun = _receive(self._socket) is not None
            answer = _receive(self._socket) if begun else None
            if answer is not None:
                return answer, True
        self.close()
        return None, begun


def _receive(connection: socket.socket) -> bytes | None:
    """One message; None: the other end is gone."""
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


def host(rendezvous: Rendezvous, make: Callable[[], Any], slots: Slots, slot: int) -> None:
    """Be the store's process, until it is killed.

    Args:
        make: makes the store; raises DaemonError if that fails.
        slot: where it says for which job it works.
    """
    try:
        store, failure = make(), ""
    except DaemonError as error:
        store, failure = None, str(error)
    buffers: dict[socket.socket, bytearray] = {}
    while True:
        sources: list[int | socket.socket] = [rendezvous.fileno(), *buffers]
        ready = select.select(sources, [], [])[0]
        if rendezvous.fileno() in ready:
            connection = rendezvous.accept()
            if connection is not None:
                buffers[connection] = bytearray()
        for connection in [one for one in ready if isinstance(one, socket.socket)]:
            if not _serve(connection, buffers[connection], lambda method, argument: _answer(store, failure, slots, slot, method, argument)):
                del buffers[connection]
                connection.close()


def _serve(connection: socket.socket, buffer: bytearray, answer: Callable[[str, Any], bytes]) -> bool:
    """Take what has come; a worker process that was killed while it sent does not block the others. False: it is gone."""
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
        connection.sendall(_LENGTH.pack(0))  # from here on the call has begun
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
        slots.begin(slot, json.dumps({"id": argument["job id"], "worker": argument["worker"], "data": None, "timeout": None, "attempt": 0}))
    try:
        return pickle.dumps(("returned", getattr(store, method)(argument)))
    except BaseException as error:  # SystemExit and the like, too: a job must not end the store
        return pickle.dumps(("raised", *error_texts(error, __file__)))
    finally:
        slots.end(slot)
