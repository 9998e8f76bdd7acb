"""A fork server that is forked from the process that uses it.

What that process has defined, in its main script too, is there in all children. The server ends with its client, and every child with
the server, however they die. Each child adopts what it starts, so that nothing of it is left when the child is dead. Only when the
server itself is killed by SIGKILL, daemons of its children survive.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable

from fission.posix.descendants import adopt_orphans
from fission.posix.fork_server import Child, ForkServer
from fission.posix.forking import die_with_parent, forked, unblock_ending_signals
from fission.protocol.messages.client_to_fork_server import ForkChild, encoded_request
from fission.protocol.messages.fork_server_to_client import FORK_SERVER_TO_CLIENT, AnyReport
from fission.protocol.splitter import Splitter


class ForkServerProcess:
    """The client's end. For one thread."""

    def __init__(self, prepare: Callable[[], None], live: Callable[[int, bytes], None]) -> None:
        """Fork the server; this process must not have threads yet.

        Args:
            prepare: called once in the server: load what all children need.
            live: called in each child with the number and the payload that `fork` was given; the child ends when it returns.
        """
        self._socket, theirs = socket.socketpair()
        client = os.getpid()
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = forked(lambda: _serve(theirs, self._socket, client, prepare, live))
        theirs.close()
        self._socket.setblocking(False)
        self._splitter = Splitter()

    def fileno(self) -> int:
        """Return the descriptor that is readable when there are reports."""
        return self._socket.fileno()

    def fork(self, number: int, payload: bytes) -> None:
        """Ask for a child.

        Args:
            number: its key is ``(number,)``.
            payload: for the child.
        """
        with contextlib.suppress(OSError):  # the server is gone, which `reports` says
            self._socket.sendall(Splitter.join(encoded_request(ForkChild(key=(number,)), payload)))

    def reports(self) -> list[AnyReport] | None:
        """Return what the server has reported since the last call; None: the server is gone."""
        found: list[AnyReport] = []
        try:
            while data := self._socket.recv(65536):
                found += map(FORK_SERVER_TO_CLIENT.decode, self._splitter.feed(data))
            return None
        except BlockingIOError:
            return found
        except OSError:
            return None

    def close(self) -> None:
        """End the server and all children. Idempotent."""
        if self.pid:
            self._socket.close()
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self.pid, 0)
            self.pid = 0


def _serve(
    mine: socket.socket, theirs: socket.socket, client: int, prepare: Callable[[], None], live: Callable[[int, bytes], None]
) -> None:
    if os.getppid() != client:  # it is dead; later, the end of the socket says so, and there is time to end the children
        os._exit(1)
    theirs.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # there is nothing to end before there are children
    unblock_ending_signals()
    prepare()
    ForkServer(mine, lambda child: _live(child, live)).serve()


def _live(child: Child, live: Callable[[int, bytes], None]) -> None:
    die_with_parent(child.server)
    adopt_orphans()
    os.close(child.life)
    live(child.key[0], child.payload)
