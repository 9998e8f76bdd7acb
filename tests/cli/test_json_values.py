"""Values of every kind as JSON: in full, and as numbers and lists wherever JSON has them."""

from __future__ import annotations

import json
import math
from collections import OrderedDict, namedtuple
from typing import Any

import numpy as np
import pytest

from fission.cli.json_values import as_json_value

Point = namedtuple("Point", "x y")


class Odd:
    def __repr__(self) -> str:
        return "Odd()"


def circle() -> list[Any]:
    made: list[Any] = []
    made.append(made)
    return made


CASES = [
    (None, None),
    (True, True),
    (2**70, 2**70),
    (0.1, 0.1),
    (math.nan, "nan"),
    (-math.inf, "-inf"),
    (1 + 2j, {"real": 1.0, "imag": 2.0}),
    ("\udc80", "\udc80"),
    (b"\xff\x00", {"base64": "/wA="}),
    (bytearray(b"a"), {"base64": "YQ=="}),
    ((1, (2, 3)), [1, [2, 3]]),
    (Point(1, 2.5), [1, 2.5]),
    ({3}, [3]),
    (OrderedDict(a=[1]), {"a": [1]}),
    ({1: 2, (1, 2): 3}, {"1": 2, "(1, 2)": 3}),
    (Odd(), "Odd()"),
    ([Odd(), 1], ["Odd()", 1]),
    (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
    (np.array([0.1, np.nan], np.float64), [0.1, "nan"]),
    (np.float32(0.5), 0.5),
    (np.bool_(True), True),
    (np.array(7), 7),
    (np.array([1 + 1j]), [{"real": 1.0, "imag": 1.0}]),
    (np.array(["2026-01-02T03:04:05.000000006"], "datetime64[ns]"), ["2026-01-02T03:04:05.000000006"]),
    (np.datetime64("2026-01-02"), "2026-01-02"),
    (np.longdouble("0.1"), str(np.longdouble("0.1"))),
    (np.array([(1, 2.5)], [("a", "i4"), ("b", "f8")]), [[1, 2.5]]),
    (np.array([Odd()], object), ["Odd()"]),
    (np.array([b"ab"]), [{"base64": "YWI="}]),
]


@pytest.mark.parametrize(("value", "expected"), CASES, ids=[repr(value)[:40].replace("\n", "") for value, _ in CASES])
def test_each_kind(value: Any, expected: Any) -> None:
    converted = as_json_value(value)
    assert converted == expected
    assert json.loads(json.dumps(converted, allow_nan=False)) == expected


def test_an_array_of_a_thousand_and_one_elements_is_not_cut() -> None:
    assert as_json_value(np.arange(1001)) == list(range(1001))


def test_infinite_values_become_text() -> None:
    assert isinstance(as_json_value(circle()), str)
