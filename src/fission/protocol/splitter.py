"""Messages on a byte stream, each preceded by its length as a 32-bit number."""

from __future__ import annotations

import struct

from fission.errors import LocalProtocolError, RemoteProtocolError
from fission.protocol.frames import MAX_LENGTH, Buffer

#: Largest message on a byte stream in bytes. Arbitrary: large enough for any job bundle.
MAX_STREAM_MESSAGE = 1 << 30

_LENGTH = struct.Struct("<I")


class Splitter:
    """Cuts a byte stream, however fragmented, into the messages that `join` put into it.

    It is used where the transport preserves no message boundaries (the channel between a fork
    server and its client). After an error the stream is unusable: every further call raises the
    error again.
    """

    def __init__(self, limit: int = MAX_STREAM_MESSAGE) -> None:
        """Begin with an empty stream.

        Args:
            limit: largest accepted message in bytes.
        """
        self._limit = limit
        self._rest = bytearray()
        self._broken = ""

    @staticmethod
    def join(message: Buffer) -> bytes:
        """Return the message in the format of the stream."""
        if len(message) > MAX_LENGTH:
            raise LocalProtocolError(f"a message on a stream has at most {MAX_LENGTH} bytes; got {len(message)}")
        return _LENGTH.pack(len(message)) + message

    @property
    def pending(self) -> int:
        """Number of bytes of an incomplete message; 0 where a stream may end."""
        return len(self._rest)

    def feed(self, data: Buffer) -> list[bytes]:
        """Take the received bytes, in order; return the messages that are complete now.

        Raises:
            RemoteProtocolError: a message longer than the limit was announced.
        """
        if self._broken:
            raise RemoteProtocolError(self._broken)
        self._rest += data
        messages = []
        position = 0
        while len(self._rest) - position >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._rest, position)
            if length > self._limit:
                self._broken = f"a message on this stream has at most {self._limit} bytes; {length} were announced"
                raise RemoteProtocolError(self._broken)
            if len(self._rest) - position - _LENGTH.size < length:
                break
            position += _LENGTH.size
            messages.append(bytes(self._rest[position : position + length]))
            position += length
        del self._rest[:position]
        return messages
