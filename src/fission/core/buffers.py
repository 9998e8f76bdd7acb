"""The content of buffers as bytes, without addresses."""

from __future__ import annotations

from pickle import PickleBuffer
from typing import Any

from fission.errors import ValueFitError


def bytes_of(taker: str, data: Any, size: int | str | None = None) -> bytes:
    """Return a copy of a buffer's elements in index order (C order), each with its bytes unchanged.

    Args:
        taker: name of the receiver of the bytes, for error messages.
        data: any bytes-like object, for example an array of any order.
        size: number of bytes that the receiver needs, for error messages; None: any.

    Raises:
        ValueFitError: it is not bytes-like, or it contains addresses.
    """
    wants = f"{taker} takes bytes" if size is None else f"{taker} takes bytes of length {size}"
    dtype = getattr(data, "dtype", None)
    if getattr(dtype, "hasobject", False):
        raise ValueFitError(f"{wants}, not an array of Python objects, whose memory has only addresses")
    if getattr(dtype, "kind", "") in ("M", "m") and hasattr(data, "tobytes"):
        return bytes(data.tobytes())  # 8 bytes per element; Python's buffer protocol has no format for them
    try:
        view = memoryview(data)
    except (TypeError, ValueError, BufferError) as why:
        detail = "" if isinstance(why, TypeError) else f": {why}"
        raise ValueFitError(f"{wants}, not {type(data).__name__}{detail}") from None
    if _has_addresses(view.format):
        raise ValueFitError(f"{wants}, not {type(data).__name__} of format {view.format!r}, which has addresses")
    return view.tobytes()


def contiguous(data: Any) -> memoryview | None:
    """Return the memory of a buffer if it is what `bytes_of` copies; otherwise None."""
    try:
        view = memoryview(data)
        if not view.c_contiguous or _has_addresses(view.format):
            return None
        return PickleBuffer(data).raw()
    except (TypeError, ValueError, BufferError):
        return None


def _has_addresses(format: str) -> bool:
    """Return whether a buffer's elements are, or contain, addresses (Python objects, C pointers and
    strings).
    """
    codes = "".join(format.split(":")[::2])  # names of fields are between colons
    for complex_number in ("Zf", "Zd", "Zg"):
        codes = codes.replace(complex_number, "")
    return any(code in codes for code in "OPzZ&X")
