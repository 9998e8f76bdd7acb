"""Rebuilds the arrays of numpy that a pickle contains from their bytes, without numpy's own functions
for pickles: these trust what they get. No I/O.

numpy is imported when the first array comes. Without it, reading an array raises `ImportError`.
"""

from __future__ import annotations

from typing import Any

#: Fields and nested fields of a structured type that are looked at; arbitrary.
MOST_FIELDS = 1000


class TypeInParts:
    """A `numpy.dtype` as its pickle describes it."""

    def __init__(self, text: str, *_: Any) -> None:
        self._text = text
        self._state: tuple[Any, ...] = (3, "=", None, None, None, -1, -1, 0)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self._state = state

    def dtype(self) -> Any:
        """Return it.

        Raises:
            Exception: any: it is not one.
        """
        import numpy

        _, order, inner, names, fields, size, *_ = self._state
        if inner is not None:
            return numpy.dtype((inner[0].dtype(), tuple(inner[1])))
        if names is not None:
            if len(names) > MOST_FIELDS:
                raise ValueError(f"a structured type has {len(names)} fields")
            formats, offsets = [fields[name][0].dtype() for name in names], [fields[name][1] for name in names]
            return numpy.dtype({"names": list(names), "formats": formats, "offsets": offsets, "itemsize": size})
        found = numpy.dtype(str(self._text))
        if found.kind in "mM" and len(self._state) > 8:
            unit, number, *_ = self._state[8][1]
            found = numpy.dtype(f"{found.kind}8[{number}{unit.decode('ascii')}]")
        return found.newbyteorder(order) if order in ("<", ">") else found


class ArrayInParts:
    """A `numpy.ndarray` as its pickle describes it.

    Attributes:
        array: the array; empty until its state has come.
    """

    def __init__(self, *_: Any) -> None:
        self.array: Any = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        *_, shape, kind, by_columns, content = state
        if isinstance(content, list):
            self.array = _of_objects(content, shape)
        else:
            self.array = _of_bytes(content, kind, shape, "F" if by_columns else "C")

    def __repr__(self) -> str:
        return repr(self.array)


def _of_bytes(content: Any, kind: TypeInParts, shape: Any, order: str = "C") -> Any:
    import numpy

    dtype = kind.dtype()
    if dtype.hasobject:
        raise ValueError("bytes are no objects")
    if not dtype.itemsize:
        return numpy.zeros(0, dtype)
    return numpy.frombuffer(content, dtype).reshape(shape, order=order)  # type: ignore[call-overload]


def _of_objects(content: list[Any], shape: Any) -> Any:
    import numpy

    found = numpy.empty(len(content), object)
    found[:] = content
    return found.reshape(shape)


def _scalar(kind: TypeInParts, content: Any) -> Any:
    found = _of_bytes(content, kind, (1,))[0] if isinstance(content, (bytes, bytearray, memoryview)) else content
    return found


#: What stands for numpy's classes and functions in pickles, by module and name.
MAKERS: dict[tuple[str, str], Any] = {
    ("numpy", "dtype"): TypeInParts,
    ("numpy", "ndarray"): ArrayInParts,
    ("numpy._core.multiarray", "_reconstruct"): ArrayInParts,
    ("numpy._core.numeric", "_frombuffer"): _of_bytes,
    ("numpy._core.multiarray", "scalar"): _scalar,
}
