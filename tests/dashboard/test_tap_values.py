"""Blocks as the page's server reads them: every kind of value, and nothing of the users' is run."""

from __future__ import annotations

import array
import collections
import dataclasses
import datetime
import decimal
import enum
import os
import pickle
import uuid
from pathlib import Path
from typing import Any

import numpy
import pytest

from fission.dashboard.tap_texts import LONGEST, kind_of, text_of
from fission.dashboard.tap_values import StandIn, read_value
from fission.protocol.joined import Joined, join
from fission.protocol.packed import Packed


def through(value: Any, *, buffers: bool = True) -> Any:
    """Return a value as the page reads it from the block of a PicklePipe, with its arrays beside the pickle or in it."""
    beside: list[Any] = []
    data = pickle.dumps(value, 5, buffer_callback=(lambda buffer: beside.append(buffer.raw())) if buffers else None)
    return read_value("pickle", [data, *beside] if beside else data)


@dataclasses.dataclass
class Plain:
    one: int = 1
    text: str = "<b>"


@dataclasses.dataclass
class Slots:
    __slots__ = ("one",)
    one: int


class Colour(enum.Enum):
    RED = 1


class OwnList(list):  # type: ignore[type-arg]
    pass


class OwnArray(numpy.ndarray):  # type: ignore[type-arg]
    pass


Named = collections.namedtuple("Named", "a b")

KINDS = "? b B h H i I q Q e f d g F D G".split()
ARRAYS = [
    *(numpy.array([0, 1, 1, 0, 1, 0]).astype(kind) for kind in KINDS),
    numpy.array([1, 2], ">i4"),
    numpy.array([numpy.nan, numpy.inf, -numpy.inf]),
    numpy.zeros(0),
    numpy.zeros((3, 0, 2)),
    numpy.array(2.5),
    numpy.arange(24).reshape(2, 3, 4),
    numpy.arange(16.0).reshape(4, 4)[:, ::2],
    numpy.asfortranarray(numpy.arange(6.0).reshape(2, 3)),
    numpy.array(["one", "three"]),
    numpy.array([b"one", b"three"]),
    numpy.array(["2026-01-01"], "M8[D]"),
    numpy.array([1, 2], "m8[25ms]"),
    numpy.array([(1, [2, 3])], [("a", "<i4"), ("b", "<f4", (2,))]),
    numpy.array([(1, "2026-01-01")], [("a", "<i4"), ("b", "M8[ns]")]),
]


@pytest.mark.parametrize("buffers", [True, False])
@pytest.mark.parametrize("value", ARRAYS, ids=lambda value: f"{value.dtype}{value.shape}")
def test_an_array_of_numpy_arrives_as_it_is(value: Any, buffers: bool) -> None:
    found = through(value, buffers=buffers)
    assert (found.dtype, found.shape) == (value.dtype, value.shape)
    assert str(found) == str(value)
    assert len(text_of(found)) <= LONGEST
    assert kind_of(found)


PLAIN = [
    None,
    True,
    3,
    -(2**70),
    2.5,
    float("nan"),
    1 + 2j,
    "text",
    b"bytes",
    [1, "two"],
    (),
    {"a": {"b": 1}},
    {1, 2},
    frozenset("a"),
    collections.OrderedDict(a=1),
    collections.deque([1]),
    datetime.datetime(2026, 1, 2),
    datetime.timedelta(1),
    decimal.Decimal("1.5"),
    uuid.UUID(int=5),
    array.array("h", [1, -2]),
]


@pytest.mark.parametrize("value", PLAIN, ids=repr)
def test_a_plain_value_arrives_as_it_is(value: Any) -> None:
    found = through(value)
    assert type(found) is type(value)
    assert repr(found) == repr(value)
    assert text_of(found) == repr(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Plain(), "test_tap_values.Plain {'one': 1, 'text': '<b>'}>"),
        (Slots(4), "test_tap_values.Slots {'one': 4}>"),
        (Colour.RED, "test_tap_values.Colour (1,)>"),
        (OwnList([1, 2]), "test_tap_values.OwnList [1, 2]>"),
        (Named(1, 2), "test_tap_values.Named (1, 2)>"),
        ({"a": [Plain()]}, "{'a': [<tests.dashboard.test_tap_values.Plain {'one': 1, 'text': '<b>'}>]}"),
        (range(3), "<builtins.range (0, 3, 1)>"),
    ],
)
def test_an_object_of_another_class_is_shown_without_its_class(value: Any, text: str) -> None:
    assert text_of(through(value)).endswith(text)


def test_nothing_that_a_block_names_is_run(tmp_path: Path) -> None:
    """With `pickle.loads` in the place of `read_value`, this test finds the file."""
    witness = tmp_path / "witness"

    class Evil:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(witness),)

    found = through([Evil()])
    assert isinstance(found[0], StandIn)
    assert "mkdir" in text_of(found)
    assert not witness.exists()


def test_a_block_cannot_change_what_reads_the_next_one() -> None:
    """A pickle that sets attributes of what it names: of a class, and of a function."""
    for module, name in (("datetime", "datetime"), ("uuid", "UUID"), ("numpy._core.numeric", "_frombuffer"), ("numpy", "dtype")):
        data = b"\x80\x04" + pickle.dumps(module, 4)[2:-1] + pickle.dumps(name, 4)[2:-1] + b"\x93N}\x8c\x0c__defaults__Ns\x86b."
        try:
            read_value("pickle", data)
        except Exception:
            continue
    for value in (uuid.UUID(int=1), datetime.datetime(2026, 1, 2)):
        assert through(value) == value
    assert through(numpy.arange(3)).tolist() == [0, 1, 2]


class Shuts:
    """An array as no numpy would write it."""

    def __init__(self, *state: Any) -> None:
        self.state = state

    def __reduce__(self) -> Any:
        from numpy._core.multiarray import _reconstruct

        return _reconstruct, (numpy.ndarray, (0,), b"b"), self.state


@pytest.mark.parametrize(
    "state",
    [
        (1, (1 << 40,), numpy.dtype("f8"), False, b"few bytes"),
        (1, (-1, -1), numpy.dtype("f8"), False, b"12345678"),
        (1, (1,), numpy.dtype("O"), False, b"12345678"),
        (1, ("a",), numpy.dtype("f8"), False, b"12345678"),
        (1,),
        (1, (1,), None, False, b""),
    ],
)
def test_a_malformed_array_is_an_error_and_nothing_else(state: Any) -> None:
    with pytest.raises(Exception):  # noqa: B017, PT011 - any kind is allowed, except one that no `except Exception` catches
        through(Shuts(*state))


def test_blocks_that_travel_together_are_read_one_by_one() -> None:
    joined = Joined(join([1, "two"]), 2)
    assert [read_value("pickle", block) for block in joined.blocks()] == [1, "two"]
    assert [read_value("bytes", block) for block in Packed(b"abcd", 2, 2).blocks()] == [b"ab", b"cd"]
    assert read_value("json", b'{"a": [1]}\n') == {"a": [1]}
    assert read_value("bytes", [b"", memoryview(b"abc")]) == b"abc"
    assert read_value("pickle", [b"", memoryview(pickle.dumps(5))]) == 5


def endless() -> Any:
    found: list[Any] = []
    found.append(found)
    return found


@pytest.mark.parametrize(
    "value",
    [
        "x" * 10**6,
        b"x" * 10**6,
        10**10000,
        list(range(10**5)),
        {"k" * 1000: "v" * 1000},
        numpy.zeros(10**6),
        numpy.array(["x" * 10**5]),
        endless(),
    ],
    ids=["str", "bytes", "int", "list", "dict", "array", "array of text", "cyclic"],
)
def test_texts_are_short(value: Any) -> None:
    assert len(text_of(through(value))) <= LONGEST


def test_a_value_that_fails_when_it_is_shown_is_said_to() -> None:
    class Fails:
        def __repr__(self) -> str:
            raise SystemError

    assert "cannot be shown" in text_of(Fails()) or "instance at" in text_of(Fails())
