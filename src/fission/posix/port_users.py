"""Which process of this machine uses a port, in words."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

#: Commands of a network that listen for nodes.
COMMANDS = ("run", "collect", "allocate", "senddata", "removedata")
#: Addresses that stand for all of a machine.
_ANY = ("0.0.0.0", "::")


def by_user_of(ip: str, port: int) -> str:
    """Return " by " and the process that listens at a port; empty if it is unknown, as another user's is.

    Args:
        ip: address of this machine; 0.0.0.0 or :: for all of them.
        port: TCP or UDP port.
    """
    import psutil  # only for a message: its import takes time

    with contextlib.suppress(psutil.Error, OSError, RuntimeError):
        for connection in psutil.net_connections("inet"):
            here = connection.laddr and connection.laddr.port == port and (ip in _ANY or connection.laddr.ip in (ip, *_ANY))
            if here and connection.pid and (connection.type == socket.SOCK_DGRAM or connection.status == psutil.CONN_LISTEN):
                return f" by {_described(psutil.Process(connection.pid))}"
    return ""


def _described(process: psutil.Process) -> str:
    words = process.cmdline()
    command = next((index for index, word in enumerate(words) if word in COMMANDS and index > 0), 0)
    if command and not words[command - 1].startswith("-") and os.sep not in words[command - 1]:
        project = Path(process.cwd())
        return f"the network {words[command - 1]} of {project} (process {process.pid})"
    return f"process {process.pid} ({' '.join(' '.join(words).split())[:80] or process.name()})"
