"""A fork server that is forked from the process that uses it.

Everything that this process has defined, also in its main script, exists in all children. The
server ends with its client, and every child with the server, however they die. Each child adopts
what it starts, so that nothing remains when the child is dead. Daemons of its children survive only
if the server itself is killed by SIGKILL.
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
    """The client's end. Use it from one thread only."""

    def __init__(self, prepare: Callable[[], None], run_child: Callable[[int, bytes], None]) -> None:
        """Fork the server; this process must not have threads yet.

        Args:
            prepare: called once in the server to load what all children need.
            run_child: called in each child with the number and the payload that `fork` was given;
                the child ends when it returns.
        """
        self._socket, theirs = socket.socketpair()
        client = os.getpid()
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = forked(lambda: _serve(theirs, self._socket, client, prepare, run_child))
        theirs.close()
        self._socket.setblocking(False)
        self._splitter = Splitter()

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when there are reports."""
        return self._socket.fileno()

    def fork(self, number: int, payload: bytes) -> None:
        """Request a child.

        Args:
            number: number of the child; its key is ``(number,)``.
            payload: payload for the child.
        """
        with contextlib.suppress(OSError):  # the server is gone, which `reports` shows
            self._socket.sendall(Splitter.join(encoded_request(ForkChild(key=(number,)), payload)))

    def reports(self) -> list[AnyReport] | None:
        """Return the server's reports since the last call; None: the server is gone."""
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
    mine: socket.socket, theirs: socket.socket, client: int, prepare: Callable[[], None], run_child: Callable[[int, bytes], None]
) -> None:
    if os.getppid() != client:  # the client is dead; later, the end of the socket shows that, in time to end the children
        os._exit(1)
    theirs.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # there is nothing to end before there are children
    unblock_ending_signals()
    prepare()
    ForkServer(mine, lambda child: _run_child(child, run_child)).serve()


def _run_child(child: Child, run_child: Callable[[int, bytes], None]) -> None:
    die_with_parent(child.server)
    adopt_orphans()
    os.close(child.server_alive)
    run_child(child.key[0], child.payload)
