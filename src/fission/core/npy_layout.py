"""The bytes of .npy files that grow: a header of fixed length for any number of items, then the
items.
"""

from __future__ import annotations

import ast
import struct
from dataclasses import dataclass
from typing import Any

from fission.errors import DefinitionError, ValueFitError

_MAGIC = b"\x93NUMPY\x01\x00"
_LENGTH = struct.Struct("<H")
_DIGITS = 20  # space for the number of items


@dataclass(frozen=True, slots=True)
class NpyLayout:
    """The description of the items in a .npy file.

    Attributes:
        descr: the dtype in numpy's notation.
        shape: shape of one item.
        item_bytes: size of one item in bytes.
    """

    descr: Any
    shape: tuple[int, ...]
    item_bytes: int

    @classmethod
    def of(cls, job: str, block: Any, *, concatenate: bool) -> NpyLayout:
        """Return the layout of a file whose first block is this one.

        Raises:
            ValueFitError: the block cannot be an item.
        """
        import numpy

        array = numpy.asarray(block)
        if array.dtype.hasobject:
            raise ValueFitError(
                f"{job}: arrays of Python objects cannot be written to a .npy file that grows; use numbers, or a CSVSinkJob"
            )
        if concatenate and not array.ndim:
            raise ValueFitError(f"{job}: a block must have a first axis, along which blocks are joined, but is a single number")
        shape = array.shape[1:] if concatenate else array.shape
        count = 1
        for length in shape:
            count *= length
        return cls(numpy.lib.format.dtype_to_descr(array.dtype), shape, count * array.dtype.itemsize)

    @classmethod
    def read(cls, job: str, path: str, start: bytes) -> NpyLayout:
        """Return the layout of a file that starts with these bytes.

        Raises:
            DefinitionError: `header` has not written the start of this file.
        """
        import numpy

        try:
            entry = _entry(start)
            shape, descr = entry["shape"], entry["descr"]
            dtype = numpy.lib.format.descr_to_dtype(descr)
            item = numpy.dtype((dtype, shape[1:])) if shape[1:] else dtype
            layout = cls(descr, tuple(shape[1:]), item.itemsize)
            fits = not entry["fortran_order"] and len(layout.header(0)) == len(_MAGIC) + 2 + _LENGTH.unpack_from(start, len(_MAGIC))[0]
        except (ValueError, KeyError, TypeError, IndexError, SyntaxError, struct.error):
            fits = False
        if not fits:
            raise DefinitionError(f"{job}: {path} exists, and must be a .npy file of a NpySinkJob, but is not; move it away")
        return layout

    def header(self, size: int) -> bytes:
        """Return the header of a file of this size in bytes, header included; a smaller size counts
        as one header.
        """
        start_bytes = len(self._header(0))
        return self._header(max(size - start_bytes, 0) // max(self.item_bytes, 1))

    def _header(self, items: int) -> bytes:
        shape = f"({items}, {', '.join(map(str, self.shape))})" if self.shape else f"({items},)"
        text = f"{{'descr': {self.descr!r}, 'fortran_order': False, 'shape': {shape}, }}"
        room = len(text) - len(str(items)) + _DIGITS
        begin = len(_MAGIC) + _LENGTH.size
        length = (begin + room + 1 + 63) // 64 * 64 - begin
        return _MAGIC + _LENGTH.pack(length) + text.encode("latin-1").ljust(length - 1) + b"\n"

    def length_in(self, start: bytes) -> int:
        """Return the number of items in the header of a file."""
        return int(_entry(start)["shape"][0])

    def size_of(self, items: int) -> int:
        """Return the size in bytes of a file with this number of items."""
        return len(self._header(0)) + items * self.item_bytes

    def encode(self, job: str, block: Any, *, concatenate: bool) -> bytes:
        """Return the bytes of a block.

        Raises:
            ValueFitError: its dtype or shape differs from the first one's.
        """
        import numpy

        array = numpy.asarray(block)
        shape = array.shape[1:] if concatenate else array.shape
        descr = numpy.lib.format.dtype_to_descr(array.dtype)
        if shape != self.shape or descr != self.descr or (concatenate and not array.ndim):
            raise ValueFitError(
                f"{job}: a block must have the dtype {self.descr!r} and the shape {self.shape} of the first one, but has "
                f"{descr!r} and {shape}"
            )
        return bytes(array.tobytes())


def _entry(start: bytes) -> dict[str, Any]:
    if not start.startswith(_MAGIC):
        raise ValueError("not a .npy file of version 1")
    begin = len(_MAGIC) + _LENGTH.size
    entry = ast.literal_eval(start[begin : begin + _LENGTH.unpack_from(start, len(_MAGIC))[0]].decode("latin-1"))
    if not isinstance(entry, dict):
        raise ValueError("its header is not a dict")
    return entry
