"""How the C library's allocator treats the memory that a process frees."""

from __future__ import annotations

import ctypes
import functools

# parameters of mallopt, from glibc's malloc.h
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3

#: Largest size in bytes that is taken from the heap. The largest that glibc accepts.
HEAP_BYTES = 32 << 20
#: Bytes that may be free at the end of the heap. Arbitrary: two of the largest arrays.
FREE_BYTES = 64 << 20


def keep_freed_memory() -> None:
    """Let this process use freed memory again, instead of returning it to the system at once.

    A job that makes and frees a large array in each compute block otherwise gets new pages for it
    again and again. Measured: they cost a third of the throughput of arrays of 1 MB. Without effect
    where the C library is not glibc.
    """
    mallopt = _mallopt()
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, HEAP_BYTES)
        mallopt(_TRIM_THRESHOLD, FREE_BYTES)


@functools.lru_cache(maxsize=1)
def _mallopt() -> ctypes._FuncPointer | None:
    try:
        return ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return None
