"""The head of a block: one to four bytes of flags that travel with it.

Bit 0 is the most significant one. Three bits have a fixed meaning: 0 corrupted, 1 reset, 2
finished.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator
from typing import Any, Literal, SupportsIndex, overload

__all__ = ["Head", "bit_mask"]

CORRUPTED = 0
RESET = 1
FINISHED = 2

MAX_SIZE = 4  # bytes; the limit in the published documents


def bit_mask(bit: int, size: int) -> int:
    """Return the value of a head of *size* bytes in which only this bit is set."""
    return 1 << (8 * size - 1 - bit)


class Head:
    """The flags of one block, as bits that can be read, combined and set.

    Its text is ``HEAD: `` and the bits.

    ``head[2]`` is a bool, ``head[0:3]`` a Head of the same size that contains the three bits as a
    number, ``len(head)`` the size in bytes. ``& | ^`` take a Head or an int, ``<< >>`` an int; the
    results have the same size, and bits that are shifted out are lost. Two Heads of different sizes
    are aligned at bit 0, as `head_size` does. Equal to a Head of the same size and bits, to an int
    of the same value and to its own bytes. Mutable, so not hashable.

    Args:
        value: the bits as a number (the last bit counts 1), or as bytes. Synonym: `head`.
        size: bytes, 1 to 4. Default: 1 for a number, the length for bytes. Synonym: `head_length`.

    Raises:
        TypeError: `value` is neither int nor bytes.
        ValueError: `size` is out of range, or `value` does not fit into it.
    """

    __slots__ = ("_size", "_value")
    __hash__ = None  # type: ignore[assignment]
    __reversed__ = None  # len() counts bytes and indexes count bits, so the default would be wrong

    def __init__(
        self, value: int | bytes | None = None, size: int | None = None, *, head: int | bytes | None = None, head_length: int | None = None
    ) -> None:
        value, size = head if value is None else value, head_length if size is None else size
        if isinstance(value, (bytes, bytearray, memoryview)):
            size = len(value) if size is None else size
            if len(value) != size:
                raise ValueError(f"a Head of {size} bytes cannot be made from {len(value)} bytes")
            value = int.from_bytes(value, "big")
        elif not isinstance(value, int):
            raise TypeError(f"a Head is made from an int or bytes, not from {type(value).__name__}")
        size = 1 if size is None else size
        if size not in range(1, MAX_SIZE + 1):
            raise ValueError(f"a Head has 1 to {MAX_SIZE} bytes, not {size!r}")
        if not 0 <= value < 1 << 8 * size:
            raise ValueError(f"{value} does not fit into a Head of {size} bytes")
        self._value = int(value)
        self._size = size

    # -- reading

    def __len__(self) -> int:
        return self._size

    def __int__(self) -> int:
        return self._value

    def __bool__(self) -> bool:
        return self._value != 0

    def __iter__(self) -> Iterator[bool]:
        return (self[index] for index in range(8 * self._size))

    def __str__(self) -> str:
        return f"HEAD: {self._value:0{8 * self._size}b}"

    @property
    def head(self) -> int:
        """The bits as a number."""
        return self._value

    @property
    def bit_conversion(self) -> list[int]:
        """The bits, each 0 or 1, bit 0 first."""
        return [self._value >> shift & 1 for shift in reversed(range(8 * self._size))]

    def to_bytes(self, length: int | None = None, byteorder: Literal["big", "little"] = "big", *, signed: bool = False) -> bytes:
        """Return the head as it travels: `len(head)` bytes, bit 0 first; with arguments, as
        `int.to_bytes`.

        Raises:
            OverflowError: the bits do not fit into `length` bytes.
        """
        return self._value.to_bytes(self._size if length is None else length, byteorder, signed=signed)

    @staticmethod
    def int_bytes(value: int, length: int) -> list[int]:
        """Return the last `length` bytes of a number, each from 0 to 255, the most significant one
        first.
        """
        return [value >> 8 * place & 0xFF for place in reversed(range(length))]

    @staticmethod
    def bytes_int(bytes: Iterable[int]) -> int:
        """Return the number that bytes represent, the most significant one first."""
        number = 0
        for byte in bytes:
            number = number << 8 | int(byte)
        return number

    @overload
    def __getitem__(self, key: SupportsIndex) -> bool: ...
    @overload
    def __getitem__(self, key: slice) -> Head: ...
    def __getitem__(self, key: SupportsIndex | slice) -> bool | Head:
        if isinstance(key, slice):
            number = 0
            for index in range(*key.indices(8 * self._size)):
                number = number << 1 | (self._value >> self._shift(index) & 1)
            return Head(number, self._size)
        return bool(self._value >> self._shift(key) & 1)

    def __setitem__(self, key: SupportsIndex | slice, value: bool | int) -> None:
        """Set one bit.

        Raises:
            ValueError: `value` is not True, False, 1 or 0, or would set bit 1, which is reserved.
            IndexError: the head has no such bit.
            TypeError: `key` is a slice; set the bits one by one.
        """
        if isinstance(key, slice):
            raise TypeError("a slice of a Head cannot be set; set its bits one by one")
        shift = self._shift(key)
        if value not in (0, 1):
            raise ValueError(f"a bit is set to True or False, not to {value!r}")
        if value and 1 << shift == bit_mask(RESET, self._size):
            raise ValueError("bit 1 of a Head (reset) is reserved for FISSION and cannot be set")
        self._value = self._value & ~(1 << shift) | int(bool(value)) << shift

    def _shift(self, key: Any) -> int:
        if not hasattr(key, "__index__"):
            raise TypeError(f"a bit of a Head is named by an int, not by {type(key).__name__}")
        index, bits = operator.index(key), 8 * self._size
        if not -bits <= index < bits:
            raise IndexError(f"a Head of {self._size} bytes has the bits 0 to {bits - 1}, not {index}")
        return bits - 1 - index % bits

    # -- size

    @property
    def head_size(self) -> int:
        """Size in bytes.

        Assigning +n appends n zero bytes (up to 4 bytes in all), -n removes the last n bytes (at
        least one remains): an assignment is a step, not the new size.
        """
        return self._size

    @head_size.setter
    def head_size(self, step: int) -> None:
        if not isinstance(step, int):
            raise TypeError(f"head_size takes a number of bytes to add (or, below 0, to remove), not {type(step).__name__}")
        size = min(max(self._size + step, 1), MAX_SIZE)
        self._value = _aligned(self._value, self._size, size)
        self._size = size

    # -- combining

    def _operands(self, other: object) -> tuple[int, int, int] | None:
        """Return both aligned values and the result's size; None if they cannot be combined."""
        if isinstance(other, Head):
            size = max(self._size, other._size)
            return _aligned(self._value, self._size, size), _aligned(other._value, other._size, size), size
        if isinstance(other, int):
            return self._value, other & self._mask, self._size
        return None

    @property
    def _mask(self) -> int:
        return (1 << 8 * self._size) - 1

    def __and__(self, other: Head | int) -> Head:
        operands = self._operands(other)
        return NotImplemented if operands is None else Head(operands[0] & operands[1], operands[2])

    def __or__(self, other: Head | int) -> Head:
        operands = self._operands(other)
        return NotImplemented if operands is None else Head(operands[0] | operands[1], operands[2])

    def __xor__(self, other: Head | int) -> Head:
        operands = self._operands(other)
        return NotImplemented if operands is None else Head(operands[0] ^ operands[1], operands[2])

    __rand__ = __and__
    __ror__ = __or__
    __rxor__ = __xor__

    def __lshift__(self, places: int) -> Head:
        if not isinstance(places, int):
            return NotImplemented
        # a huge shift would first build a huge number
        return Head(self._value << min(places, 8 * self._size) & self._mask, self._size)

    def __rshift__(self, places: int) -> Head:
        if not isinstance(places, int):
            return NotImplemented
        return Head(self._value >> places, self._size)

    def __invert__(self) -> Head:
        return Head(~self._value & self._mask, self._size)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Head):
            return self._size == other._size and self._value == other._value
        if isinstance(other, int):
            return self._value == other
        if isinstance(other, bytes):
            return self.to_bytes() == other
        return NotImplemented

    def __repr__(self) -> str:
        return f"Head(0b{self._value:0{8 * self._size}b}, {self._size})"


def _aligned(value: int, size: int, new_size: int) -> int:
    """Return `value` of `size` bytes in `new_size` bytes; bit 0 stays bit 0."""
    step = 8 * (new_size - size)
    return value << step if step >= 0 else value >> -step
