"""The codec of all control messages: a message is one JSON object whose member ``type`` names its
class.

A class of messages derives from `Message`; a direction (client to job, node to client, ...) is a
`Codec` of the classes that may travel there. Decoding is strict: unknown types, unknown, missing or
mistyped members, and messages larger than the direction allows raise `RemoteProtocolError`. No
other exception leaves `Codec.decode`.
"""

from __future__ import annotations

from typing import Annotated, Any, Generic, TypeAlias, TypeVar, Union

import msgspec

from fission.errors import RemoteProtocolError

#: The member that tells the messages of a direction apart.
DISCRIMINATOR = "type"
#: Bytes of a message unless its direction says otherwise. Arbitrary: far above what a message without users' values needs.
MAX_BYTES = 1 << 20
#: Characters of a malformed message that an error shows. Arbitrary.
SHOWN = 100

#: An integer that fits a sequence number of `fission.protocol.frames`: 0 to 2**63 - 1.
Whole: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]

T = TypeVar("T", bound="Message")


class Message(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field=DISCRIMINATOR):
    """One message. A subclass names its wire type: ``class Wire(Message, frozen=True,
    tag="wire")``.
    """


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a member of a message is made of, where it has members of its own."""


class Codec(Generic[T]):
    """Encodes and decodes the messages of one direction.

    Attributes:
        name: of the direction, for errors and docs: "client to job".
        types: the classes of its messages.
        max_bytes: limit of one encoded message, in bytes.
        discriminator: the member that names a message's class.
    """

    discriminator = DISCRIMINATOR

    def __init__(self, name: str, *types: type[T], max_bytes: int = MAX_BYTES) -> None:
        """Args are the attributes."""
        self.name = name
        self.types = types
        self.max_bytes = max_bytes
        self._encoder = msgspec.json.Encoder()
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(Union[types])  # noqa: UP007 - of a tuple

    def encode(self, message: T) -> bytes:
        """Return the message as UTF-8 JSON.

        Text that UTF-8 cannot express (lone surrogates, as in names of files that are not UTF-8) is
        sent with escapes: ``\\udc80``.

        Raises:
            ValueError: it is larger than ``max_bytes``, or has a number that JSON cannot express.
        """
        try:
            data = self._encoder.encode(message)
        except UnicodeEncodeError:
            data = self._encoder.encode(_expressible(msgspec.to_builtins(message)))
        if len(data) > self.max_bytes:
            raise ValueError(f"{self.name}: a {type(message).__name__} has {len(data)} bytes; at most {self.max_bytes} may be sent")
        return data

    def decode(self, data: bytes | bytearray | memoryview) -> T:
        """Return the message.

        Raises:
            RemoteProtocolError: it is malformed, unknown in this direction, or too large.
        """
        size = memoryview(data).nbytes
        if size > self.max_bytes:
            raise RemoteProtocolError(f"{self.name}: a message of {size} bytes; at most {self.max_bytes} are accepted")
        try:
            message: T = self._decoder.decode(data)
        except (msgspec.MsgspecError, ValueError, RecursionError) as why:
            raise RemoteProtocolError(f"{self.name}: malformed message {bytes(data[:SHOWN])!r}: {why}") from None
        return message


def _expressible(value: Any) -> Any:
    """Return a JSON value with all its text such that UTF-8 can express it."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_expressible(name): _expressible(member) for name, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [_expressible(member) for member in value]
    return value
