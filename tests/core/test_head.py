from __future__ import annotations

import pickle
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fission.core.head import Head

SIZES = st.integers(1, 4)


@st.composite
def heads(draw: st.DrawFn) -> Head:
    size = draw(SIZES)
    return Head(draw(st.integers(0, 2 ** (8 * size) - 1)), size)


def bits(head: Head) -> list[bool]:
    """The simple model: the row of bits, the most significant one first."""
    return [digit == "1" for digit in f"{int(head):0{8 * len(head)}b}"]


def number(row: list[bool]) -> int:
    return int("".join("01"[bit] for bit in row) or "0", 2)


@given(heads())
def test_bits_are_counted_from_the_most_significant_one(head: Head) -> None:
    assert [head[index] for index in range(8 * len(head))] == bits(head) == list(head)
    assert [head[index] for index in range(-8 * len(head), 0)] == bits(head)


@pytest.mark.parametrize(("value", "flag"), [(0b10000000, 0), (0b01000000, 1), (0b00100000, 2), (1, 7), (1, -1), (128, -8)])
def test_a_bit_where_the_documents_have_it(value: int, flag: int) -> None:
    assert Head(value)[flag] is True
    assert Head(0)[flag] is False


@given(heads(), st.slices(32))
def test_a_slice_is_a_head_of_the_same_size_with_the_bits_as_a_number(head: Head, part: slice) -> None:
    result = head[part]
    assert type(result) is Head
    assert len(result) == len(head)
    assert int(result) == number(bits(head)[part])


@given(heads(), heads())
def test_and_or_xor_line_up_at_bit_0(one: Head, other: Head) -> None:
    size = max(len(one), len(other))
    left, right = ([*bits(head), *[False] * (8 * (size - len(head)))] for head in (one, other))
    pairs = list(zip(left, right, strict=True))
    for result, expected in (
        (one & other, [a and b for a, b in pairs]),
        (one | other, [a or b for a, b in pairs]),
        (one ^ other, [a != b for a, b in pairs]),
    ):
        assert (len(result), bits(result)) == (size, expected)


@given(heads(), st.integers(0, 2**32 - 1))
def test_and_or_xor_with_a_number_stay_in_size(head: Head, value: int) -> None:
    mask = 2 ** (8 * len(head)) - 1
    assert int(head & value) == int(value & head) == int(head) & value & mask
    assert int(head | value) == int(value | head) == (int(head) | value) & mask
    assert int(head ^ value) == int(value ^ head) == (int(head) ^ value) & mask


@given(heads(), st.integers(0, 40))
def test_shifts_and_inversion_stay_in_size(head: Head, places: int) -> None:
    mask = 2 ** (8 * len(head)) - 1
    assert int(head << places) == int(head) << places & mask
    assert int(head >> places) == int(head) >> places
    assert int(~head) == mask - int(head)
    assert len(head << places) == len(head >> places) == len(~head) == len(head)


def test_a_huge_shift_does_not_make_a_huge_number() -> None:
    assert Head(255) << 10**12 == 0


@given(heads(), st.integers(-32, 31), st.booleans())
def test_setting_a_bit(head: Head, index: int, value: bool) -> None:
    size = 8 * len(head)
    before = bits(head)
    if not -size <= index < size:
        with pytest.raises(IndexError, match=f"has the bits 0 to {size - 1}, not {index}"):
            head[index] = value
    elif index % size == 1 and value:
        with pytest.raises(ValueError, match=r"bit 1 of a Head \(reset\) is reserved"):
            head[index] = value
        assert bits(head) == before
    else:
        head[index] = value
        before[index] = value
        assert bits(head) == before


def test_bit_1_can_be_cleared() -> None:
    head = Head(0b01000000)
    head[1] = False
    assert head == 0


@pytest.mark.parametrize(
    ("action", "error"),
    [
        (lambda: Head(256), ValueError),
        (lambda: Head(-1), ValueError),
        (lambda: Head(1.5), TypeError),
        (lambda: Head("1"), TypeError),
        (lambda: Head(0, 0), ValueError),
        (lambda: Head(0, 5), ValueError),
        (lambda: Head(b""), ValueError),
        (lambda: Head(b"12345"), ValueError),
        (lambda: Head(b"1", 2), ValueError),
        (lambda: Head(0)[8], IndexError),
        (lambda: Head(0)[-9], IndexError),
        (lambda: Head(0)["1"], TypeError),
        (lambda: Head(0).__setitem__(slice(0, 3), 1), TypeError),
        (lambda: Head(0).__setitem__(0, 2), ValueError),
        (lambda: Head(0) & 1.5, TypeError),
        (lambda: Head(0) | "1", TypeError),
        (lambda: Head(0) ^ b"1", TypeError),
        (lambda: Head(0) << Head(1), TypeError),
        (lambda: Head(0) >> 1.5, TypeError),
        (lambda: hash(Head(0)), TypeError),
        (lambda: reversed(Head(0)), TypeError),
        (lambda: setattr(Head(0), "head_size", "1"), TypeError),
    ],
)
def test_wrong_use(action: Callable[[], object], error: type[Exception]) -> None:
    with pytest.raises(error):
        action()


@given(heads(), st.integers(-5, 5))
def test_head_size_is_a_step(head: Head, step: int) -> None:
    size = min(max(len(head) + step, 1), 4)
    expected = [*bits(head), *[False] * 32][: 8 * size]
    head.head_size = step
    assert head.head_size == len(head) == size
    assert bits(head) == expected


@given(heads())
def test_conversions(head: Head) -> None:
    assert head.to_bytes() == int(head).to_bytes(len(head), "big")
    assert Head(head.to_bytes()) == head == pickle.loads(pickle.dumps(head))
    assert head == int(head)
    assert head == head.to_bytes()
    assert bool(head) is (int(head) != 0)
    assert eval(repr(head), {"Head": Head}) == head


def test_heads_of_different_sizes_are_not_equal() -> None:
    assert Head(1, 1) != Head(1, 2)
    assert Head(1) != "1"
