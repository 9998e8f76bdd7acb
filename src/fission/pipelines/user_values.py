"""Checks of the values that a user hands over for jobs and pipelines: data of JSON's types, and
serialized forms.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fission.pipelines.errors import PipelineError
from fission.protocol.pipeline_limits import DATA_DEPTH, deeper_than


def checked_data(data: Any, what: str) -> dict[str, Any] | None:
    """Return *data* as it will come out of JSON, so that nothing changes silently later.

    Raises:
        PipelineError: it is neither None nor a dict that JSON can hold; names *what* and where in
            it.
    """
    if data is None:
        return None
    if not isinstance(data, Mapping):
        raise PipelineError(f"{what} must be a dict or None, but is {shown(data)}")
    if deeper_than(DATA_DEPTH, data):
        raise PipelineError(f"{what} must be nested at most {DATA_DEPTH} levels deep, but are deeper")
    try:
        text = json.dumps(dict(data), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise PipelineError(f"{what} must be JSON values (dict, list, str, numbers, True, False, None): {error}") from None
    found: dict[str, Any] = json.loads(text)
    for bad in _non_text_keys(data):
        raise PipelineError(f"{what} must have only str as keys, but has {bad!r}")
    return found


def _non_text_keys(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        yield from (key for key in value if not isinstance(key, str))
        for inner in value.values():
            yield from _non_text_keys(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _non_text_keys(inner)


def sequence_of(thing: Any, what: str) -> Sequence[Any]:
    """Return *thing*, a tuple or list of jobs.

    Raises:
        PipelineError: it is something else; names *what*.
    """
    if not isinstance(thing, (list, tuple)):
        raise PipelineError(f"{what} must be Job objects, or a tuple or list of them, but is {shown(thing)}")
    return thing


def _pairs(thing: Any, what: str) -> list[tuple[str, Any]]:
    try:
        pairs = [(name, value) for name, value in thing]
    except (TypeError, ValueError):
        raise PipelineError(f"{what} must be a dict, but is {shown(thing)}") from None
    if not all(isinstance(name, str) for name, _ in pairs):
        raise PipelineError(f"{what} must have only str as names, but is {shown(thing)}")
    return pairs


def fields_of(information: Any, what: str, names: set[str] | None) -> dict[str, Any]:
    """Return the members of a dict, or of the same as (name, value) pairs.

    Args:
        information: either of them.
        what: it is, for the message.
        names: those that there are; None: any.

    Raises:
        PipelineError: it is neither, or has other names.
    """
    fields = dict(information) if isinstance(information, Mapping) else dict(_pairs(information, what))
    if names is None:
        return fields
    if unknown := sorted(str(name) for name in fields.keys() - names):
        raise PipelineError(f"{what} has the members {', '.join(sorted(names))}; {unknown[0]!r} is not one of them")
    return fields


def shown(value: Any) -> str:
    """Return a shortened repr, so that a message stays readable whatever the user has written."""
    try:
        text = repr(value)
    except Exception:  # of the user's class, or an integer of more digits than Python writes
        return f"a {type(value).__name__}"
    return text if len(text) <= 200 else f"{text[:200]}..."


def json_hash(value: Any) -> int:
    """Return a hash of a value of JSON's types; equal values have equal hashes."""
    if isinstance(value, dict):
        return hash(frozenset((name, json_hash(inner)) for name, inner in value.items()))
    return hash(tuple(map(json_hash, value))) if isinstance(value, list) else hash(value)
