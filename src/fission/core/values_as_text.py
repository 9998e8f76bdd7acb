"""Values as lossless text, for CSV files.

The rules, in order of precedence; docs/sinks.md has them for readers, with the inverse of each:

1. Text is unchanged. Numbers are written so that reading them gives the same number: floats by
   `repr`, numpy numbers as the equal Python number, ``longdouble`` with numpy's shortest exact
   digits.
2. ``None``, ``True`` and ``False`` are these words; bytes are a Python literal (``b'...'``); dates
   and times are in ISO format, a numpy ``timedelta64`` is its number and its unit.
3. Lists, tuples, dicts and sets are Python literals, as `str` writes them, for compatibility with
   existing files. Arrays inside are lists in full, numpy numbers are Python numbers, and values
   without a literal are strings with their own text.
4. Arrays of any size, structured values and dataclasses are JSON. Values that JSON cannot express
   are JSON strings with their own text. Like the `json` module, it writes NaN and infinities by
   name.
5. All other values are converted by `str`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import fields, is_dataclass
from typing import Any

_CONTAINERS = (list, tuple, dict, set, frozenset)
_encode = json.JSONEncoder(ensure_ascii=False).encode
_PLAIN = frozenset({str, float, bool, type(None)})
_WORDS = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


def as_text(value: Any) -> str:
    """Return a value as lossless text (see the rules of this module).

    Raises:
        ValueError: the value contains itself.
    """
    known = _TEXT.get(type(value))
    if known is not None:
        return known(value)
    try:
        text = _leaf(value)
        if text is not None:
            return text
        return "".join(_literal(value) if isinstance(value, _CONTAINERS) else _json(value))
    except RecursionError:
        raise ValueError(f"a {type(value).__name__} that contains itself, or is nested too deeply, cannot be written as text") from None


def _integer(value: int) -> str:
    try:
        return int.__repr__(value)
    except ValueError:  # Python limits the number of decimal digits; int(text, 0) reads the hexadecimal form
        return hex(value)


_TEXT: dict[type, Callable[[Any], str]] = {
    str: str,
    int: _integer,
    float: float.__repr__,
    bool: repr,
    type(None): repr,
    bytes: repr,
}


def _leaf(value: Any) -> str | None:
    """Return the text of a value without parts; None for a value with parts."""
    if isinstance(value, (bytearray, bytes)):
        return bytes.__repr__(bytes(value))
    if isinstance(value, memoryview):
        return bytes.__repr__(value.tobytes()) if value.format in ("B", "b", "c") else None
    if _is_numpy(value):
        return _numpy_leaf(value)
    if isinstance(value, bool) or value is None:
        return repr(value)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return _integer(int(value))
    if isinstance(value, float):
        return float.__repr__(value)
    if isinstance(value, complex):
        return complex.__repr__(value)
    if isinstance(value, (list, tuple, dict, set, frozenset)) or (is_dataclass(value) and not isinstance(value, type)):
        return None
    if hasattr(value, "tolist") or _array_of(value) is not None:
        return None
    return _plain_str(value)


def _plain_str(value: Any) -> str:
    numpy: Any = sys.modules.get("numpy")
    if numpy is None:
        return str(value)
    with numpy.printoptions(threshold=sys.maxsize, floatmode="unique"):  # arrays inside of it in full
        return str(value)


def _is_numpy(value: Any) -> bool:
    numpy: Any = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, (numpy.generic, numpy.ndarray))


def _numpy_leaf(value: Any) -> str | None:
    if getattr(value, "ndim", False):
        return None
    dtype = value.dtype
    if dtype.kind == "O":
        return as_text(value.item())
    if dtype.names is not None:
        return None
    if hasattr(value, "__array_wrap__") and not isinstance(value, (str, bytes)):
        value = value[()]  # the element of an array without dimensions
    if dtype.kind == "V":
        return bytes.__repr__(value.tobytes())
    if dtype.kind == "M":
        return str(value)
    if dtype.kind == "m":
        return _duration(value)
    if dtype.char == "g":
        return _long_float(value)
    if dtype.char == "G":
        imaginary = _long_float(value.imag)
        return f"({_long_float(value.real)}{'' if imaginary[0] == '-' else '+'}{imaginary}j)"
    return as_text(value.item())


def _long_float(value: Any) -> str:
    import numpy

    return str(numpy.format_float_scientific(value, unique=True, trim="-")) if numpy.isfinite(value) else str(value)


def _duration(value: Any) -> str:
    import numpy

    unit, step = numpy.datetime_data(value.dtype)
    count = "NaT" if numpy.isnat(value) else str(int(value.astype("int64")))
    return f"{count} {step if step > 1 else ''}{unit}"


def _array_of(value: Any) -> Any:
    """Return the numpy array of an object that converts itself to one, such as a tensor; None for
    others.
    """
    return value.__array__() if hasattr(type(value), "__array__") and "numpy" in sys.modules else None


def _literal(value: Any) -> Iterable[str]:
    """Yield the pieces of a value's Python literal (rule 3)."""
    if isinstance(value, dict):
        yield from _literal_dict(value)
    elif isinstance(value, tuple):
        yield from _literal_parts(value, "(", ",)" if len(value) == 1 else ")")
    elif isinstance(value, (set, frozenset)):
        yield from _literal_parts(value, "{", "}") if value else ["set()"]
    elif isinstance(value, list):
        yield from _literal_parts(value, "[", "]")
    elif is_dataclass(value) and not isinstance(value, type):
        yield from _literal_dict({field.name: getattr(value, field.name) for field in fields(value)})
    elif _is_numpy(value) and (bool(getattr(value, "ndim", False)) or value.dtype.names is not None):
        if value.dtype.names is not None and not value.ndim:
            yield from _literal_parts([value[name] for name in value.dtype.names], "[", "]")
        else:
            yield from _literal_parts(value, "[", "]")
    else:
        yield from _literal_leaf(value)


def _literal_leaf(value: Any) -> Iterable[str]:
    text = _leaf(value)
    if text is None:
        yield from _literal(value.tolist() if hasattr(value, "tolist") else _array_of(value))
    elif _is_numpy(value) and value.dtype.kind in "bO":
        yield from _literal(value.item())
    elif _is_number(value) or isinstance(value, (complex, bytes, bytearray, memoryview, bool, type(None))):
        yield text  # its text is a literal
    else:
        yield repr(text)


def _literal_parts(values: Iterable[Any], begin: str, end: str) -> Iterable[str]:
    between = begin
    for value in values:
        yield between
        yield from _literal(value)
        between = ", "
    yield end if between == ", " else begin + end


def _literal_dict(value: dict[Any, Any]) -> Iterable[str]:
    between = "{"
    for key, entry in value.items():
        yield between
        yield from _literal(key)
        yield ": "
        yield from _literal(entry)
        between = ", "
    yield "}" if between == ", " else "{}"


def _json(value: Any) -> Iterable[str]:
    """Yield the pieces of a value's JSON text (rule 4)."""
    if value is None or isinstance(value, bool):
        yield "null" if value is None else "true" if value else "false"
    elif isinstance(value, (list, tuple, set, frozenset)):
        yield from _json_list(value)
    elif isinstance(value, dict):
        yield from _json_dict(value)
    elif is_dataclass(value) and not isinstance(value, type):
        yield from _json_dict({field.name: getattr(value, field.name) for field in fields(value)})
    elif _is_numpy(value) and (bool(getattr(value, "ndim", False)) or value.dtype.names is not None):
        yield from _json_array(value)
    else:
        yield from _json_leaf(value)


def _json_leaf(value: Any) -> Iterable[str]:
    text = _leaf(value)
    if text is None:
        inner = value.tolist() if hasattr(value, "tolist") else _array_of(value)
        yield from _json(inner)
    elif _is_numpy(value) and value.dtype.kind in "bO":
        yield from _json(value.item())
    elif _is_number(value):
        yield _WORDS.get(text, text)
    else:
        yield _encode(text)


def _is_number(value: Any) -> bool:
    if _is_numpy(value):
        return value.dtype.kind in "iuf"
    return isinstance(value, float) or (isinstance(value, int) and value.bit_length() < 13_000)  # larger ones are hexadecimal


def _json_list(values: Any) -> Iterable[str]:
    if type(values) is list and all(type(value) in _PLAIN for value in values):
        yield _encode(values)  # for speed
        return
    between = "["
    for value in values:
        yield between
        yield from _json(value)
        between = ", "
    yield "]" if between == ", " else "[]"


def _json_dict(value: dict[Any, Any]) -> Iterable[str]:
    if not all(type(key) is str for key in value):
        yield from _json_list([[key, value[key]] for key in value])  # pairs: dict(...) reads them, and no key is lost
        return
    between = "{"
    for key, entry in value.items():
        yield f"{between}{_encode(key)}: "
        yield from _json(entry)
        between = ", "
    yield "}" if between == ", " else "{}"


def _json_array(value: Any) -> Iterable[str]:
    kind, char = value.dtype.kind, value.dtype.char
    if kind in "biuf" and char != "g":
        yield _encode(value.tolist())
    elif value.ndim:
        yield from _json_list(value)
    else:
        yield from _json_list([value[name] for name in value.dtype.names])  # a structured value: its fields in order
