"""Whether the service of a node on this machine answers: a Unix socket in its run folder.

Only the service's own user can reach the socket. A connection gets one JSON object, made by the
service's event loop, so a service that hangs gives no answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from fission.adapters.run_folder import SHORT_FOLDERS, runtime_directories

#: Name of the socket in the run folder.
SOCKET = "health"
#: Seconds that a service has to answer; arbitrary: a busy board needs less than one.
ANSWER_S = 5.0
#: Bytes of the longest answer that is read; arbitrary: names of a network and a node, and a few numbers.
ANSWER_BYTES = 10_000


class HealthSocket:
    """The service's side. For one asyncio loop."""

    def __init__(self, run_folder: str, state: Callable[[], dict[str, Any]]) -> None:
        """Prepare; `open` listens.

        Args:
            run_folder: run folder of the service, which only its user can enter.
            state: returns what the answer says.
        """
        self._path, self._state = os.path.join(run_folder, SOCKET), state
        self._server: asyncio.AbstractServer | None = None

    async def open(self) -> None:
        """Listen."""
        self._server = await asyncio.start_unix_server(self._answer, self._path)

    def close(self) -> None:
        """Stop listening. Idempotent."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _answer(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):  # the process that asked has ended
            writer.write(json.dumps(self._state()).encode() + b"\n")
            await writer.drain()
        writer.close()


def run_folders() -> list[Path]:
    """Return the run folders of this user's services on this machine, also of those that were killed."""
    found = []
    for place in dict.fromkeys((*runtime_directories(), "/run/fission", tempfile.gettempdir(), *SHORT_FOLDERS)):
        with contextlib.suppress(OSError):
            found += [path.parent for path in Path(place).glob(f"fission-*/{SOCKET}")]
    return sorted(found)


def ask_services(folders: Iterable[Path], answer_s: float = ANSWER_S) -> tuple[Sequence[dict[str, Any]], Sequence[Path]]:
    """Ask the services in these run folders.

    Args:
        folders: their run folders.
        answer_s: seconds that each has to answer.

    Returns:
        The answers, and the folders of services that live and do not answer.
    """
    answers, silent = [], []
    for folder in folders:
        with socket.socket(socket.AF_UNIX) as asking:
            asking.settimeout(answer_s)
            try:
                asking.connect(str(folder / SOCKET))
            except (ConnectionRefusedError, FileNotFoundError, PermissionError):
                continue  # it was killed, has ended meanwhile, or belongs to another user
            except OSError:
                silent.append(folder)
                continue
            try:
                answers.append(json.loads(asking.makefile("rb").readline(ANSWER_BYTES)))
            except (OSError, ValueError):
                silent.append(folder)
    return answers, silent
