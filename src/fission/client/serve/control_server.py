"""How other terminals talk to the client of a running network: a Unix socket in the run's folder.

A viewer connects and sends one message of `fission.protocol.messages.viewer_to_client` per line.
The client answers each with one line of `fission.protocol.messages.client_to_viewer`. After its
answer, a handler may take over the connection to send a stream of packets (length as u32,
little-endian, then bytes); further lines are still read. The number of viewers and the length of
lines are bounded. The handler bounds the packets that wait for a viewer that does not read.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import select
import socket
import struct
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import fission
from fission.client.folders.endings import not_running
from fission.client.folders.run_folders import current
from fission.client.folders.simulation_folder import noted
from fission.errors import EXIT_FAILED, FissionError, RemoteProtocolError, UserError
from fission.protocol.messages import client_to_viewer, viewer_to_client
from fission.protocol.messages.client_to_viewer import ClientToViewer, ViewerRefused
from fission.protocol.messages.viewer_to_client import MAX_REQUEST_BYTES, ViewerToClient

#: Identifies the running network in its run folder, so that other terminals find it.
RUNNING_FILE = "running.json"
#: Maximum number of simultaneous viewers. Arbitrary: more than a person has terminals, or a network InteractiveJobs.
MAX_VIEWERS = 128
#: Seconds that a viewer waits for an answer; arbitrary: the client answers at once unless it is stopped.
ANSWER_S = 10.0
#: Maximum seconds of one wait, because `select` refuses very large numbers.
MOST_WAIT_S = 3600.0
_LENGTH = struct.Struct("<I")

#: Takes a request and returns its answer.
Handler = Callable[[Any, "Connection"], Awaitable[ClientToViewer]]
V = TypeVar("V", bound=ViewerToClient)
A = TypeVar("A", bound=ClientToViewer)


class Connection:
    """One viewer, as its handler sees it.

    Attributes:
        on_close: called when the viewer is gone, or the client ends.
        pieces: pieces of an incomplete line for a console.
    """

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self.on_close: list[Callable[[], None]] = []
        self.pieces: list[str] = []

    async def send(self, packet: bytes) -> None:
        """Send a packet; returns when the viewer's side has room for more.

        Raises:
            OSError: the viewer is gone.
        """
        self._writer.write(_LENGTH.pack(len(packet)) + packet)
        await self._writer.drain()

    def hang_up(self) -> None:
        """Close the connection."""
        self._writer.close()


class ControlServer:
    """The client's side: listens while the network runs, in one asyncio loop."""

    def __init__(self, address: str, running_file: Path, *, nodes: bool = False) -> None:
        """Prepare the server.

        Args:
            address: path of the socket.
            running_file: JSON file that names the socket as "requests", with "pid", "version" (of
                FISSION) and "nodes".
            nodes: whether the network runs on other machines, too.
        """
        self._address = address
        self._file = running_file
        self._nodes = nodes
        self._handlers: dict[type[Any], Handler] = {}
        self._server: asyncio.AbstractServer | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    def answer(self, kind: type[V], handler: Callable[[V, Connection], Awaitable[ClientToViewer]]) -> None:
        """Register the handler of a class of requests.

        The handler takes the request and the connection, and returns the answer. If it raises an
        error of FISSION, the request is refused with the error's text and exit code.
        """
        self._handlers[kind] = handler

    async def open(self) -> None:
        """Listen."""
        self._server = await asyncio.start_unix_server(self._serve, self._address, limit=MAX_REQUEST_BYTES)
        fresh = self._file.with_suffix(".new")
        facts = {"pid": os.getpid(), "requests": self._address, "version": fission.__version__, "nodes": self._nodes}
        fresh.write_text(json.dumps(facts) + "\n")
        os.replace(fresh, self._file)

    async def close(self) -> None:
        """Disconnect all viewers and stop listening. Idempotent."""
        if self._server is not None:
            self._server.close()
            self._server = None
            with contextlib.suppress(OSError):
                self._file.unlink(missing_ok=True)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:
            return
        self._tasks.add(task)
        connection = Connection(writer)
        try:
            if len(self._tasks) > MAX_VIEWERS:
                text = f"{MAX_VIEWERS} other terminals watch this network already; close one of them"
                self._write(writer, ViewerRefused(error=text, exit_code=EXIT_FAILED))
                return
            while line := await reader.readline():
                self._write(writer, await self._obey(line, connection))
                await writer.drain()
        except (OSError, ValueError, asyncio.CancelledError):
            pass  # a line that is too long is a ValueError
        finally:
            self._tasks.discard(task)
            for close in connection.on_close:
                close()
            writer.close()

    @staticmethod
    def _write(writer: asyncio.StreamWriter, answer: ClientToViewer) -> None:
        writer.write(client_to_viewer.CODEC.encode(answer) + b"\n")

    async def _obey(self, line: bytes, connection: Connection) -> ClientToViewer:
        try:
            request = viewer_to_client.CODEC.decode(line)
        except RemoteProtocolError as why:
            text = f"the running network does not understand this request: {why}; is it another version of FISSION?"
            return ViewerRefused(error=text, exit_code=EXIT_FAILED)
        handler = self._handlers.get(type(request))
        if handler is None:
            text = f"this network does not answer a {type(request).__name__}"
            return ViewerRefused(error=text, exit_code=EXIT_FAILED)
        try:
            return await handler(request, connection)
        except FissionError as why:
            return ViewerRefused(error=str(why), exit_code=why.exit_code)


class Refused(UserError):
    """The refusal of a running network's client, which chooses the exit code."""

    def __init__(self, text: str, exit_code: int) -> None:
        super().__init__(text)
        self.exit_code = exit_code


class Viewer:
    """Another terminal's side. A context manager: disconnects at its end."""

    def __init__(self, folder: Path, *, answer_s: float = ANSWER_S) -> None:
        """Connect to the running network.

        Args:
            folder: the network's folder.
            answer_s: seconds that it waits for an answer.

        Raises:
            UserError: the network is not running on this machine, or does not answer.
        """
        self._folder = folder
        address = _address(folder)
        self._socket = socket.socket(socket.AF_UNIX)
        self._answer_s = answer_s
        try:
            # with a timeout of Python's, connect would fail at once while the client is busy and many wait to be accepted
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", int(answer_s), int(answer_s % 1 * 1e6)))
            self._socket.connect(address)
            self._socket.settimeout(answer_s)
        except BlockingIOError:
            self._socket.close()
            raise self._silent() from None
        except OSError:
            self._socket.close()
            raise not_running(folder) from None
        self._rest = bytearray()

    def __enter__(self) -> Viewer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._socket.close()

    def ask(self, request: ViewerToClient, kind: type[A]) -> A:
        """Send a request and return its answer, which is of class ``kind``.

        Raises:
            Refused: the client refuses; carries its exit code.
            UserError: the network has ended, or does not answer.
            RemoteProtocolError: the answer is malformed, or of another class.
        """
        try:
            with contextlib.suppress(BrokenPipeError):  # a client with too many viewers has answered and disconnected
                self._socket.sendall(viewer_to_client.CODEC.encode(request) + b"\n")
            line = self._line()
        except TimeoutError:
            raise self._silent() from None
        except OSError:
            line = b""
        if not line:
            raise UserError(f"the network {self._folder.name} has ended")
        answer = client_to_viewer.CODEC.decode(line)
        if isinstance(answer, ViewerRefused):
            raise Refused(answer.error, answer.exit_code)
        if not isinstance(answer, kind):
            wrong = f"the answer to a {type(request).__name__} must be a {kind.__name__}, but is a {type(answer).__name__}"
            raise RemoteProtocolError(wrong)
        return answer

    def _silent(self) -> UserError:
        return UserError(f"the client of {self._folder.name} has not answered for {self._answer_s:g} s; is it stopped?")

    def _line(self) -> bytes:
        while b"\n" not in self._rest:
            chunk = self._socket.recv(1 << 16)
            if not chunk:
                return b""
            self._rest += chunk
        end = self._rest.index(b"\n") + 1
        line = bytes(self._rest[:end])
        del self._rest[:end]
        return line

    def packets(self, deadline: float | None = None, every: float | None = None) -> Iterator[bytes | None]:
        """Yield the packets after an answer that announced a stream, until the network ends.

        Args:
            deadline: moment (`time.monotonic`) at which the stream ends; None: no limit.
            every: seconds after which None is yielded while nothing arrives.
        """
        waiting = self._rest
        while True:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return
            position = 0
            while len(waiting) - position >= _LENGTH.size:
                (length,) = _LENGTH.unpack_from(waiting, position)
                if len(waiting) - position - _LENGTH.size < length:
                    break
                yield bytes(waiting[position + _LENGTH.size : position + _LENGTH.size + length])
                position += _LENGTH.size + length
            del waiting[:position]
            wait = min(one for one in (left, every, MOST_WAIT_S) if one is not None)
            readable, _, _ = select.select([self._socket], [], [], wait)
            if not readable:
                yield None
                continue
            try:
                chunk = self._socket.recv(1 << 20)
            except OSError:
                return
            if not chunk:
                return
            waiting += chunk


def _address(folder: Path) -> str:
    found: list[tuple[float, str]] = []
    for run in run_folders_of(folder):
        path = run / RUNNING_FILE
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            found.append((path.stat().st_mtime, str(json.loads(path.read_text())["requests"])))
    if not found:
        raise not_running(folder)
    return max(found)[1]  # a killed client leaves its file behind


def run_folders_of(folder: Path) -> list[Path]:
    """Return the folders of a network that may contain `RUNNING_FILE`."""
    other = noted(folder)
    return [folder / "simulation", current(folder), *([other] if other is not None else [])]
