"""Datagrams that only holders of the keys can make: opened if they are as they were sealed, refused otherwise."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fission.adapters.sealing import MAX_COUNTER, MAX_PAYLOAD, Opened, open_sealed
from fission.adapters.sealing import seal as sealed
from fission.errors import LocalProtocolError


@dataclass(frozen=True)
class Key:
    pulse: bytes


OURS, OTHERS = Key(bytes(range(32))), Key(bytes(32))
ME, WHERE = b"sender 1", b"from a to b"
EITHER = st.sampled_from([OURS, None])
COUNTERS = st.integers(0, MAX_COUNTER - 1)
PAYLOADS = st.binary(max_size=200) | st.sampled_from([b"", bytes(MAX_PAYLOAD)])


def seal(keys: Key | None, payload: bytes, counter: int, sender: bytes = ME, context: bytes = WHERE) -> bytes:
    return sealed(keys, payload, counter, sender, context)


def opened(keys: Key | None, datagram: bytes, context: bytes = WHERE) -> Opened | None:
    return open_sealed(keys, datagram, context)


@given(EITHER, PAYLOADS, COUNTERS)
def test_sealed_datagrams_can_be_opened(keys: Key | None, payload: bytes, counter: int) -> None:
    datagram = seal(keys, payload, counter)
    assert opened(keys, datagram) == (ME, counter, payload)
    assert len(datagram) <= 1280 - 48


@given(EITHER, PAYLOADS, COUNTERS, st.data())
def test_cut_or_extended_datagrams_cannot_be_opened(keys: Key | None, payload: bytes, counter: int, data: st.DataObject) -> None:
    datagram = seal(keys, payload, counter)
    assert opened(keys, datagram[: data.draw(st.integers(0, len(datagram) - 1))]) is None
    assert opened(keys, datagram + data.draw(st.binary(min_size=1, max_size=2000))) is None


def test_no_bit_can_be_changed() -> None:
    datagram = seal(OURS, b"node 4, free: 30 %", 77)
    for bit in range(len(datagram) * 8):
        changed = bytearray(datagram)
        changed[bit // 8] ^= 1 << bit % 8
        assert opened(OURS, bytes(changed)) is None


@given(st.binary(max_size=2000) | st.binary(min_size=57, max_size=200).map(lambda rest: seal(OURS, b"", 1)[:9] + rest))
def test_noise_is_not_opened(noise: bytes) -> None:
    assert opened(OURS, noise) is None


@given(st.binary(max_size=100).map(lambda rest: b"\x00" + rest) | st.binary(max_size=2000))
def test_noise_without_keys_raises_nothing(noise: bytes) -> None:
    found = opened(None, noise)
    assert found is None or seal(None, found.payload, found.counter, found.sender) == noise


@pytest.mark.parametrize(("made", "opens"), [(OTHERS, OURS), (None, OURS), (OURS, None), (OURS, OTHERS)])
def test_only_holders_of_the_keys_can_seal(made: Key | None, opens: Key | None) -> None:
    assert opened(opens, seal(made, b"payload", 1)) is None


@given(EITHER, st.binary(max_size=40), st.binary(max_size=40))
def test_it_opens_only_where_it_was_meant_for(keys: Key | None, one: bytes, other: bytes) -> None:
    assert (opened(keys, seal(keys, b"payload", 1, context=one), other) is not None) == (one == other)


def test_its_context_is_authenticated_and_not_only_written_in_front() -> None:
    """Who exchanges the front of a datagram for that of another context gains nothing."""
    there, here = seal(OURS, b"payload", 5, context=b"there"), seal(OURS, b"payload", 5, context=b"here")
    assert opened(OURS, here[:9] + there[9:], b"here") is None
    assert opened(OURS, there, b"there") is not None


def test_a_recorded_datagram_shows_its_counter() -> None:
    recorded = seal(OURS, b"payload", 5)
    assert opened(OURS, recorded) == opened(OURS, recorded) == (ME, 5, b"payload")  # the caller sees that 5 is not new


def test_the_same_is_never_sealed_the_same_way() -> None:
    datagrams = {seal(OURS, b"payload", 5) for _ in range(1000)}
    assert len(datagrams) == 1000
    assert not [datagram for datagram in datagrams if b"payload" in datagram]


@pytest.mark.parametrize("keys", [OURS, None])
def test_wrong_use(keys: Key | None) -> None:
    with pytest.raises(LocalProtocolError, match=f"{MAX_PAYLOAD} bytes, not {MAX_PAYLOAD + 1}"):
        seal(keys, bytes(MAX_PAYLOAD + 1), 1)
    for counter in (-1, MAX_COUNTER):
        with pytest.raises(LocalProtocolError, match="counter"):
            seal(keys, b"", counter)
    with pytest.raises(LocalProtocolError, match="sender has 8 bytes, not 3"):
        seal(keys, b"", 1, sender=b"abc")
