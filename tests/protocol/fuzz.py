"""Hostile messages for all decoders: random bytes, and valid messages that are mutated, cut, doubled, with huge lengths or deep JSON."""

from __future__ import annotations

import contextlib
import json
import struct
from collections.abc import Iterator
from random import Random
from typing import Any

import msgspec
from msgspec import inspect

from fission.errors import RemoteProtocolError
from fission.protocol import frames
from fission.protocol.frames import DATA, HAS_HEADS, OUT_OF_BAND, SHARED
from fission.protocol.joined import join
from fission.protocol.link_messages import End, Open, Release
from fission.protocol.messages import client_to_job, job_to_client
from fission.protocol.messages.codec import DISCRIMINATOR, Codec
from fission.protocol.pieces import PIECE_BYTES, split

_HEADER = struct.Struct("<BBHIIIQIQ")
#: Numbers at the limits of integer types.
EDGES = (0, 1, 2, 255, 256, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1)
#: Values of unexpected types.
ODD: tuple[Any, ...] = (None, True, -1, 2**70, 1.5, "x", "\udc80", [], {}, [[]], {"a": {"b": []}}, "x" * 5000, [0] * 500)


def deep(depth: int) -> bytes:
    """Return JSON of this depth of nesting."""
    return b'{"type":' + b"[" * depth + b"]" * depth + b"}"


def valid(random: Random, *, wrong: bool = False) -> list[bytes]:
    """Return the frames of a valid message of any kind, about pipes and jobs that do not exist. ``wrong``: as in `json_message`."""
    pipe, kind = 10**6 + random.randrange(10), random.randrange(8)
    if kind == 0:
        return [
            frames.encode_data(
                pipe, 1, 0, random.choice((1, 5, 2**40)), [random.randbytes(20) for _ in range(random.randrange(1, 4))], None
            )
        ]
    if kind == 1 and pipe % 2:
        return [frames.encode_joined(pipe, 1, 0, 3, 2, join([random.random(), "a"]))]
    if kind == 1 and pipe % 3:
        return [frames.encode_packed(pipe, 1, 0, 3, 4, 12, [random.randbytes(12)])]
    if kind == 1:
        blocks = [[b"p", *(random.randbytes(9) for _ in range(2))] for _ in range(2)]
        return [bytes(frame) for frame in frames.encode_big(pipe, 1, 0, 3, blocks, None)]
    if kind == 2:
        return [bytes(part) for part in split([random.randbytes(PIECE_BYTES + 5), b"x"])]
    if kind == 3:
        return [frames.encode_release(Release(pipe, 1, 0, 5, 7, had=bool(pipe % 2)))]
    if kind == 4:
        return [frames.encode_open(Open(pipe, 1, 0, 5))]
    if kind == 5:
        return [frames.encode_end(End(pipe, 1, 0, 5))]
    if kind == 6:
        job, incarnation = random.choice((0, 1, 2, 3, 10**6)), random.choice((0, 1, 10**6))
        return [_envelope(frames.REPORT, json_message(random, job_to_client.CODEC, wrong=wrong), job, incarnation)]
    return [_envelope(frames.COMMAND, json_message(random, client_to_job.CODEC, wrong=wrong))]


def _envelope(kind: int, text: bytes, job: int = 0, incarnation: int = 0) -> bytes:
    return _HEADER.pack(frames.VERSION, kind, 0, job, incarnation, 0, 0, len(text), 0) + text


def json_message(random: Random, codec: Codec[Any], *, wrong: bool = False) -> bytes:
    """Return a message of a direction as JSON, about pipes and jobs that do not exist; some members may be odd or missing.

    ``wrong``: never a message that a receiver would follow.
    """
    message = random.choice(codec.types)
    body: dict[str, Any] = {DISCRIMINATOR: random.choice((message.__struct_config__.tag,) * 9 + ("no such",))}
    odd = random.random() < 0.5
    for field in msgspec.structs.fields(message):
        how = random.random() if odd else 1.0
        if how > 0.3:
            body[field.encode_name] = plausible(random, inspect.type_info(field.type))
        elif how > 0.1:
            body[field.encode_name] = random.choice(ODD)
    if wrong and not _is_for_a_foreign_pipe(body) and _fits(codec, body):
        body["surplus"] = 1
    return json.dumps(body).encode()


def _is_for_a_foreign_pipe(body: dict[str, Any]) -> bool:
    pipe = body.get("pipe", 0)
    return isinstance(pipe, int) and pipe >= 10**6


def _fits(codec: Codec[Any], body: dict[str, Any]) -> bool:
    """Return whether a receiver would follow this message: a peer with the keys can send correct messages, which prove nothing."""
    with contextlib.suppress(RemoteProtocolError):
        codec.decode(json.dumps(body).encode())
        return True
    return False


def plausible(random: Random, kind: Any) -> Any:
    """Return a valid value of a member."""
    if isinstance(kind, inspect.StructType):
        return {field.encode_name: plausible(random, field.type) for field in kind.fields}
    if isinstance(kind, inspect.DictType):
        return {str(10**6): plausible(random, kind.value_type) for _ in range(random.randrange(2))}
    if isinstance(kind, inspect.VarTupleType):
        return [plausible(random, kind.item_type) for _ in range(random.randrange(3))]
    if isinstance(kind, inspect.TupleType):
        return [plausible(random, item) for item in kind.item_types]
    if isinstance(kind, inspect.UnionType):
        return plausible(random, random.choice(kind.types))
    simple = {inspect.BoolType: True, inspect.NoneType: None, inspect.StrType: "x", inspect.FloatType: 0.5, inspect.IntType: 10**6}
    return simple[type(kind)]


def mutated(random: Random, parts: list[bytes]) -> list[bytes]:
    """Return the frames with something changed."""
    index = random.randrange(len(parts))
    one = bytearray(parts[index])
    how = random.randrange(7)
    if how == 0 and one:
        one[random.randrange(len(one))] ^= 1 << random.randrange(8)
    elif how == 1:
        del one[random.randrange(len(one) + 1) :]
    elif how == 2:
        one += random.randbytes(random.randrange(1, 40))
    elif how == 3:
        return [*parts[:index], *parts[index + 1 :]] or [b""]
    elif how == 4:
        return [*parts[:index], parts[index], *parts[index:]]
    elif how == 5 and len(one) >= _HEADER.size:
        fields = list(_HEADER.unpack_from(one))
        field = random.randrange(len(fields))
        limit = (2**8, 2**8, 2**16, 2**32, 2**32, 2**32, 2**64, 2**32, 2**64)[field]
        fields[field] = random.choice([edge for edge in EDGES if edge < limit])
        _HEADER.pack_into(one, 0, *fields)
    elif len(one) > 8:
        at = random.randrange(len(one) - 8)
        one[at : at + 8] = random.choice(EDGES).to_bytes(8, "little")
    return [*parts[:index], bytes(one), *parts[index + 1 :]]


def hostile(random: Random, *, wrong: bool = False) -> Iterator[list[bytes]]:
    """Yield messages without end. ``wrong``: as in `json_message`."""
    while True:
        kind = random.randrange(12)
        if kind == 0:
            yield [random.randbytes(random.choice((0, 1, 7, 40, 44, 200)))]
        elif kind == 1:
            yield [random.randbytes(random.randrange(60)) for _ in range(random.randrange(1, 5))]
        elif kind == 2:
            flags = random.choice((0, HAS_HEADS, OUT_OF_BAND, SHARED, HAS_HEADS | OUT_OF_BAND, 0xFFFF))
            giant = _HEADER.pack(
                1, random.choice((DATA, 6, 7, 8)), flags, 1, 1, 0, 1, random.choice((1, 65536, 2**32 - 1)), random.choice(EDGES)
            )
            yield [giant + random.randbytes(random.randrange(30))]
        elif kind == 3:
            text = deep(random.choice((10, 900, 5000)))
            yield [_HEADER.pack(1, random.choice((5, 6)), 0, 1, 1, 0, 0, len(text), 0) + text]
        elif kind == 4:
            run = {"run": random.choice(("x", None, 5)), "what": random.choice(("output", "exited", 7)), "incarnation": random.choice(ODD)}
            yield [json.dumps({**run, random.choice(("job", "lines", "code", "report")): random.choice(ODD)}).encode()]
        elif kind < 7:
            yield valid(random, wrong=wrong)
        else:
            parts = valid(random, wrong=wrong)
            for _ in range(random.randrange(1, 4)):
                parts = mutated(random, parts)
            yield parts
