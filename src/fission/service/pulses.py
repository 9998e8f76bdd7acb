"""The pulses of a node's service: their numbers, which of them the client has answered, and how long that took."""

from __future__ import annotations

#: Echoes in a row by which the client says that it has no connection to this node, before the present one is given up; arbitrary.
UNKNOWN_ECHOES = 5
#: Pulses whose round trip is still measured; arbitrary, a few seconds of them.
PULSES_REMEMBERED = 50


class Pulses:
    """What is known of the link to the client and back.

    Attributes:
        sent: number of the last pulse.
        echoed: number of the last pulse that the client has answered.
        rtt_s: round trip of that one; None: none was answered yet.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self.sent = self.echoed = 0
        self.rtt_s: float | None = None
        self._sent_at: dict[int, float] = {}  # of the pulses that were not answered yet
        self._unknown = 0

    def claimed(self) -> None:
        """A client has claimed this node: what an earlier one has not answered does not count."""
        self.echoed = self.sent
        self._unknown = 0

    def next(self, now: float) -> int:
        """Return the number of a pulse that is sent now."""
        self.sent += 1
        self._sent_at[self.sent] = now
        for old in [number for number in self._sent_at if number <= self.sent - PULSES_REMEMBERED]:
            del self._sent_at[old]
        return self.sent

    def echo(self, number: int, now: float) -> bool:
        """Take the client's answer to a pulse; return whether it is new: an answer to a later pulse may have come first."""
        if not self.echoed < number <= self.sent:
            return False
        self.echoed = number
        self.rtt_s = now - self._sent_at.pop(number, now)
        return True

    def cut_off(self, *, known: bool, connected: bool) -> bool:
        """Return whether to connect anew: the client has given this node up, which Dask would find out much later.

        Args:
            known: whether the client's answer says that it has a connection to this node.
            connected: whether this node has one to the client.
        """
        self._unknown = 0 if known else self._unknown + 1
        if self._unknown == UNKNOWN_ECHOES and connected:
            self._unknown = 0
            return True
        return False
