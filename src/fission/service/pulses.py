"""The pulses of a node's service: their numbers, the client's answers and round-trip times."""

from __future__ import annotations

from fission.protocol.clock_offset import ClockComparison

#: Consecutive echoes without a known connection after which the node reconnects; arbitrary.
UNKNOWN_ECHOES = 5
#: Pulses whose round trip is still measured; arbitrary, a few seconds' worth.
PULSES_REMEMBERED = 50


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
        self._clock = ClockComparison()

    def claimed(self) -> None:
        """Note that a client has claimed this node.

        Answers that an earlier client owes do not count.
        """
        self.echoed = self.sent
        self._unknown = 0
        self._clock.clear()

    def next(self, now: float) -> int:
        """Return the number of the pulse to send now."""
        self.sent += 1
        self._sent_at[self.sent] = now
        for old in [number for number in self._sent_at if number <= self.sent - PULSES_REMEMBERED]:
            del self._sent_at[old]
        return self.sent

    def echo(self, number: int, now: float, reached: float = 0.0, answered: float = 0.0) -> bool:
        """Take the client's answer to a pulse; return whether it is newer than all before.

        An answer to a later pulse may arrive first.

        Args:
            number: of the pulse.
            now: time on this machine's clock.
            reached: time on the client's clock when the pulse arrived; 0, as the next: unknown.
            answered: time on the client's clock when it answered.
        """
        if not self.echoed < number <= self.sent:
            return False
        self.echoed = number
        left = self._sent_at.pop(number, None)
        self.rtt_s = 0.0 if left is None else now - left
        if left is not None and answered:
            self._clock.exchanged(left, reached, answered, now)
        return True

    def clock(self, now: float) -> dict[str, float]:
        """Return the clock of this machine, by the names of `LeasePulse.means`; empty if it is not known.

        Args:
            now: time on this machine's clock.
        """
        found = self._clock.estimate(now)
        return {} if found is None else {"clock_offset": found.offset_s, "clock_error": found.error_s, "clock_drift": found.drift}

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
