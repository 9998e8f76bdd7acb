"""JSON messages between Router, Broker, Pipeliner and clients: bounded, and checked before they are believed."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NewType, NoReturn, TypeVar

from fission.errors import RemoteProtocolError
from fission.pipelines.limits import MESSAGE_DEPTH, NAME_LENGTH, deeper_than, is_name

T = TypeVar("T")

#: Bytes of a message at most, in each direction. Arbitrary: room for the largest batches, and nothing that could fill a board's memory.
LIMIT = 8 * 1024 * 1024
#: Bytes of one pipeline at most: many must fit into a message.
PIPELINE_LIMIT = 1024 * 1024
#: Characters of an id at most; what we make is 32 hex digits.
ID_LENGTH = 64
#: Characters of an address or a node's name at most; arbitrary.
TEXT_LENGTH = 255
#: Characters of an error's text at most; arbitrary.
ERROR_LENGTH = 2000
#: Of whole numbers: what JSON's readers agree on, and what a database can hold.
LARGEST = 2**53
ID = re.compile(rf"[A-Za-z0-9_-]{{1,{ID_LENGTH}}}")

Message = NewType("Message", dict[str, Any])


def encode(message: Mapping[str, Any]) -> bytes:
    """The bytes of a message.

    Raises:
        ValueError: it has something that JSON has not.
    """
    return json.dumps(message, separators=(",", ":"), allow_nan=False).encode()


def decode(data: bytes) -> dict[str, Any]:
    """The message of some bytes.

    Raises:
        RemoteProtocolError: there are too many, they are not JSON, not an object, or nested too deeply.
    """
    if len(data) > LIMIT:
        raise RemoteProtocolError(f"a message has at most {LIMIT} bytes, this one has {len(data)}")
    try:
        message = json.loads(data, parse_constant=_refuse_constant)
    except RecursionError:
        raise RemoteProtocolError(f"a message must be JSON of at most {MESSAGE_DEPTH} levels, this one has more") from None
    except ValueError as error:
        raise RemoteProtocolError(f"a message must be JSON: {str(error)[:200]}") from None
    if not isinstance(message, dict):
        raise RemoteProtocolError(f"a message must be a JSON object, is a {type(message).__name__}")
    if deeper_than(MESSAGE_DEPTH, message):
        raise RemoteProtocolError(f"a message must be JSON of at most {MESSAGE_DEPTH} levels, this one has more")
    return message


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def take(message: Mapping[str, Any], name: str, kind: type[T], default: T | None = None) -> T:
    """A field of a message.

    Args:
        default: where it is missing; None: it must be there.

    Raises:
        RemoteProtocolError: it is missing, or no *kind*.
    """
    value = message.get(name, default)
    if value is None:
        raise RemoteProtocolError(f"the message has no {name!r}")
    if kind is float and isinstance(value, int) and not isinstance(value, bool) and abs(value) <= LARGEST:
        value = float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise RemoteProtocolError(f"{name!r} must be {kind.__name__}, is {type(value).__name__}")
    if isinstance(value, int) and abs(value) > LARGEST:
        raise RemoteProtocolError(f"{name!r} must be at most {LARGEST} away from 0")
    return value


def take_text(message: Mapping[str, Any], name: str, default: str | None = None) -> str:
    """A field that is an address or the name of a node: at most `TEXT_LENGTH` characters, all of them printable.

    Raises:
        RemoteProtocolError: it is missing or something else.
    """
    return checked_text(take(message, name, str, default), name)


def checked_text(value: object, name: str) -> str:
    """*value*, if it is a printable text of at most `TEXT_LENGTH` characters.

    Raises:
        RemoteProtocolError: it is not.
    """
    if not isinstance(value, str) or len(value) > TEXT_LENGTH or not value.isprintable():
        raise RemoteProtocolError(f"{name!r} must be at most {TEXT_LENGTH} printable characters, is {ascii(value)[:80]}")
    return value


def take_id(message: Mapping[str, Any], name: str) -> str:
    """A field that is an id: letters, digits, ``_`` and ``-``.

    Raises:
        RemoteProtocolError: it is missing or cannot be one.
    """
    return checked_id(take(message, name, str), name)


def checked_id(value: object, name: str) -> str:
    """*value*, if it can be an id.

    Raises:
        RemoteProtocolError: it cannot.
    """
    if not isinstance(value, str) or not ID.fullmatch(value):
        raise RemoteProtocolError(f"{name!r} must be an id (up to {ID_LENGTH} letters and digits), is {ascii(value)[:80]}")
    return value


def checked_worker(value: object) -> str:
    """*value*, if it can be a worker's name: at most `NAME_LENGTH` printable characters without spaces.

    Raises:
        RemoteProtocolError: it cannot.
    """
    if not isinstance(value, str) or not is_name(value) or len(value) > NAME_LENGTH:
        raise RemoteProtocolError(
            f"a worker's name must be the name of a class, of at most {NAME_LENGTH} characters, is {ascii(value)[:80]}"
            + (f" ({len(value)} characters)" if isinstance(value, str) else "")
        )
    return value


def rows(message: Mapping[str, Any], name: str, *kinds: type) -> list[list[Any]]:
    """A field that is a list of rows, each with values of these kinds.

    Raises:
        RemoteProtocolError: it is something else.
    """
    found: list[Any] = take(message, name, list, [])
    for row in found:
        if not isinstance(row, list) or len(row) != len(kinds) or not all(map(_is, row, kinds)):
            raise RemoteProtocolError(f"{name!r} must be rows of ({', '.join(kind.__name__ for kind in kinds)}), has {ascii(row)[:80]}")
    return found


def _is(value: object, kind: type) -> bool:
    if isinstance(value, int) and abs(value) > LARGEST:
        return False
    return isinstance(value, kind) and not (isinstance(value, bool) and kind is not bool)
