"""Blocks that are encoded together: each comes out as if it had been pickled alone, at the moment when it was put."""

from __future__ import annotations

import math
import pickle
import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fission.errors import LocalProtocolError, RemoteProtocolError
from fission.protocol import frames
from fission.protocol.endpoint_effects import SendData
from fission.protocol.joined import Joined, join, separate, take_column
from fission.protocol.link_messages import Data
from fission.protocol.output import Output
from fission.protocol.pacing import HELD_AT_MOST_S
from fission.protocol.replay_buffer import Release
from fission.protocol.window import SendWindow
from fission.runtime.codec import NOT_FROZEN, frozen
from tests.protocol.caught import assert_caught

Encode = Callable[[list[Any]], bytes]

edges = st.sampled_from([0.0, -0.0, math.nan, math.inf, 2**63, -(2**63), "\ud800", "", b"", b"a" * 256, b"a" * 257, "a" * 1025])
atoms = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.complex_numbers(),
    edges,
    st.binary(max_size=9),
    st.text(st.characters(codec=None), max_size=9),
)
flat = st.one_of(atoms, st.lists(atoms, max_size=6), st.lists(atoms, max_size=3).map(lambda items: items + items))
nested = st.recursive(
    atoms,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.tuples(inner, inner), st.dictionaries(st.text(max_size=3), inner, max_size=2)),
)
values = st.one_of(flat, nested)


class Text(str):
    pass


class Number(int):
    pass


class Items(list):  # type: ignore[type-arg]
    pass


def shape(value: Any, seen: list[Any] | None = None) -> Any:
    """What must be equal: types, bits, order, and which objects that can change are the same one."""
    seen = [] if seen is None else seen
    kind = type(value)
    if kind is float:
        return "float", struct.pack("d", value)
    if kind is complex:
        return "complex", struct.pack("dd", value.real, value.imag)
    if isinstance(value, (list, dict)):
        for number, other in enumerate(seen):
            if other is value:
                return "again", number
        seen.append(value)
    if isinstance(value, (list, tuple)):
        return kind, [shape(item, seen) for item in value]
    if isinstance(value, dict):
        return kind, [(shape(key, seen), shape(item, seen)) for key, item in value.items()]
    return kind, value


def alone(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value, 5))


def put_all(given: list[Any], freeze: Callable[[Any], Any] = frozen) -> Output:
    """An output after a job has put values, each of which it changes right afterwards."""
    one = Output(7, 1, SendWindow(4096, 1 << 30))
    one.open()
    one.hold_until = math.inf
    for value in given:
        put(one, value, freeze)
        if type(value) is list:
            value.append("changed by the job")
    one.flush()
    return one


def put(one: Output, value: Any, freeze: Callable[[Any], Any] = frozen) -> None:
    kept = freeze(value)
    if kept is NOT_FROZEN:
        one.add(pickle.dumps(value, 5), 0, 0.0)
    else:
        one.add_value(kept, 0.0)


def received(one: Output) -> list[Any]:
    """The values at the consumer, as the columns of a job are decoded."""
    found: list[Any] = []
    for effect in one.effects:
        if isinstance(effect, SendData) and isinstance(data := frames.decode(effect.message), Data):
            run = take_column(data.payloads) if type(data.payloads[0]) is tuple else None
            found += map(pickle.loads, data.payloads) if run is None else run
    return found


def check(given: list[Any], freeze: Callable[[Any], Any] = frozen) -> None:
    expected = [shape(alone(value)) for value in given]
    got = received(put_all(given, freeze))
    assert [shape(value) for value in got] == expected
    lists = [id(value) for value in got if isinstance(value, list)]
    assert len(set(lists)) == len(lists), "blocks share an object"


@given(st.lists(values, max_size=12))
def test_values_arrive_as_if_each_were_pickled_when_it_was_put(given: list[Any]) -> None:
    check(given)


def test_the_same_list_given_again_and_changed_is_sent_as_it_was() -> None:
    row: list[Any] = [1.0, b"a"]
    one = Output(7, 1, SendWindow(4096, 1 << 30))
    one.open()
    one.hold_until = math.inf
    for number in range(5):
        row[0] = number
        put(one, row)
    one.flush()
    got = received(one)
    assert got == [[number, b"a"] for number in range(5)]
    got[0].append("changed by the consumer")
    assert got[1] == [1, b"a"]


@pytest.mark.parametrize(
    "value", [Text("a"), Number(1), Items([1]), [Text("a")], [[1]], [(1,)], (1,), {"a": 1}, {1}, [bytearray(b"a")], bytearray(b"a")]
)
def test_only_numbers_text_bytes_and_lists_of_them_are_frozen(value: Any) -> None:
    assert frozen(value) is NOT_FROZEN


@pytest.mark.parametrize("value", [1 << 63, b"a" * 1025, "a" * 1025, [b"a" * 257], [1, 2, 3, 4, 5]])
def test_larger_values_are_not_frozen(value: Any) -> None:
    assert frozen(value) is NOT_FROZEN


def not_copied(value: Any) -> Any:
    return NOT_FROZEN if frozen(value) is NOT_FROZEN else value


def any_list(value: Any) -> Any:
    return value[:] if type(value) is list else frozen(value)


def nested_later(given: list[Any]) -> None:
    """A list in a list is changed after it was put."""
    inner: list[Any] = [given]
    one = Output(7, 1, SendWindow(4096, 1 << 30))
    one.open()
    one.hold_until = math.inf
    put(one, [inner], any_list)
    put(one, [inner], any_list)
    inner.append(1)
    one.flush()
    assert received(one) == [[[given]], [[given]]]


def test_variants_that_freeze_less_are_caught() -> None:
    assert_caught(lambda given: check(given, not_copied), st.lists(values, min_size=2, max_size=12))
    assert_caught(nested_later, st.lists(atoms, max_size=2))


@given(st.lists(flat, min_size=1, max_size=9), st.data())
def test_blocks_are_taken_in_any_way_and_again(given: list[Any], data: st.DataObject) -> None:
    joined = Joined(join(given), len(given))
    blocks = joined.blocks()
    first = data.draw(st.integers(0, len(given) - 1))
    last = data.draw(st.integers(first, len(given) - 1))
    one = data.draw(st.integers(0, len(given) - 1))
    before = joined.take(one) if data.draw(st.booleans()) else None
    run = take_column(blocks[first : last + 1])
    assert run is not None
    assert [shape(value) for value in run] == [shape(value) for value in given[first : last + 1]]
    again = joined.take(one)
    assert shape(again) == shape(given[one])
    assert not (isinstance(again, list) and (again is before or any(again is value for value in run)))
    assert [shape(pickle.loads(payload)) for payload in separate(blocks)] == [shape(value) for value in given]


def test_only_a_run_of_one_message_is_taken_together() -> None:
    blocks = Joined(join([1, 2, 3]), 3).blocks()
    other = Joined(join([4, 5, 6]), 3).blocks()
    assert take_column([blocks[0], blocks[0], blocks[1]]) is None
    assert take_column([*blocks, blocks[2]]) is None
    assert take_column([*blocks, *other]) is None
    assert take_column([blocks[0], b"a payload"]) is None
    assert separate([b"a payload", [b"p", b"buffer"]]) == [b"a payload", [b"p", b"buffer"]]


@pytest.mark.parametrize("payload", [b"", b"\x00", join([1])[:-1], join([1, 2, 3]), join([]), join((1, 2))])  # type: ignore[arg-type]
def test_what_is_not_a_list_of_so_many_blocks_is_malformed(payload: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        Joined(payload, 2).take(0)


def test_a_message_of_joined_blocks_has_one_frame_and_no_heads() -> None:
    frame = frames.encode_joined(7, 2, 3, 10, 2, join([1.5, "a"]))
    data = frames.decode([frame])
    assert isinstance(data, Data)
    assert (data[:4], data.heads) == ((7, 2, 3, 10), None)
    assert take_column(data.payloads) == [1.5, "a"]
    for flags in (frames.JOINED | frames.HAS_HEADS, frames.JOINED | frames.SHARED):
        with pytest.raises(RemoteProtocolError):
            frames.decode([frame[:2] + struct.pack("<H", flags) + frame[4:]])
    with pytest.raises(RemoteProtocolError):
        frames.decode([frame, b"another frame"])
    with pytest.raises(LocalProtocolError):
        frames.encode_joined(7, 2, 3, 10, 0, b"")
    with pytest.raises(LocalProtocolError):
        frames.encode_joined(2**32, 2, 3, 10, 1, b"")


def test_a_payload_between_values_is_sent_with_them_in_order() -> None:
    one = Output(7, 1, SendWindow(4096, 1 << 30))
    one.open()
    one.hold_until = math.inf
    one.add_value(1, 0.0)
    one.add_value(2, 0.0)
    one.add(pickle.dumps({"a": 3}), 0, 0.0)
    one.add_value(4, 0.0)
    one.flush()
    one.add_value(5, 0.0)
    one.add_value(6, 0.0)
    one.add(pickle.dumps(7), 1, 0.0)
    one.flush()
    messages = [data for effect in one.effects if isinstance(effect, SendData) and isinstance(data := frames.decode(effect.message), Data)]
    assert [[pickle.loads(payload) for payload in data.payloads] for data in messages] == [[1, 2, {"a": 3}, 4], [5, 6, 7]]
    assert messages[1].heads == [0, 0, 1]


def test_values_are_held_counted_replayed_and_released_like_payloads() -> None:
    one = Output(7, 1, SendWindow(4, 1 << 20))
    one.open()
    one.hold_until = math.inf
    assert one.add_value(1, 5.0) == 5.0 + HELD_AT_MOST_S
    assert one.add_value(2, 5.0) == 0.0
    assert (one.last_number, one.queue, one.size) == (2, 2, 0)
    one.tick(5.0 + HELD_AT_MOST_S)
    assert (one.window.used, one.pending) == (len(join([1, 2])), [])
    for value in (3, 4):
        one.add_value(value, 6.0)
    one.flush()
    assert not one.may_continue
    one.effects.clear()
    assert one.wire(2) == 4
    assert received(one) == [1, 2, 3, 4]
    one.on_release(Release(7, 2, 0, 4, 4))
    assert one.all_released
    assert one.window.used == 0
