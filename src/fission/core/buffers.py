"""Buffers as bytes: what they contain, never where it lies."""

from __future__ import annotations

from typing import Any

from fission.errors import ValueFitError


def bytes_of(taker: str, data: Any, size: int | str | None = None) -> bytes:
    """Return a copy of the elements of a buffer in the order of their indexes (C order), each with its bytes as they are.

    Args:
        taker: of the bytes; what error texts call it.
        data: anything bytes-like, an array of any order for example.
        size: that the taker wants, for error texts; None: any.

    Raises:
        ValueFitError: it is not bytes-like, or it contains addresses.
    """
    wants = f"{taker} takes bytes" if size is None else f"{taker} takes bytes of length {size}"
    dtype = getattr(data, "dtype", None)
    if getattr(dtype, "hasobject", False):
        raise ValueFitError(f"{wants}, not an array of Python objects, whose memory has only addresses")
    if getattr(dtype, "kind", "") in ("M", "m") and hasattr(data, "tobytes"):
        return bytes(data.tobytes())  # 8 bytes an element, for which Python's buffers have no format
    try:
        view = memoryview(data)
    except (TypeError, ValueError, BufferError) as why:
        detail = "" if isinstance(why, TypeError) else f": {why}"
        raise ValueFitError(f"{wants}, not {type(data).__name__}{detail}") from None
    if _has_addresses(view.format):
        raise ValueFitError(f"{wants}, not {type(data).__name__} of format {view.format!r}, which has addresses")
    return view.tobytes()


def _has_addresses(format: str) -> bool:
    """Whether the elements of a buffer are, or contain, addresses of this process (Python objects, C pointers and strings)."""
    codes = "".join(format.split(":")[::2])  # the names of fields stand between colons
    for complex_number in ("Zf", "Zd", "Zg"):
        codes = codes.replace(complex_number, "")
    return any(code in codes for code in "OPzZ&X")
