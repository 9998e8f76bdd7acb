"""The requests of a client, or of a Broker, to a fork server (`fission.posix.fork_server`), on a
pair of sockets.

The payload of a request to fork follows it, after a newline; it is opaque to the server.
"""

from __future__ import annotations

from fission.protocol.messages.codec import Codec, Message


class ForkChild(Message, frozen=True, tag="fork"):
    """Fork a child. Its payload follows, and the descriptors that it inherits come along.

    Attributes:
        key: tells the children of a server apart.
    """

    key: tuple[int, ...]


class SignalChild(Message, frozen=True, tag="signal"):
    """Send a child a signal; SIGKILL goes to its whole process group.

    Attributes:
        key: of the child.
        number: of the signal.
    """

    key: tuple[int, ...]
    number: int


CLIENT_TO_FORK_SERVER: Codec[ForkChild | SignalChild] = Codec("client to fork server", ForkChild, SignalChild)


def encoded_request(request: ForkChild | SignalChild, payload: bytes = b"") -> bytes:
    """Return a request and its payload as one message of a stream (`fission.protocol.splitter`)."""
    return CLIENT_TO_FORK_SERVER.encode(request) + b"\n" + payload


def decoded_request(message: bytes) -> tuple[ForkChild | SignalChild, bytes]:
    """Return the request and its payload.

    Raises:
        RemoteProtocolError: the request is malformed.
    """
    line, _, payload = message.partition(b"\n")
    return CLIENT_TO_FORK_SERVER.decode(line), payload
