"""The blocks that replace lost ones."""

from __future__ import annotations

from typing import Any

from fission.core.pipes import BasePipe, ReadJSONMixIn, ReadPickleMixIn


def fixed_size(pipe: BasePipe) -> int | None:
    """Return the bytes of each block of the pipe; None where blocks have no fixed length, whatever
    BLOCK_SIZE says.
    """
    size = pipe.BLOCK_SIZE
    return size if isinstance(size, int) and type(pipe).read not in (ReadPickleMixIn.read, ReadJSONMixIn.read) else None


def dummy_fault(pipe: BasePipe, payload: Any) -> str:
    """Return the fault of the result of the pipe's `get_dummy`; empty if there is none."""
    if not isinstance(payload, (bytes, bytearray)):
        return f"get_dummy must return bytes, but returned {type(payload).__name__}"
    size = fixed_size(pipe)
    if size is not None and len(payload) != size:
        return f"get_dummy must return {size} bytes (BLOCK_SIZE), but returned {len(payload)}"
    return ""
