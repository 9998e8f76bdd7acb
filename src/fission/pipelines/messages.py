"""JSON messages between Router, Broker, Pipeliner and clients: bounded, and checked before anybody believes them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NewType, TypeVar

from fission.errors import RemoteProtocolError

T = TypeVar("T")

#: Bytes of a message at most, in each direction. Arbitrary: room for the largest batches, and nothing that could fill a board's memory.
LIMIT = 8 * 1024 * 1024
#: Bytes of one pipeline at most: many must fit into a message.
PIPELINE_LIMIT = 1024 * 1024
#: Characters of an id at most; what we make is 32 hex digits.
ID_LENGTH = 64
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
        RemoteProtocolError: they are too many, no JSON, or no object.
    """
    if len(data) > LIMIT:
        raise RemoteProtocolError(f"a message has at most {LIMIT} bytes, this one has {len(data)}")
    try:
        message = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise RemoteProtocolError(f"a message must be JSON: {str(error)[:200]}") from None
    if not isinstance(message, dict):
        raise RemoteProtocolError(f"a message must be a JSON object, is a {type(message).__name__}")
    return message


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
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise RemoteProtocolError(f"{name!r} must be {kind.__name__}, is {type(value).__name__}")
    if isinstance(value, int) and abs(value) > LARGEST:
        raise RemoteProtocolError(f"{name!r} must be at most {LARGEST} away from 0")
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
        raise RemoteProtocolError(f"{name!r} must be an id (up to {ID_LENGTH} letters and digits), is {str(value)[:80]!r}")
    return value


def rows(message: Mapping[str, Any], name: str, *kinds: type) -> list[list[Any]]:
    """A field that is a list of rows, each with values of these kinds.

    Raises:
        RemoteProtocolError: it is something else.
    """
    found: list[Any] = take(message, name, list, [])
    for row in found:
        if not isinstance(row, list) or len(row) != len(kinds) or not all(map(_is, row, kinds)):
            raise RemoteProtocolError(f"{name!r} must be rows of ({', '.join(kind.__name__ for kind in kinds)}), has {str(row)[:80]}")
    return found


def _is(value: object, kind: type) -> bool:
    if isinstance(value, int) and abs(value) > LARGEST:
        return False
    return isinstance(value, kind) and not (isinstance(value, bool) and kind is not bool)
