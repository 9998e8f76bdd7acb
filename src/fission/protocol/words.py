"""Whether a word of a job is one: of a job and an incarnation that there are, with the members that it must have, of the right types.

Without keys anybody can send words, and with them a job's process may have gone mad: neither may end the client.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from fission.errors import RemoteProtocolError
from fission.protocol.frames import CLOSED, Word

Check: TypeAlias = "Callable[[Any], bool]"


def _whole(value: Any) -> bool:
    return type(value) is int and 0 <= value <= CLOSED


def _number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _numbered(value: Any) -> bool:
    return isinstance(value, dict) and all(_digits(key) and _whole(one) for key, one in value.items())


def _digits(key: Any) -> bool:
    return isinstance(key, str) and key.isascii() and key.isdecimal() and len(key) < 20


def _ends(value: Any) -> bool:
    def last(one: Any) -> bool:
        return isinstance(one, list) and len(one) < 8 and all(map(_whole, one))

    return isinstance(value, dict) and all(_digits(key) and last(one) for key, one in value.items())


def _texts(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_text, value.values()))


_OUTPUT: Mapping[str, Check] = {"sent": _numbered, "lost": _numbered, "dropped": _whole, "queue": _whole, "blocked_s": _number}


def right_counts(value: Any) -> bool:
    """Whether it is what `fission.runtime.counts` gives."""
    if not isinstance(value, dict):
        return False
    inputs, outputs = value.get("inputs"), value.get("outputs")
    if not (_numbered(value.get("compute_blocks")) and isinstance(inputs, dict) and isinstance(outputs, dict)):
        return False
    return (
        all(_digits(key) and isinstance(one, dict) and all(map(_number, one.values())) for key, one in inputs.items())
        and all(_digits(key) and isinstance(one, dict) and _has(one, _OUTPUT) for key, one in outputs.items())
        and all(_whole(value.get(name)) for name in ("malformed", "not_shared"))
    )


def _has(body: Mapping[str, Any], members: Mapping[str, Check]) -> bool:
    return all(check(body.get(name)) for name, check in members.items())


_SNAPSHOT: Mapping[str, Check] = {"generation": _whole, "block": _whole}
#: What must be in a word, by what it says; others may say anything that their hearers understand.
MEMBERS: Mapping[str, Mapping[str, Check]] = {
    "counts": {"counts": right_counts},
    "replayed": {"job": _whole, "incarnation": _whole, "pipe": _whole, "blocks": _whole},
    "ended": {"ends": _ends},
    "typed": {"lines": _whole},
    "warning": {"text": _text},
    "need": _SNAPSHOT,
    "store": _SNAPSHOT,
    "stable": _SNAPSHOT,
    "keep": {"pipe": _whole, "number": _whole},
    "tapped": {"tap": _whole},
    "measured": {"key": _whole},
}
#: What may be in a word, of whatever kind.
OPTIONAL: Mapping[str, Check] = {"counts": right_counts, "addresses": _texts, "process": _whole, "once": _text, "doing": _text}


def check_word(message: Any, incarnation: Callable[[int], int | None]) -> Word:
    """Return the message, which is a word.

    Args:
        message: what was decoded.
        incarnation: the newest one of a job, 0 before the first; None: there is no such job.

    Raises:
        RemoteProtocolError: it is none.
    """
    if not isinstance(message, Word):
        raise RemoteProtocolError(f"a {type(message).__name__} is no word")
    newest = incarnation(message.job)
    if newest is None or not 0 < message.incarnation <= newest:
        raise RemoteProtocolError(f"there is no incarnation {message.incarnation} of a job {message.job}")
    what = message.body["say"]
    for name, check in MEMBERS.get(what, {}).items():
        if not check(message.body.get(name)):
            raise RemoteProtocolError(f"a word that says {what!r:.50} has no such member {name}: {message.body.get(name)!r:.100}")
    for name, check in OPTIONAL.items():
        if message.body.get(name) is not None and not check(message.body[name]):
            raise RemoteProtocolError(f"a word that says {what!r:.50} has no such member {name}: {message.body[name]!r:.100}")
    return message
