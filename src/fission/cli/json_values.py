"""Values of blocks as JSON, for ``--json`` of the commands that show blocks."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from typing import Any


def as_json_value(value: Any) -> Any:
    """Return a value in the types that `json.dumps` writes, without loss.

    Arrays, tuples and sets become lists, numpy scalars numbers, bytes ``{"base64": text}``, complex
    numbers ``{"real": x, "imag": y}``, and NaN and infinities the texts "nan", "inf" and "-inf".
    Dict keys that are not text become their repr, and so do values of all other types.
    """
    try:
        return _converted(value)
    except RecursionError:  # nested too deeply, or cyclic
        return repr(value)


def _converted(value: Any) -> Any:
    if value is None or (isinstance(value, (bool, int)) and type(value) in (bool, int)):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, complex):
        return {"real": _converted(value.real), "imag": _converted(value.imag)}
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"base64": base64.b64encode(value).decode("ascii")}
    if isinstance(value, Mapping):
        return {key if isinstance(key, str) else repr(key): _converted(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_converted(entry) for entry in value]
    plain = _without_numpy(value)
    return repr(value) if plain is value else _converted(plain)


def _without_numpy(value: Any) -> Any:
    """Return lists and numbers for a numpy array or scalar, other values unchanged.

    Does not import numpy.
    """
    import sys

    numpy = sys.modules.get("numpy")
    if numpy is None or not isinstance(value, (numpy.ndarray, numpy.generic)):
        return value
    if value.dtype.kind in "mM":  # dates and durations: as text, since integers would lose the unit
        return value.astype(str).tolist()
    plain = value.tolist()
    # long double has no Python equivalent: its text keeps all digits
    return str(value) if plain is value or type(plain) is type(value) else plain
