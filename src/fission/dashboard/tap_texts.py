"""Values of blocks as short texts. No I/O; text is never cut later, so its length is bounded here."""

from __future__ import annotations

import reprlib
import sys
from typing import Any

from fission.dashboard.tap_arrays import ArrayInParts
from fission.dashboard.tap_values import StandIn

#: Longest text of a value, in characters; arbitrary: a few lines.
LONGEST = 500


class _Short(reprlib.Repr):
    """`repr` of a value, cut at every depth. The names of the methods are those of the classes."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 4
        self.maxdict = self.maxlist = self.maxtuple = self.maxset = self.maxfrozenset = self.maxdeque = self.maxarray = 12
        self.maxstring = self.maxlong = self.maxother = 200

    def repr_bytes(self, value: Any, level: int) -> str:
        """Return the first bytes and the number of all."""
        shown = repr(bytes(value[: self.maxother // 4]))
        return shown if len(value) * 4 <= self.maxother else f"{shown}... ({len(value)} bytes)"

    repr_bytearray = repr_bytes

    def repr_int(self, value: int, level: int) -> str:
        """Return the number; how large it is if it has thousands of digits."""
        return super().repr_int(value, level) if value.bit_length() < 4096 else f"an int of {value.bit_length()} bits"

    def repr_ndarray(self, value: Any, level: int) -> str:
        """Return the first and last elements."""
        import numpy

        if value.dtype.hasobject or value.dtype.kind in "SUV":  # its elements may be long, or anything
            shown = [self.repr1(one, level - 1) for one in value.ravel()[:4].tolist()]
            return f"[{', '.join(shown)}{', ...' if value.size > 4 else ''}]"
        return str(numpy.array2string(value, threshold=8, edgeitems=3, separator=", ", max_line_width=10**6))

    def repr_ArrayInParts(self, value: ArrayInParts, level: int) -> str:
        """Return the first and last elements."""
        return self.repr1(value.array, level)

    def repr_StandIn(self, value: StandIn, level: int) -> str:
        """Return the name of the class, and what is known of the object."""
        if level <= 0 or value.content is None:
            return f"<{value.named}>"
        return f"<{value.named} {self.repr1(value.content, level - 1)}>"


def text_of(value: Any) -> str:
    """Return a value as text of at most `LONGEST` characters."""
    try:
        text = _Short().repr(value)
    except Exception as why:  # what cannot be shown must not end the view of all others
        text = f"<{kind_of(value)} that cannot be shown: {type(why).__name__}>"
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def kind_of(value: Any) -> str:
    """Return what a value is, in a few words: "float32 array of 512"."""
    if isinstance(value, StandIn):
        return value.named[:LONGEST]
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.ndarray):
        shape = " x ".join(map(str, value.shape)) if value.ndim else "no dimensions"
        name = str(value.dtype) if value.dtype.names is None else f"structured ({', '.join(value.dtype.names)})"
        return f"{name[:100]} array of {shape}"
    name = type(value).__name__
    return f"{name} of {len(value)}" if isinstance(value, (str, bytes, bytearray, list, tuple, dict, set, frozenset)) else name
