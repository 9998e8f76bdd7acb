"""Arrays that are in an arena from the start: `PythonJob.new_array`."""

from __future__ import annotations

import ctypes
import functools
import types
from collections import deque
from collections.abc import Collection
from typing import Any

from fission.core.new_arrays import NewMemory
from fission.protocol.shared_blocks import Descriptor

#: Stands among the readers of a slot for the array itself and its leases.
OWNER = -1


class ArrayMemory(NewMemory):
    """Memory of an array in an arena; the end of this object frees it.

    The object ends, in any thread, when no array and no lease of it is left.

    Attributes:
        descriptor: descriptor for reader 0.
        ended: the arena's list of ends.
    """

    descriptor: Descriptor
    ended: deque[tuple[int, int]]

    def shorten(self, length: int) -> None:
        """Use only so many bytes of it from now on; call it before the memory is lent."""
        self.length = length
        self.descriptor = self.descriptor._replace(length=length)

    def __del__(self) -> None:
        self.ended.append((self.descriptor.stamp, OWNER))


@functools.lru_cache(maxsize=1024)
def memory_type(size: int) -> Any:
    """Return the subclass of `ArrayMemory` for ``size`` bytes; slots have few sizes."""
    return types.new_class("_ArrayMemory", (ArrayMemory, ctypes.c_char * size))


class ArrayLease:
    """An array in an arena, lent to some readers.

    The attributes are those of `ArenaLease`.
    """

    __slots__ = ("_memory", "nbytes", "readers")
    handed_on = False

    def __init__(self, memory: ArrayMemory, readers: Collection[int]) -> None:
        self._memory = memory  # which the end of this object may free
        self.nbytes = memory.length
        self.readers = readers

    def pack(self, reader: int) -> bytes:
        """Return the encoded descriptor for one of its readers."""
        return self._memory.descriptor.pack(reader)

    def view(self) -> memoryview:
        """Return the producer's own view."""
        return memoryview(self._memory).cast("B")[: self.nbytes].toreadonly()  # type: ignore[arg-type]
