"""Bounds the unauthenticated connections of a listening socket, and decides which to close.

A program that can reach a port can connect to it any number of times, and each connection takes a
file descriptor of the process. A connection is young until `PATIENCE_S` after its start, when the
transport itself gives up an incomplete handshake. A few young connections may be silent; beyond
these, the oldest silent ones are closed first, so that a peer that sends something always gets in.
Transports report only that some connection has completed its handshake, not which one. Connections
that send something without ever completing it are therefore counted, and bounded less strictly.

Times are in monotonic seconds. A connection is identified by any number that the transport uses.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

#: Maximum duration of a handshake, in seconds. Arbitrary: on a link that loses a tenth of all packets it takes three.
PATIENCE_S = 10.0
#: Maximum number of silent connections to one port, or of those in their handshake. Arbitrary: more than nodes or jobs that
#: connect at the same time.
MOST_STRANGERS = 64
#: Minimum size of a handshake, in bytes (ZMTP's greeting has 64 bytes, and its shortest command that many more).
LEAST_HANDSHAKE = 80


class ConnectionLimit:
    """Connection limits of one listening socket."""

    def __init__(self, most: int = MOST_STRANGERS, patience_s: float = PATIENCE_S) -> None:
        """Begin without connections.

        Args:
            most: maximum number of strangers at the same time.
            patience_s: seconds after which the transport closes a connection without a handshake.
        """
        self._most, self._patience_s = most, patience_s
        self._young: dict[int, float] = {}  # start time by connection, oldest first
        self._greeted: deque[float] = deque()  # times of completed handshakes

    @property
    def strangers(self) -> int:
        """Number of connections that may not have completed their handshake."""
        return max(0, len(self._young) - len(self._greeted))

    def accepted(self, connection: int, now: float) -> None:
        """Register a new connection; its number may be that of an earlier one that has ended."""
        self._young.pop(connection, None)
        self._young[connection] = now

    def ended(self, connection: int) -> None:
        """Register the end of a connection."""
        self._young.pop(connection, None)

    def greeted(self, now: float) -> None:
        """Register that some connection has completed its handshake."""
        self._greeted.append(now)

    def surplus(self, received: Callable[[int], int], now: float) -> list[int]:
        """Return connections to close; each is returned once.

        Args:
            received: returns the number of bytes that a connection has received so far.
            now: current time, in seconds.
        """
        over = now - self._patience_s
        while self._greeted and self._greeted[0] < over:
            self._greeted.popleft()
        for connection in [one for one, since in self._young.items() if since < over]:
            del self._young[connection]
        if len(self._young) <= self._most:
            return []
        silent = [connection for connection in self._young if received(connection) < LEAST_HANDSHAKE]
        closed = silent[: max(0, len(silent) - self._most)]
        for connection in closed:
            del self._young[connection]
        talking = self.strangers - 2 * self._most
        if talking > 0:
            more = [connection for connection in self._young if connection not in silent][:talking]
            for connection in more:
                del self._young[connection]
            closed += more
        return closed
