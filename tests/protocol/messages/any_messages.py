"""Strategies for typed messages, made from their fields; and forged bytes that resemble them."""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec
from hypothesis import strategies as st
from msgspec import inspect

from fission.protocol.messages.codec import Codec

#: Without lone surrogates, which UTF-8 cannot express.
TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
_NUMBERS = st.integers(-(1 << 62), 1 << 62)
_JSON = st.recursive(
    st.none() | st.booleans() | _NUMBERS | TEXT, lambda some: st.lists(some, max_size=3) | st.dictionaries(TEXT, some, max_size=3)
)


def messages(codec: Codec[Any]) -> st.SearchStrategy[Any]:
    """Any message of a direction."""
    return st.one_of([_of_type(inspect.type_info(cls)) for cls in codec.types])


def _of_type(info: Any) -> st.SearchStrategy[Any]:
    if isinstance(info, inspect.StructType | inspect.DataclassType):
        return st.fixed_dictionaries({field.name: _of_type(field.type) for field in info.fields}).map(lambda members: info.cls(**members))
    if isinstance(info, inspect.UnionType):
        return st.one_of([_of_type(member) for member in info.types])
    if isinstance(info, inspect.DictType):
        return st.dictionaries(_of_type(info.key_type), _of_type(info.value_type), max_size=3)
    if isinstance(info, (inspect.VarTupleType, inspect.ListType, inspect.CollectionType)):
        many = st.lists(_of_type(info.item_type), max_size=3)
        return many if isinstance(info, inspect.ListType) else many.map(tuple)
    if isinstance(info, inspect.TupleType):
        return st.tuples(*map(_of_type, info.item_types))
    if isinstance(info, inspect.LiteralType):
        return st.sampled_from(info.values)
    if isinstance(info, inspect.IntType):
        low = info.ge if info.ge is not None else None if info.gt is None else info.gt + 1
        high = info.le if info.le is not None else None if info.lt is None else info.lt - 1
        return st.integers(-(1 << 62) if low is None else low, (1 << 62) if high is None else high)
    if isinstance(info, inspect.FloatType):
        low, high = (info.ge if info.gt is None else info.gt), (info.le if info.lt is None else info.lt)
        return st.floats(low, high, exclude_min=info.gt is not None, exclude_max=info.lt is not None, allow_nan=False, allow_infinity=False)
    simple = {inspect.BoolType: st.booleans(), inspect.NoneType: st.none(), inspect.StrType: TEXT, inspect.AnyType: _JSON}
    return simple[type(info)]


def forged(data: bytes, random: Random) -> bytes:
    """An encoded message after something has gone wrong with it."""
    kind = random.randrange(6)
    at = random.randrange(len(data) + 1)
    if kind == 0:
        return data[:at]
    if kind == 1:
        return data[:at] + random.randbytes(random.randrange(1, 4)) + data[at + random.randrange(3) :]
    if kind == 2:  # one member is missing, or is another JSON value
        body = msgspec.json.decode(data)
        name = random.choice(list(body))
        body.pop(name)
        return msgspec.json.encode(body)
    if kind == 3:
        body = msgspec.json.decode(data)
        body[random.choice([*body, "new"])] = random.choice([None, True, -1, 1.5, "x", [], {}, [[1]], {"a": 1}, 1 << 63, 1e300])
        return msgspec.json.encode(body)
    if kind == 4:
        return data[:at] + b"[" * random.choice([10, 2000]) + data[at:]
    return data[:at] + random.choice([b"NaN", b"1e999", b"\\ud800", b"\xff", b"-0", b"9" * 40, b"null", b'"', b"}"]) + data[at:]
