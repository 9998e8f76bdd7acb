"""The codec of control messages is strict in both directions."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fission.errors import RemoteProtocolError
from fission.protocol.messages.codec import Codec, Message


class Wire(Message, frozen=True, tag="wire"):
    pipe: int
    address: str = ""


class Stop(Message, frozen=True, tag="stop"):
    grace_s: float


CODEC: Codec[Wire | Stop] = Codec("test to test", Wire, Stop, max_bytes=200)


@pytest.mark.parametrize("message", [Wire(pipe=3), Wire(pipe=-1, address="ipc://ä"), Stop(grace_s=0.5)])
def test_encoded_messages_are_decoded(message: Wire | Stop) -> None:
    assert CODEC.decode(CODEC.encode(message)) == message
    assert CODEC.decode(memoryview(CODEC.encode(message))) == message


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"null",
        b"[]",
        b'{"type":"wire"}',
        b'{"type":"unknown","pipe":1}',
        b'{"type":"wire","pipe":"1"}',
        b'{"type":"wire","pipe":1.5}',
        b'{"type":"wire","pipe":true}',
        b'{"type":"wire","pipe":1,"more":2}',
        b'{"type":"stop","grace_s":NaN}',
        b'{"type":"stop","grace_s":1e999}',
        b'{"type":"wire","pipe":1} x',
        b'{"type":"wire","pipe":1,"address":"\xff"}',
        b'{"type":"wire","pipe":1,"address":"\\ud800"}',
        b'{"pipe":1}',
        b"[" * 150,
        b'{"type":"wire","pipe":1,"address":"' + 200 * b"x" + b'"}',
        b'{"type":["wire"],"pipe":1}',
    ],
)
def test_malformed_messages_are_refused(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="test to test"):
        CODEC.decode(data)


@given(
    st.binary(max_size=250) | st.builds(lambda at, byte: b'{"type":"wire","pipe":1}'[:at] + byte, st.integers(0, 24), st.binary(max_size=3))
)
def test_nothing_else_is_ever_raised(data: bytes) -> None:
    with contextlib.suppress(RemoteProtocolError):
        CODEC.decode(data)


def test_messages_that_are_too_large_are_not_sent() -> None:
    with pytest.raises(ValueError, match="at most 200"):
        CODEC.encode(Wire(pipe=1, address="x" * 200))


def test_text_that_utf8_cannot_express_is_escaped() -> None:
    assert CODEC.decode(CODEC.encode(Wire(pipe=1, address="a\udc80é"))) == Wire(pipe=1, address="a\\udc80é")
