"""Strict JSON: refuses every value that JSON cannot express or that would silently change."""

from __future__ import annotations

import json
import math
import sys
from typing import Any

from fission.errors import ValueFitError

_PLAIN = frozenset({str, int, bool, type(None)})


def encoded(pipe: str, value: Any) -> bytes:
    """Return a value as one line of JSON in ASCII, ended by a line feed.

    Args:
        pipe: name of the pipe, for error messages.
        value: see `JSONPipe`.

    Raises:
        ValueFitError: JSON cannot express the value.
    """
    if type(value) not in _PLAIN:
        try:
            fault = _fault(value, "")
        except RecursionError:
            fault = "it contains itself, or is nested too deeply"
        if fault:
            raise ValueFitError(f"{pipe} takes only what JSON can represent: {fault}")
    try:
        return _encode(value).encode() + b"\n"
    except RecursionError:
        raise ValueFitError(f"{pipe} takes only what JSON can represent: it is nested too deeply") from None
    except ValueError as why:  # an integer of more digits than Python converts
        raise ValueFitError(f"{pipe} takes only what JSON can represent: {why}") from None


def _number(value: Any) -> Any:
    return value.item()  # values that `_fault` accepts and the encoder does not know are numpy numbers


_encode = json.JSONEncoder(allow_nan=False, default=_number).encode


def _fault(value: Any, place: str) -> str:
    """Return the first part of a value that JSON cannot express, or "".

    ``place``: Python index of the value.
    """
    kind = type(value)
    if kind is float:
        return "" if math.isfinite(value) else _not_finite(value, place)
    if kind in _PLAIN:
        return ""
    if isinstance(value, dict):
        return _fault_of_dict(value, place)
    if isinstance(value, (list, tuple)):
        for index, entry in enumerate(value):
            if type(entry) not in _PLAIN and (fault := _fault(entry, f"{place}[{index}]")):
                return fault
        return ""
    if isinstance(value, float):
        return "" if math.isfinite(value) else _not_finite(value, place)
    if isinstance(value, (str, int)):
        return ""
    return _fault_of_number(value, place)


def _fault_of_dict(value: dict[Any, Any], place: str) -> str:
    for key, entry in value.items():
        if not isinstance(key, str):
            return f"{_at(place)}the key {key!r} is of type {type(key).__name__}, and keys must be of type str"
        if type(entry) not in _PLAIN and (fault := _fault(entry, f"{place}[{key!r}]")):
            return fault
    return ""


def _fault_of_number(value: Any, place: str) -> str:
    numpy: Any = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, (numpy.bool_, numpy.integer, numpy.floating)):
        number = value.item()
        if isinstance(number, float) and not math.isfinite(number):
            return _not_finite(number, place)
        if isinstance(number, (bool, int, float)):
            return ""
        return f"{_at(place)}a {type(value).__name__} has more digits than numbers in JSON have; send str(value), or float(value)"
    if hasattr(value, "tolist"):
        return f"{_at(place)}a {type(value).__name__} is not a list; send value.tolist(), or use a PicklePipe"
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"{_at(place)}JSON has no type for {type(value).__name__}; send text, or use a BytesPipe or a PicklePipe"
    return f"{_at(place)}JSON has no type for {type(value).__name__}; send numbers, text, lists and dicts, or use a PicklePipe"


def _not_finite(value: float, place: str) -> str:
    return f"{_at(place)}{float(value)!r} is not a number in JSON; send None or a text for it, or use a PicklePipe"


def _at(place: str) -> str:
    return f"at {place}, " if place else ""
