"""Values of every kind, converted to text and bytes: exact, or refused with a reason."""

from __future__ import annotations

import ast
import ctypes
import datetime
import decimal
import json
import math
from array import array
from collections import namedtuple
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fission.core.pipes import BytesPipe, JSONPipe, PicklePipe
from fission.core.registry import reset
from fission.core.values_as_text import as_text
from fission.errors import ValueFitError
from fission.runtime import codec

np = pytest.importorskip("numpy")

Point = namedtuple("Point", "x y")


@dataclass
class Sample:
    level: float
    values: Any


# -- text -----------------------------------------------------------------------------------------------------------------

SCALARS = [
    *(np.dtype(kind).type(value) for kind in ("f2", "f4", "f8", "g") for value in ("0.1", "-1e-7", "3", "nan", "inf", "-inf", "6e4")),
    *(np.dtype(kind).type(value) for kind in ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8") for value in (0, 1, 127)),
    np.int64(-(2**63)),
    np.uint64(2**64 - 1),
    np.float32(1 / 3),
    np.float64(1 / 3),
    np.longdouble(1) / 3,
    np.nextafter(np.longdouble(1), np.longdouble(2)),
    0.1,
    1 / 3,
    5e-324,
    1.7976931348623157e308,
    0,
    -(10**40),
    10**5000,
]


@pytest.mark.parametrize("value", SCALARS, ids=lambda value: f"{type(value).__name__} {as_text(value)[:12]}")
def test_a_number_as_text_is_exact(value: Any) -> None:
    kind = type(value)
    text = as_text(value)
    back = int(text, 0) if isinstance(value, (int, np.integer)) else kind(text)
    assert kind(back) == value or (math.isnan(value) and math.isnan(back)), text


@pytest.mark.parametrize("kind", [complex, np.complex64, np.complex128, np.clongdouble])
def test_a_complex_number_as_text_is_exact(kind: Any) -> None:
    value = kind(1 / 3 - 1e-9j)
    assert kind(complex(as_text(value))) == value


LITERALS = [
    None,
    True,
    False,
    np.True_,
    np.False_,
    b"",
    b"a\x00\xff'\"\n",
    bytearray(b"xy"),
    memoryview(b"xy"),
    np.bytes_(b"z\xff"),
    np.void(b"ab"),
]


@pytest.mark.parametrize("value", LITERALS, ids=lambda value: f"{type(value).__name__} {as_text(value)[:20]}")
def test_a_literal_as_text_is_read_back(value: Any) -> None:
    back = ast.literal_eval(as_text(value))
    assert back == (bytes(value) if isinstance(value, np.void) else value)


@pytest.mark.parametrize("text", ["", "a", "ä€😀", "\udc80", "\ud800x", "a\0b", "l\nm\r\n", '"', ",;\t", " x ", "1", "None"])
def test_text_is_itself(text: str) -> None:
    assert as_text(text) == as_text(np.str_(text)) == text
    assert ast.literal_eval(as_text([text])) == [text]


@pytest.mark.parametrize("unit", ["Y", "M", "W", "D", "h", "m", "s", "ms", "us", "ns", "ps", "fs", "as", "25s", "generic"])
def test_times_as_text_are_read_back(unit: str) -> None:
    for count in (-3, 0, 12345):
        duration = np.timedelta64(count) if unit == "generic" else np.timedelta64(count, unit)
        number, read_unit = as_text(duration).split()
        assert np.timedelta64(int(number), read_unit) == duration
        if unit != "generic":
            moment = np.datetime64(count, unit)
            assert np.datetime64(as_text(moment)) == moment
    assert as_text(np.timedelta64("NaT", "s")) == "NaT s"
    assert as_text(np.datetime64("NaT")) == "NaT"


def test_other_values_as_text() -> None:
    moment = datetime.datetime(2026, 1, 2, 3, 4, 5, 6)
    assert datetime.datetime.fromisoformat(as_text(moment)) == moment
    assert decimal.Decimal(as_text(decimal.Decimal("0.1000"))) == decimal.Decimal("0.1")

    class Holder:
        def __str__(self) -> str:
            return f"Holder({np.full(2000, 1 / 3)})"

    assert "..." not in as_text(Holder())
    assert as_text(Holder()).count("0.3333333333333333") == 2000


ARRAYS = [
    np.arange(1001),
    np.arange(30_000).reshape(3, 100, 100),
    np.array([0.123456789012345, np.nan, np.inf, -np.inf]),
    np.full((2, 2), 1 / 3, "f4"),
    np.full(3, 1 / 3, "f2"),
    np.full(3, 1 / 3, ">f8"),
    np.array([2**64 - 1], "u8"),
    np.array([True, False]),
    np.array(["a", "\udc80", 'q"'], "U3"),
    np.zeros((0,)),
    np.zeros((2, 0)),
    np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    np.arange(20)[::-3],
    np.array(7.5),
]


@pytest.mark.parametrize("values", ARRAYS, ids=lambda values: f"{values.dtype} {values.shape}")
def test_an_array_as_text_is_whole_and_exact(values: Any) -> None:
    back = np.array(json.loads(as_text(values)), values.dtype).reshape(values.shape)
    np.testing.assert_array_equal(back, values)


def test_arrays_that_json_cannot_express() -> None:
    longs = np.array([1, 3], "g") / 7
    assert (np.array(json.loads(as_text(longs), parse_float=np.longdouble)) == longs).all()
    values = np.array([1 + 2j, -0.1j])
    assert (np.array([complex(text) for text in json.loads(as_text(values))]) == values).all()
    moments = np.array(["2026-01-02", "NaT"], "M8[ns]")
    assert np.array_equal(np.array(json.loads(as_text(moments)), "M8[ns]"), moments, equal_nan=True)
    assert json.loads(as_text(np.array([1, 2], "m8[25s]"))) == ["1 25s", "2 25s"]
    assert [ast.literal_eval(text) for text in json.loads(as_text(np.array([b"a", b"\xff"])))] == [b"a", b"\xff"]
    assert json.loads(as_text(np.array([None, "x", 1, np.arange(2)], object))) == [None, "x", 1, [0, 1]]
    kind = np.dtype([("n", "i4"), ("v", "f8", 2), ("t", "U2")])
    table = np.array([(1, (0.1, 0.2), "a"), (2, (1 / 3, np.nan), "b")], kind)
    assert as_text(table) == '[[1, [0.1, 0.2], "a"], [2, [0.3333333333333333, NaN], "b"]]'
    assert as_text(table[0]) == '[1, [0.1, 0.2], "a"]'


def test_containers_as_text() -> None:
    value = {"a": (1, None, True), "b": [{"c": b"x", "d": np.arange(2000)}], "e": Point(0.1, {3}), "f": Sample(1.0, np.float32(0.5))}
    back = ast.literal_eval(as_text(value))
    assert back["b"] == [{"c": b"x", "d": list(range(2000))}]
    assert (back["a"], back["e"], back["f"]) == ((1, None, True), (0.1, {3}), {"level": 1.0, "values": 0.5})
    assert ast.literal_eval(as_text({1: "a", "1": "b"})) == {1: "a", "1": "b"}  # no key is lost
    assert json.loads(as_text(array("d", [0.1, 1 / 3]))) == [0.1, 1 / 3]
    assert json.loads(as_text(memoryview(array("i", [1, -2])))) == [1, -2]


@pytest.mark.parametrize(
    "value",
    [
        [],
        (),
        {},
        [1, "a", None, True, 2.5],
        (1,),
        [[], (), {}],
        {"a": (1, 2)},
        {1, 2},
        [b"x", 1j],
        ["it's", 'say "x"', "a\nb"],
        [1e300, 0.1],
    ],
    ids=repr,
)
def test_containers_of_plain_values_are_as_in_str(value: Any) -> None:
    assert as_text(value) == str(value)
    assert ast.literal_eval(as_text(value)) == value


def test_other_values_that_a_container_may_hold() -> None:
    moment = datetime.datetime(2026, 1, 2)
    assert as_text([math.nan, -math.inf, set(), moment]) == "[nan, -inf, set(), '2026-01-02 00:00:00']"
    assert as_text((np.float64(0.1), np.int8(3), np.bool_(True), np.str_("a"))) == "(0.1, 3, True, 'a')"
    table = np.array([(1, 0.5)], [("n", "i4"), ("v", "f8")])
    assert as_text([table, table[0], np.zeros((1, 2))]) == "[[[1, 0.5]], [1, 0.5], [[0.0, 0.0]]]"
    assert as_text([Sample(1.0, 2)]) == "[{'level': 1.0, 'values': 2}]"


def test_a_value_that_contains_itself_is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(ValueError, match="a list that contains itself"):
        as_text(value)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**40), 10**40) | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(), max_size=3), inner, max_size=3),
    max_leaves=12,
)


@given(st.lists(JSON_VALUES) | st.dictionaries(st.text(), JSON_VALUES))
def test_values_that_json_expresses_as_text_are_read_back(value: Any) -> None:
    text = as_text(value)
    assert text == str(value)
    assert repr(eval(text, {"nan": math.nan, "inf": math.inf})) == repr(value)  # as docs/sinks.md has it


# -- JSONPipe -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def json_pipe() -> JSONPipe:
    reset()
    return JSONPipe(1)


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(10**40), 10**40)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(st.characters()),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(), max_size=3), inner, max_size=3),
        max_leaves=12,
    )
)
def test_json_carries_all_values_of_json(value: Any) -> None:
    reset()
    pipe = JSONPipe(1)
    packed = pipe.pack(value)
    assert packed.count(b"\n") == 1
    assert repr(pipe.unpack(packed)) == repr(value)


@pytest.mark.parametrize("kind", ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "?"])
def test_json_takes_numbers_of_numpy_as_pythons(json_pipe: JSONPipe, kind: str) -> None:
    value = np.dtype(kind).type(1) / 3 if kind.startswith("f") else np.dtype(kind).type(1)
    for sent, got in ((value, value.item()), ([value], [value.item()]), ({"a": (value,)}, {"a": [value.item()]})):
        assert json_pipe.unpack(json_pipe.pack(sent)) == got


REFUSED = {
    "nan": (math.nan, "nan is not a number in JSON; send None"),
    "inf": ([1.0, -math.inf], r"at \[1\], -inf is not a number in JSON"),
    "numpy nan": ({"a": [np.float32("nan")]}, r"at \['a'\]\[0\], nan is not"),
    "float64 nan": (np.float64("inf"), "inf is not a number"),
    "int key": ({"a": [{1: 2}]}, r"at \['a'\]\[0\], the key 1 is of type int, and keys must be of type str"),
    "None key": ({None: 2}, "the key None is of type NoneType"),
    "tuple key": ({(1, 2): 2}, r"the key \(1, 2\) is of type tuple"),
    "array": (np.arange(3), r"a ndarray is not a list; send value.tolist\(\)"),
    "bytes": ([b"x"], r"at \[0\], JSON has no type for bytes"),
    "set": ({1}, "JSON has no type for set"),
    "complex": (1j, "JSON has no type for complex"),
    "longdouble": (np.longdouble(1), "more digits"),
    "datetime64": (np.datetime64("2026"), "a datetime64 is not a list|no type for datetime64"),
    "object": (object(), "JSON has no type for object"),
    "5,000 digits": (10**5000, "Exceeds the limit"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_json_refuses_values_that_it_cannot_express(json_pipe: JSONPipe, name: str) -> None:
    value, text = REFUSED[name]
    with pytest.raises(ValueFitError, match=rf"JSONPipe 1 takes only what JSON can represent: .*(?:{text})"):
        json_pipe.pack(value)


def test_json_refuses_circular_or_too_deep_values(json_pipe: JSONPipe) -> None:
    value: list[Any] = []
    value.append(value)
    deep: Any = 1
    for _ in range(100_000):
        deep = [deep]
    for one in (value, deep):
        with pytest.raises(ValueFitError, match=r"JSONPipe 1 takes only what JSON can represent: it .*nested too deeply"):
            json_pipe.pack(one)


# -- BytesPipe ------------------------------------------------------------------------------------------------------------

BUFFERS = {
    "bytes": b"12345678",
    "bytearray": bytearray(b"12345678"),
    "array": array("d", [1.5]),
    "memoryview of shorts": memoryview(array("h", [1, 2, 3, 4])),
    "memoryview with steps": memoryview(b"1x2x3x4x5x6x7x8x")[::2],
    "f8": np.array([0.1]),
    "big-endian": np.array([0.1], ">f8"),
    "not contiguous": np.arange(16, dtype="u1")[::2],
    "backwards": np.arange(8, dtype="u1")[::-1],
    "transposed": np.arange(8, dtype="u1").reshape(2, 4).T,
    "Fortran order": np.asfortranarray(np.arange(8, dtype="u1").reshape(2, 4)),
    "datetime64": np.array(["2026"], "M8[s]"),
    "timedelta64 scalar": np.timedelta64(5, "s"),
    "structured": np.array([(1, 2.0)], [("O", "i4"), ("P", "f4")]),
    "bool": np.ones(8, bool),
    "complex": np.array([1j], "c8"),
    "scalar": np.float64(0.1),
    "read-only": np.frombuffer(b"12345678"),
    "ctypes": (ctypes.c_uint16 * 4)(1, 2, 3, 4),
}


@pytest.mark.parametrize("name", BUFFERS)
def test_bytes_are_the_elements_in_their_order(name: str) -> None:
    reset()
    value: Any = BUFFERS[name]
    packed = codec.encoder(BytesPipe(1, 8))(value)
    wanted = value.tobytes() if hasattr(value, "tobytes") else bytes(value)
    assert type(packed) is bytes
    assert packed == wanted
    if isinstance(value, np.ndarray):
        np.testing.assert_array_equal(np.frombuffer(packed, value.dtype).reshape(value.shape), value)


POINTERS = {
    "objects": np.array([object()]),
    "structured with objects": np.array([(1, None)], [("a", "i4"), ("b", "O")]),
    "memoryview of objects": memoryview(np.array([object()])),
    "C strings": (ctypes.c_char_p * 1)(b"x"),
    "C pointers": (ctypes.c_void_p * 1)(1),
    "C pointers with type": (ctypes.POINTER(ctypes.c_int) * 1)(),
    "C objects": (ctypes.py_object * 1)(object()),
}


@pytest.mark.parametrize("name", POINTERS)
def test_bytes_are_no_addresses(name: str) -> None:
    reset()
    value: Any = POINTERS[name]
    with pytest.raises(ValueFitError, match=r"BytesPipe 1 takes bytes of length \d+, not .*address"):
        BytesPipe(1, 8).pack(value)


@pytest.mark.parametrize("value", ["12345678", 5, None, [1], np.str_("abc")], ids=repr)
def test_bytes_are_bytes_like(value: Any) -> None:
    reset()
    with pytest.raises(ValueFitError, match="BytesPipe 1 takes bytes of length 8, not "):
        BytesPipe(1, 8).pack(value)


@pytest.mark.parametrize("values", ARRAYS, ids=lambda values: f"{values.dtype} {values.shape}")
def test_pickles_are_exact(values: Any) -> None:
    reset()
    pipe = PicklePipe(1)
    back = codec.decoder(pipe, lambda why: why)(codec.encoder(pipe)(values))
    np.testing.assert_array_equal(back, values)
