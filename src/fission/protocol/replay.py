"""What a datagram is bound to, and which of the numbered messages of several senders are new: what was recorded and comes again is not.

Datagrams overtake each other, so a number below the largest one may still be new. As in RFC 4303, section 3.4.3: of the last `WINDOW`
numbers each is taken once, older ones never.
"""

from __future__ import annotations

from collections import OrderedDict

#: Numbers below the largest one that may still come; arbitrary, more than a way that reorders packets holds back.
WINDOW = 64
#: Senders that are remembered; arbitrary: each service of a node is one. Without keys anybody can make up senders.
MAX_SENDERS = 1024
_MASK = (1 << WINDOW) - 1


def context_of(*parts: str) -> bytes:
    """What a datagram is bound to: direction, sender, receiver, run, in this order or any other that both sides agree on."""
    texts = [part.encode("utf-8", "surrogateescape") for part in parts]
    return b"".join(len(text).to_bytes(4, "big") + text for text in texts)


def pulse_context(run: str, client: str) -> bytes:
    """Of what nodes send to a client: the run, and the identity of the client's process, which nodes get when they are claimed."""
    return context_of("pulse", run, client)


def echo_context(run: str, client: str, lease: str) -> bytes:
    """Of what a client answers a node: the lease is the node's."""
    return context_of("echo", run, client, lease)


def probe_context(run: str, lease: str) -> bytes:
    """Of what nodes send each other to measure the link: the run, and the lease of the receiver."""
    return context_of("probe", run, lease)


class ReplayWindow:
    """Numbers of one sender."""

    def __init__(self) -> None:
        self._largest = -1
        self._seen = 0  # bit i: the number i below the largest one has come

    def take(self, number: int) -> bool:
        """Whether this number is new; from now on it is not. ``number``: from 0."""
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
    """Numbers of all senders; of too many, the one that was silent for longest is forgotten."""

    def __init__(self, most: int = MAX_SENDERS) -> None:
        """Args: most: senders that are remembered."""
        self._most = most
        self._windows: OrderedDict[bytes, ReplayWindow] = OrderedDict()

    def take(self, sender: bytes, number: int) -> bool:
        """Whether this number of this sender is new; from now on it is not."""
        window = self._windows.get(sender)
        if window is None:
            window = self._windows[sender] = ReplayWindow()
            if len(self._windows) > self._most:
                self._windows.popitem(last=False)
        self._windows.move_to_end(sender)
        return window.take(number)
