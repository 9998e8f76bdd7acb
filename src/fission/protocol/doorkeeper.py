"""Which connections of a listening socket are closed because too many have not shown yet who they are.

A program that reaches a port can connect to it any number of times, and each connection takes a descriptor of the process. A connection is
young until the transport itself gives up a handshake that is not complete, `PATIENCE_S` after its start. Of the young ones, a few may be
silent: the oldest silent ones are closed first, so that who has something to say always gets in. Transports do not tell which connection
has completed its handshake, only that one has, so who says something without ever completing it is counted, and bounded less strictly.

Times are monotonic seconds; connections have any number that the transport knows them by.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

#: Seconds that a handshake may take; arbitrary: on a way that loses a tenth of all packets it takes three.
PATIENCE_S = 10.0
#: Connections to one port that may be silent, or be in their handshake; arbitrary: more than nodes or jobs come at the same moment.
MOST_STRANGERS = 64
#: Bytes of less than which no handshake consists (ZMTP's greeting has 64 bytes, and its shortest command that many more).
LEAST_HANDSHAKE = 80


class Doorkeeper:
    """Decides for one listening socket."""

    def __init__(self, most: int = MOST_STRANGERS, patience_s: float = PATIENCE_S) -> None:
        """Args: most: strangers at the same time. patience_s: after which the transport closes a connection without a handshake."""
        self._most, self._patience_s = most, patience_s
        self._young: dict[int, float] = {}  # when it came, oldest first
        self._greeted: deque[float] = deque()  # when handshakes were completed

    @property
    def strangers(self) -> int:
        """Connections that may not have completed their handshake."""
        return max(0, len(self._young) - len(self._greeted))

    def accepted(self, connection: int, now: float) -> None:
        """A connection has come; its number may be that of an earlier one that has ended."""
        self._young.pop(connection, None)
        self._young[connection] = now

    def ended(self, connection: int) -> None:
        """A connection is gone."""
        self._young.pop(connection, None)

    def greeted(self, now: float) -> None:
        """Some connection has completed its handshake."""
        self._greeted.append(now)

    def surplus(self, received: Callable[[int], int], now: float) -> list[int]:
        """Return connections to close; each is returned once.

        Args:
            received: bytes that have come over a connection so far.
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
