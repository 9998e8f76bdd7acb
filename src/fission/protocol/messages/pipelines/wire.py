"""The JSON of the pipelines: how a message becomes bytes and back, within bounds, and strictly
typed.

This wire is published: scripts of pypelinin and programs in other languages speak it. Hence its two
differences from `fission.protocol.messages.codec`:

* A request names its class in the member ``command``; ``answer`` of an answer says how the request
fared, and the request
  decides what else is in the answer. Members that a class does not know are ignored, except between
  FISSION's own daemons.
* Users' JSON travels in it (data of jobs, whole pipelines, results), with integers of any size.
Python's own JSON reads and
  writes it unchanged; msgspec checks the types of everything else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, NoReturn, TypeAlias, TypeVar

import msgspec

from fission.errors import RemoteProtocolError
from fission.protocol.messages.codec import Codec, Message, Part
from fission.protocol.pipeline_limits import MESSAGE_DEPTH, NAME_LENGTH, deeper_than, is_name

#: Maximum size of a message in bytes, in each direction. Arbitrary: large enough for any batch, and too small to fill the
#: memory of a board.
LIMIT = 8 * 1024 * 1024
#: Maximum size of one pipeline in bytes: many must fit into a message.
PIPELINE_LIMIT = 1024 * 1024
#: Maximum length of an id in characters; the ids that FISSION makes are 32 hex digits.
ID_LENGTH = 64
#: Maximum length of an address or of a node's name in characters. Arbitrary.
TEXT_LENGTH = 255
#: Maximum length of an error's text in characters. Arbitrary.
ERROR_LENGTH = 2000
#: Largest absolute value of an integer: what all JSON readers agree on, and what a database can hold.
LARGEST = 2**53

#: An id of a pipeline, a Pipeliner or a Broker.
Id: TypeAlias = Annotated[str, msgspec.Meta(pattern=rf"\A[A-Za-z0-9_-]{{1,{ID_LENGTH}}}\Z")]
Whole: TypeAlias = Annotated[int, msgspec.Meta(ge=-LARGEST, le=LARGEST)]
#: JSON that belongs to the user: data of a job, the error of a pipeline, arguments of a store.
UserJson: TypeAlias = dict[str, Any]
# msgspec's names of JSON's types, for people
_TYPES = {"int": "an integer", "float": "a number", "str": "a text", "bool": "a boolean", "array": "a list", "object": "an object"}
_MISTYPED = re.compile(r"Expected `([^`]+)`(.*?)(?:, got (?:`([^`]+)`|(\d+)))?(?: - at `\$\.?(.*)`)?", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(.+)`(?: - at `\$.*`)?", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.+)`(?: - at `\$.*`)?", re.DOTALL)


def spaced(name: str) -> str:
    """Return the wire's name of a field: ``pipeline_id`` travels as ``pipeline id``."""
    return name.replace("_", " ")


class RouterRequest(Message, frozen=True, tag_field="command", rename=spaced, omit_defaults=True, forbid_unknown_fields=False):
    """A request to the Router. A subclass names its command: ``class GetRouterStatus(RouterRequest,
    frozen=True, tag="status")``.
    """

    def check(self) -> None:
        """Check what the types of the fields cannot express.

        Raises:
            ValueError: a field has an impossible value; the text names both.
        """


class RouterReply(Message, frozen=True, tag_field="answer", rename=spaced, forbid_unknown_fields=False):
    """An answer of the Router. A subclass names the value of ``answer``, or has none
    (``tag=False``).
    """


class ArrayPart(Part, frozen=True, array_like=True):
    """A part of a message that travels as a JSON array: its fields, in order."""


class ObjectPart(Part, frozen=True, rename=spaced, forbid_unknown_fields=False):
    """A part of a message that travels as a JSON object."""


R = TypeVar("R", bound=RouterRequest)
A = TypeVar("A", bound=RouterReply)


def encode(message: msgspec.Struct | Mapping[str, Any]) -> bytes:
    """Return a message, or an object of users' JSON, as compact JSON.

    Raises:
        ValueError: a value in it does not exist in JSON, such as infinity.
    """
    plain = msgspec.to_builtins(message, str_keys=True) if isinstance(message, msgspec.Struct) else message
    return json.dumps(plain, separators=(",", ":"), allow_nan=False).encode()


def decode_object(data: bytes) -> UserJson:
    """Return the JSON object in some bytes, whose members are not checked yet.

    Raises:
        RemoteProtocolError: it is too large, not JSON, not an object, or nested too deeply.
    """
    if len(data) > LIMIT:
        raise RemoteProtocolError(f"a message must have at most {LIMIT} bytes, but has {len(data)}")
    try:
        message = json.loads(data, parse_constant=_refuse_constant)
    except RecursionError:
        raise RemoteProtocolError(f"a message must be JSON of at most {MESSAGE_DEPTH} levels, but has more") from None
    except ValueError as error:
        raise RemoteProtocolError(f"a message must be JSON: {str(error)[:200]}") from None
    if not isinstance(message, dict):
        raise RemoteProtocolError(f"a message must be a JSON object, but is a {type(message).__name__}")
    if deeper_than(MESSAGE_DEPTH, message):
        raise RemoteProtocolError(f"a message must be JSON of at most {MESSAGE_DEPTH} levels, but has more")
    return message


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} does not exist in JSON")


def convert(fields: Mapping[str, Any], kind: Any) -> Any:
    """Return the message of class (or union of classes) *kind* whose members are *fields*.

    Raises:
        RemoteProtocolError: a member is missing or mistyped, or its value is impossible.
    """
    try:
        message = msgspec.convert(fields, kind, str_keys=True)
        if isinstance(message, RouterRequest):
            message.check()
    except (msgspec.ValidationError, ValueError, OverflowError) as error:
        raise RemoteProtocolError(explained(error)) from None
    return message


def explained(error: Exception) -> str:
    """Return a validation error of msgspec as a sentence for people: which member, what it must be,
    what it is.
    """
    text = str(error)
    if missing := _MISSING.fullmatch(text):
        return f"the message has no {missing[1]!r}"
    if found := _MISTYPED.fullmatch(text):
        expected, more, got, length, member = found.groups()
        if "regex" in more:
            return f"{member!r} must be an id (up to {ID_LENGTH} letters, digits, '_' and '-')"
        wanted = " or ".join(_TYPES.get(one, one) for one in expected.replace("int | float", "float").split(" | "))
        but = f", but is {_TYPES.get(got, got)}" if got else f", but has {length}" if length else ""
        return f"{member!r} must be {wanted}{more}{but}"
    if unknown := _UNKNOWN.fullmatch(text):
        return f"the message has an unknown member {unknown[1]!r}"
    return text.encode("ascii", "backslashreplace").decode()


class RequestCodec(Codec[RouterRequest]):
    """Requests at the Router's api address.

    Attributes:
        commands: the classes by the value of ``command``.
    """

    discriminator = "command"

    def __init__(self, name: str, *types: type[RouterRequest]) -> None:
        """Args are the attributes of `Codec`."""
        super().__init__(name, *types, max_bytes=LIMIT)
        self.commands = {str(kind.__struct_config__.tag): kind for kind in types}

    def encode(self, message: RouterRequest) -> bytes:
        return encode(message)

    def decode(self, data: bytes | bytearray | memoryview) -> RouterRequest:
        request: RouterRequest = self.read(decode_object(bytes(data)))
        return request

    def read(self, fields: Mapping[str, Any]) -> RouterRequest:
        """Return the request with these members.

        Raises:
            RemoteProtocolError: the command is unknown, or a member is malformed.
        """
        kind = self.commands.get(command_of(fields))
        if kind is None:
            raise RemoteProtocolError(f"there is no command {command_of(fields)[:80]!r}")
        request: RouterRequest = convert(fields, kind)
        return request


def command_of(fields: Mapping[str, Any]) -> str:
    """Return the command of a request, which may be unknown.

    Raises:
        RemoteProtocolError: it is missing, or not a text.
    """
    if "command" not in fields:
        raise RemoteProtocolError("the message has no 'command'")
    command = fields["command"]
    if not isinstance(command, str):
        raise RemoteProtocolError(f"'command' must be a text, but is of type {type(command).__name__}")
    return command


class PlainCodec(Codec[Message]):
    """Messages that no member tells apart: the way that they take, or the request before them,
    decides the class of each.
    """

    discriminator = "class"

    def __init__(self, name: str, *types: type[Message]) -> None:
        """Args are the attributes of `Codec`."""
        self.name, self.types, self.max_bytes = name, types, LIMIT

    def encode(self, message: Message) -> bytes:
        return encode(message)


class AnswerCodec(PlainCodec):
    """Answers and broadcasts of one direction."""

    discriminator = "answer"


def check_text(value: str, name: str) -> None:
    """Check an address or the name of a node.

    Raises:
        ValueError: it is longer than `TEXT_LENGTH`, or has characters that cannot be printed.
    """
    if len(value) > TEXT_LENGTH or not value.isprintable():
        raise ValueError(f"{name!r} must be at most {TEXT_LENGTH} printable characters, but is {ascii(value)[:80]}")


def check_worker(value: str) -> None:
    """Check the name of a worker.

    Raises:
        ValueError: it is empty, longer than `NAME_LENGTH`, or has spaces or characters that cannot
            be printed.
    """
    if not is_name(value) or len(value) > NAME_LENGTH:
        raise ValueError(
            f"a worker's name must be the name of a class, of at most {NAME_LENGTH} characters, "
            f"but is {ascii(value)[:80]} ({len(value)} characters)"
        )
