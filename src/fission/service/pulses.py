"""The pulses of a node's service: their numbers, the client's answers and round-trip times."""

from __future__ import annotations

from collections import deque

#: Consecutive echoes without a known connection after which the node reconnects; arbitrary.
UNKNOWN_ECHOES = 5
#: Pulses whose round trip is still measured; arbitrary, a few seconds' worth.
PULSES_REMEMBERED = 50
#: Round trips of which the shortest measures the clock. Arbitrary: so many that one is rarely held up, and so few that clocks
#: that drift by 100 in a million are right within 0.1 ms for pulses of 0.1 s.
CLOCKS = 20


class Pulses:
    """The known state of the link to the client and back.

    Attributes:
        sent: number of the last pulse.
        echoed: number of the last pulse that the client has answered.
        rtt_s: round trip of that pulse in seconds; None: no pulse was answered yet.
    """

    def __init__(self) -> None:
        """Begin without pulses."""
        self.sent = self.echoed = 0
        self.rtt_s: float | None = None
        self._sent_at: dict[int, float] = {}  # by unanswered pulse
        self._unknown = 0
        self._clocks: deque[tuple[float, float]] = deque(maxlen=CLOCKS)

    def claimed(self) -> None:
        """Note that a client has claimed this node.

        Answers that an earlier client owes do not count.
        """
        self.echoed = self.sent
        self._unknown = 0
        self._clocks.clear()

    def next(self, now: float) -> int:
        """Return the number of the pulse to send now."""
        self.sent += 1
        self._sent_at[self.sent] = now
        for old in [number for number in self._sent_at if number <= self.sent - PULSES_REMEMBERED]:
            del self._sent_at[old]
        return self.sent

    def echo(self, number: int, now: float, client_at: float = 0.0) -> bool:
        """Take the client's answer to a pulse; return whether it is newer than all before.

        An answer to a later pulse may arrive first.

        Args:
            number: of the pulse.
            now: time on this machine's clock.
            client_at: time on the client's clock when it answered; 0: unknown.
        """
        if not self.echoed < number <= self.sent:
            return False
        self.echoed = number
        sent_at = self._sent_at.pop(number, now)
        self.rtt_s = now - sent_at
        if client_at:
            self._clocks.append(((sent_at + now) / 2 - client_at, self.rtt_s / 2))
        return True

    @property
    def clock(self) -> dict[str, float]:
        """The clock of this machine, by the names of `LeasePulse.means`; empty if it is not known.

        The answer was given at some time of the round trip, so half of that is the largest error;
        the shortest of the last round trips says most.
        """
        if not self._clocks:
            return {}
        offset, error = min(self._clocks, key=lambda clock: clock[1])
        return {"clock_offset": offset, "clock_error": error}

    def cut_off(self, *, known: bool, connected: bool) -> bool:
        """Return whether to reconnect: the client gave this node up, which Dask would notice late.

        Args:
            known: whether the client's answer reports a connection to this node.
            connected: whether this node has a connection to the client.
        """
        self._unknown = 0 if known else self._unknown + 1
        if self._unknown == UNKNOWN_ECHOES and connected:
            self._unknown = 0
            return True
        return False
