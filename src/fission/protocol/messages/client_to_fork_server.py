"""Requests to a fork server (`fission.posix.fork_server`). A payload may follow a request; it is opaque to the server."""

from __future__ import annotations

from fission.protocol.messages.codec import Codec, Message


class ForkServerRequest(Message, frozen=True):
    """What a fork server can be asked.

    Attributes:
        key: of the child: whatever its client tells children apart by.
    """

    key: tuple[int, ...]


class ForkChild(ForkServerRequest, frozen=True, tag="fork"):
    """Fork a child. Its payload follows, and the descriptors that it inherits come along."""


class SignalChild(ForkServerRequest, frozen=True, tag="signal"):
    """Send a child a signal; SIGKILL goes to its whole process group.

    Attributes:
        number: of the signal.
    """

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
