"""What other terminals ask the client of a running network: JSON lines over a Unix socket in the run's folder.

A looker connects and sends one JSON object a line, with the member "ask"; each is answered by one line: an object with "ok": true and
what was asked for, or with "error" (a text for the user) and "exit" (an exit code). A handler may take the connection over after its
answer, to send what comes; then it is a stream of packets (length as u32, little endian, and bytes), and further lines are still
heard. Lookers are bounded in number, lines in length; one that does not read costs what its handler has let gather.
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
from typing import Any

from fission.client.run.endings import not_running
from fission.client.run.run_folders import current
from fission.client.run.simulation_folder import noted
from fission.errors import EXIT_FAILED, UserError

#: Names the running network in its run folder, so that other terminals find it. See `fission.client.serve.consoles`.
RUNNING_FILE = "running.json"
#: Lookers at the same time. Arbitrary: more than anybody has terminals.
MOST_LOOKERS = 32
#: Longest line in bytes; arbitrary, a question is short.
MOST_LINE = 64 << 10
#: Seconds that a looker waits for an answer; arbitrary, the client answers at once unless it is stopped.
ANSWER_S = 10.0
#: Seconds that one call waits at most, because `select` refuses very large numbers.
MOST_WAIT_S = 3600.0
_LENGTH = struct.Struct("<I")

Handler = Callable[[dict[str, Any], "Connection"], Awaitable[dict[str, Any]]]


class Connection:
    """One looker, as its handler sees it.

    Attributes:
        on_close: called when the looker is gone, or the client ends.
    """

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self.on_close: list[Callable[[], None]] = []

    async def send(self, packet: bytes) -> None:
        """Send a packet; returns when the looker's side has room for more. Raises OSError: it is gone."""
        self._writer.write(_LENGTH.pack(len(packet)) + packet)
        await self._writer.drain()

    def hang_up(self) -> None:
        """Nothing more will come."""
        self._writer.close()


class ControlServer:
    """The client's side: listens while the network runs. One asyncio loop."""

    def __init__(self, address: str, running_file: Path) -> None:
        """Args: address: path of the socket. running_file: JSON file in which it is noted as "requests"; what it has is kept."""
        self._address = address
        self._file = running_file
        self._handlers: dict[str, Handler] = {}
        self._server: asyncio.AbstractServer | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    def answer(self, ask: str, handler: Handler) -> None:
        """Have a question answered: the handler gets the request and the connection, and returns the answer's members.

        An answer may be refused by raising UserError (or any error of FISSION): its text and exit code are the answer.
        """
        self._handlers[ask] = handler

    async def open(self) -> None:
        """Listen."""
        self._server = await asyncio.start_unix_server(self._serve, self._address, limit=MOST_LINE)
        known: dict[str, Any] = {"pid": os.getpid()}
        with contextlib.suppress(OSError, ValueError):
            known = json.loads(self._file.read_text())
        fresh = self._file.with_suffix(".new")
        fresh.write_text(json.dumps({**known, "requests": self._address}) + "\n")
        os.replace(fresh, self._file)

    async def close(self) -> None:
        """Hang up on everybody and stop listening. Calling it twice is right."""
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
            if len(self._tasks) > MOST_LOOKERS:
                self._write(writer, {"error": f"{MOST_LOOKERS} others look at this network already; end one of them", "exit": EXIT_FAILED})
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
    def _write(writer: asyncio.StreamWriter, answer: dict[str, Any]) -> None:
        writer.write(json.dumps(answer).encode() + b"\n")

    async def _obey(self, line: bytes, connection: Connection) -> dict[str, Any]:
        from fission.errors import FissionError

        try:
            request = json.loads(line)
            ask = request["ask"]
        except (ValueError, KeyError, TypeError):
            return {"error": 'a request is a JSON object with the member "ask"', "exit": EXIT_FAILED}
        handler = self._handlers.get(str(ask))
        if handler is None:
            known = ", ".join(sorted(self._handlers))
            return {"error": f"the running network does not answer {ask!r}; it answers {known}: another version?", "exit": EXIT_FAILED}
        try:
            return {"ok": True, **await handler(request, connection)}
        except FissionError as why:
            return {"error": str(why), "exit": why.exit_code}
        except (KeyError, TypeError, ValueError) as why:
            return {"error": f"the request {ask!r} is not as it must be: {type(why).__name__}: {why}", "exit": EXIT_FAILED}


class Refused(UserError):
    """What the client of a running network answered; the exit code is its choice."""

    def __init__(self, text: str, exit_code: int) -> None:
        super().__init__(text)
        self.exit_code = exit_code


class Viewer:
    """Another terminal's side. A context manager: hangs up at its end."""

    def __init__(self, folder: Path) -> None:
        """Connect to the network that runs.

        Args:
            folder: the network's folder.

        Raises:
            UserError: it does not run here.
        """
        self._folder = folder
        address = _address(folder)
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(ANSWER_S)
        try:
            self._socket.connect(address)
        except OSError:
            self._socket.close()
            raise not_running(folder) from None
        self._rest = bytearray()

    def __enter__(self) -> Viewer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._socket.close()

    def ask(self, ask: str, **more: Any) -> dict[str, Any]:
        """Return the answer.

        Raises:
            Refused: the client refuses; with its exit code.
            UserError: the network has ended, or does not answer.
        """
        try:
            with contextlib.suppress(BrokenPipeError):  # whoever refuses everything has said so, and hung up
                self._socket.sendall(json.dumps({"ask": ask, **more}).encode() + b"\n")
            line = self._line()
        except TimeoutError:
            raise UserError(f"the client of {self._folder.name} has not answered for {ANSWER_S:g} s; is it stopped?") from None
        except OSError:
            line = b""
        if not line:
            raise UserError(f"the network {self._folder.name} has ended")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise Refused(str(answer["error"]), int(answer.get("exit", EXIT_FAILED)))
        return answer

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
        """What comes after an answer that announced a stream; ends with the network.

        Args:
            deadline: moment (`time.monotonic`) at which it ends; None: no limit.
            every: seconds after which None is given while nothing comes.
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
    for run in looked_at(folder):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            return str(json.loads((run / RUNNING_FILE).read_text())["requests"])
    raise not_running(folder)


def looked_at(folder: Path) -> list[Path]:
    """The folders of a network in which `RUNNING_FILE` is looked for."""
    other = noted(folder)
    return [folder / "simulation", current(folder), *([other] if other is not None else [])]
