"""Arrays whose memory a job gives away when it returns them: see `PythonJob.new_array`.

    array    what the job gets; reshaped arrays and views of it lie on the same memory
    root     array of bytes over the whole memory, which only other arrays refer to
    memory   a `NewMemory`, the owner of the memory

numpy makes each array on the memory refer directly to the root, so the root's reference count says
how many there are.
"""

from __future__ import annotations

import functools
import math
import operator
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy


class NewMemory:
    """Memory of one array.

    Attributes:
        length: number of bytes in use.
    """

    length: int

    def shorten(self, length: int) -> None:
        """Use only so many bytes of it from now on; call it before the memory is lent."""
        self.length = length


class PrivateMemory(NewMemory):
    """Memory of an array that the process does not share, because it cannot or need not."""

    def __init__(self, length: int) -> None:
        """Allocate.

        Args:
            length: number of bytes.
        """
        import numpy

        self.length = length
        self._bytes = numpy.empty(length, numpy.uint8)
        self.__array_interface__ = self._bytes.__array_interface__


def make(shape: int | Sequence[int], dtype: Any, allocate: Callable[[int], Any]) -> numpy.ndarray[Any, Any]:
    """Return an array with memory of its own, uninitialised.

    Args:
        shape: number of elements in each dimension.
        dtype: type of the elements, as for `numpy.empty`.
        allocate: function that returns a `NewMemory` with the buffer protocol for a number of bytes,
            or None.

    Raises:
        TypeError: the shape or the dtype is invalid.
        ValueError: the shape has a negative number, or is too large.
    """
    import numpy

    kind = numpy.dtype(dtype)
    sizes = (operator.index(shape),) if hasattr(shape, "__index__") else tuple(map(operator.index, shape))
    length = math.prod(sizes) * kind.itemsize
    if length <= 0 or min(sizes, default=0) < 0 or not _is_bytes(kind):
        return numpy.empty(sizes, kind)
    memory = allocate(length)
    root: Any = numpy.asarray(PrivateMemory(length)) if memory is None else numpy.ndarray(length, numpy.uint8, buffer=memory)
    return numpy.ndarray(sizes, kind, buffer=root)


@functools.lru_cache(maxsize=64)
def _is_bytes(kind: Any) -> bool:
    """Return whether the buffer protocol shows elements of a dtype, and they contain no addresses."""
    import numpy

    if kind.hasobject or kind.subdtype is not None:
        return False
    try:
        memoryview(numpy.empty(1, kind).data)
    except (ValueError, BufferError):
        return False
    return True


def give_away(buffer: memoryview) -> NewMemory | None:
    """Make an array that a job has returned read-only; return its memory if the job cannot change it.

    The result is None, and the buffer must be copied, if it is not the whole of an array of `make`,
    or if there are other arrays on the memory, through which the job could change it.

    Args:
        buffer: contiguous memory of a value that the job has returned.
    """
    array: Any = buffer.obj
    root = _root(array)
    if root is None or root.base.length != buffer.nbytes:
        return None
    if array.flags.writeable:
        array.flags.writeable = False
    if root.flags.writeable:
        if _references(root) > _alone():
            return None
        root.flags.writeable = False  # from now on, no array on the memory can become writeable unnoticed
    memory: NewMemory = root.base
    return memory


def _root(array: Any) -> Any:
    numpy = sys.modules.get("numpy")
    if numpy is None or type(array) is not numpy.ndarray:
        return None
    root = array.base
    return root if type(root) is numpy.ndarray and isinstance(root.base, NewMemory) else None


def _references(root: Any) -> int:
    return sys.getrefcount(root)


@functools.lru_cache(maxsize=1)
def _alone() -> int:
    """Return what `give_away` counts for a root with one array on it; depends on the Python."""
    array = make(1, "u1", lambda _: None)
    root = _root(array)
    return _references(root)
