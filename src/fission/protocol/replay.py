"""Protection of datagrams against replay: contexts that bind them, and windows of received numbers.

The windows tell which numbered messages of several senders are new; a recorded message that comes
again is not. Datagrams overtake each other, so a number below the largest one may still be new. As
in RFC 4303, section 3.4.3, each of the last `WINDOW` numbers is accepted once, and older ones
never.
"""

from __future__ import annotations

from collections import OrderedDict

#: Range below the largest number in which numbers may still come. Arbitrary: more than a network
#: path that reorders packets holds back.
WINDOW = 64
#: Maximum number of remembered senders. Arbitrary: each service of a node is one. Without keys,
#: senders can be forged.
MAX_SENDERS = 1024
_MASK = (1 << WINDOW) - 1


def context_of(*parts: str) -> bytes:
    """Return the context that a datagram is bound to.

    It consists of direction, sender, receiver and run, in this or any other order that both sides
    use.
    """
    texts = [part.encode("utf-8", "surrogateescape") for part in parts]
    return b"".join(len(text).to_bytes(4, "big") + text for text in texts)


def pulse_context(run: str, client: str) -> bytes:
    """Return the context of datagrams from nodes to a client.

    Args:
        run: run of the network.
        client: identity of the client's process, which nodes get when they are claimed.
    """
    return context_of("pulse", run, client)


def echo_context(run: str, client: str, lease: str) -> bytes:
    """Return the context of a client's answers to a node.

    Args:
        run: run of the network.
        client: identity of the client's process.
        lease: lease of the node.
    """
    return context_of("echo", run, client, lease)


def probe_context(run: str, lease: str) -> bytes:
    """Return the context of datagrams between nodes that measure the link.

    Args:
        run: run of the network.
        lease: lease of the receiver.
    """
    return context_of("probe", run, lease)


class ReplayWindow:
    """The received numbers of one sender."""

    def __init__(self) -> None:
        self._largest = -1
        self._seen = 0  # bit i: the number i below the largest one was received

    def take(self, number: int) -> bool:
        """Return whether a number is new, and record it.

        Args:
            number: number of the message, from 0.
        """
        ahead = number - self._largest
        if ahead > 0:
            self._seen = ((self._seen << min(ahead, WINDOW)) | 1) & _MASK
            self._largest = number
            return True
        if -ahead >= WINDOW or self._seen >> -ahead & 1:
            return False
        self._seen |= 1 << -ahead
        return True


class ReplayWindows:
    """The received numbers of all senders.

    When there are too many senders, the one that was silent for longest is discarded.
    """

    def __init__(self, most: int = MAX_SENDERS) -> None:
        """Begin without any sender.

        Args:
            most: maximum number of remembered senders.
        """
        self._most = most
        self._windows: OrderedDict[bytes, ReplayWindow] = OrderedDict()

    def take(self, sender: bytes, number: int) -> bool:
        """Return whether this number of this sender is new, and record it."""
        window = self._windows.get(sender)
        if window is None:
            window = self._windows[sender] = ReplayWindow()
            if len(self._windows) > self._most:
                self._windows.popitem(last=False)
        self._windows.move_to_end(sender)
        return window.take(number)
