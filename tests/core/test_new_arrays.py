"""`new_array` without a network: what it makes, and what becomes of an array that a job has returned."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from fission.core import new_arrays
from fission.core.base import collecting
from fission.core.jobs import PythonJob
from fission.errors import DefinitionError

DTYPES: list[Any] = ["f8", "f4", "f2", "i8", ">i4", "u1", "?", "c16", "S5", "U3", "V7", [("a", "i4"), ("b", "f8", (2,))]]
ORDINARY: list[Any] = ["O", "M8[s]", "m8[us]", [("a", "i4"), ("b", "O")], [("a", "M8[D]")], "(2,)f8"]


@pytest.fixture(autouse=True)
def _registry() -> Iterator[None]:
    with collecting():
        yield


def make(shape: Any = (100, 10), dtype: Any = float) -> Any:
    return PythonJob().new_array(shape, dtype)


def returned(value: Any) -> list[new_arrays.NewMemory | None]:
    """Pickle a value as a pipe does; return what `give_away` answers for each of its buffers."""
    found: list[new_arrays.NewMemory | None] = []

    def see(buffer: pickle.PickleBuffer) -> bool:
        found.append(new_arrays.give_away(buffer.raw()))
        return False

    pickle.dumps(value, 5, buffer_callback=see)
    return found


@pytest.mark.parametrize("dtype", [*DTYPES, *ORDINARY], ids=str)
@pytest.mark.parametrize("shape", [(), 0, 7, (3, 0), (2, 3, 4), [5], np.int64(4)], ids=str)
def test_it_makes_what_numpy_makes(shape: Any, dtype: Any) -> None:
    array, expected = make(shape, dtype), np.empty(shape, dtype)
    assert type(array) is np.ndarray
    assert (array.shape, array.dtype, array.strides) == (expected.shape, expected.dtype, expected.strides)
    assert array.flags.writeable
    assert array.flags.aligned
    assert array.flags.c_contiguous


@pytest.mark.parametrize(
    ("shape", "dtype", "error"),
    [
        (-1, float, ValueError),
        ((2, -3), float, ValueError),
        ((-2, -3), float, ValueError),
        ((1 << 40, 1 << 40), float, ValueError),
        ("ab", float, TypeError),
        (1.5, float, TypeError),
        (None, float, TypeError),
        (3, "no dtype", TypeError),
    ],
)
def test_it_refuses_what_numpy_refuses(shape: Any, dtype: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        make(shape, dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_returned_array_is_read_only(dtype: Any) -> None:
    array = make(4, dtype)
    assert returned(array)[0] is not None
    with pytest.raises(ValueError, match="read-only"):
        array[0] = array[1]
    with pytest.raises(ValueError, match="read-only"):
        array.base[0] = 0
    assert not array[1:].flags.writeable


@pytest.mark.parametrize("dtype", [*ORDINARY, np.dtype("f8")], ids=str)
def test_what_no_memory_is_given_away_of_stays_writeable(dtype: Any) -> None:
    array = make(0 if dtype == np.dtype("f8") else 4, dtype)
    assert not any(returned(array))
    assert array.flags.writeable


@pytest.mark.parametrize(
    "inside", [lambda a: (a,), lambda a: [1, a], lambda a: {"x": [a]}, lambda a: [a, a], lambda a: a.reshape(-1), lambda a: a.view("u1")]
)
def test_it_is_found_inside_of_a_value(inside: Callable[[Any], Any]) -> None:
    found = returned(inside(make()))
    assert len(found) == 1
    assert found[0] is not None


@pytest.mark.parametrize(
    "part", [lambda a: a[1:], lambda a: a[:, :5], lambda a: a[::2], lambda a: a[0], lambda a: a.copy(), lambda a: a + 1]
)
def test_parts_and_copies_leave_it_writeable(part: Callable[[Any], Any]) -> None:
    array = make()
    value = part(array)
    assert not any(returned(value))
    assert array.flags.writeable
    assert value.flags.writeable


@pytest.mark.parametrize(
    "view", [lambda a: a[1:], lambda a: a.T, lambda a: a.reshape(-1), lambda a: a[::2], lambda a: a[...], lambda a: a.view("i8")]
)
def test_memory_that_can_still_be_written_to_is_not_given_away(view: Callable[[Any], Any]) -> None:
    array = make()
    kept = view(array)
    assert returned(array) == [None]
    assert not array.flags.writeable
    assert kept.flags.writeable
    del kept
    assert returned(array) != [None]


def test_a_view_made_after_the_return_does_no_harm() -> None:
    array = make()
    first = returned(array)
    kept = array[1:]
    assert not kept.flags.writeable
    assert returned(array) == first != [None]


def test_a_transposed_array_is_copied() -> None:
    array = make()
    assert returned(array.T) == [None]


def test_other_buffers_are_left_alone() -> None:
    owner = np.arange(10)
    for value in (owner, owner[2:], np.frombuffer(bytes(80)), np.zeros((3, 3)).T):
        writeable = value.flags.writeable
        assert returned(value) == [None]
        assert value.flags.writeable is writeable
    assert new_arrays.give_away(memoryview(b"bytes")) is None


def test_without_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "numpy", None)
    with pytest.raises(DefinitionError, match="PythonJob 1: new_array needs numpy, which is not installed; install it: pip install numpy"):
        make()
