"""Datagrams that nobody else can make: opened if they are as they were sealed, else not, whatever they are."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fission.adapters.sealing import MAX_COUNTER, MAX_PAYLOAD, open_sealed, seal
from fission.errors import LocalProtocolError


@dataclass(frozen=True)
class Key:
    pulse: bytes


OURS, OTHERS = Key(bytes(range(32))), Key(bytes(32))
EITHER = st.sampled_from([OURS, None])
COUNTERS = st.integers(0, MAX_COUNTER - 1)
PAYLOADS = st.binary(max_size=200) | st.sampled_from([b"", bytes(MAX_PAYLOAD)])


@given(EITHER, PAYLOADS, COUNTERS)
def test_what_is_sealed_can_be_opened(keys: Key | None, payload: bytes, counter: int) -> None:
    datagram = seal(keys, payload, counter)
    assert open_sealed(keys, datagram) == (counter, payload)
    assert len(datagram) <= 1280 - 48


@given(EITHER, PAYLOADS, COUNTERS, st.data())
def test_what_is_cut_or_longer_cannot(keys: Key | None, payload: bytes, counter: int, data: st.DataObject) -> None:
    datagram = seal(keys, payload, counter)
    assert open_sealed(keys, datagram[: data.draw(st.integers(0, len(datagram) - 1))]) is None
    assert open_sealed(keys, datagram + data.draw(st.binary(min_size=1, max_size=2000))) is None


def test_no_bit_can_be_changed() -> None:
    datagram = seal(OURS, b"node 4, free: 30 %", 77)
    for bit in range(len(datagram) * 8):
        changed = bytearray(datagram)
        changed[bit // 8] ^= 1 << bit % 8
        assert open_sealed(OURS, bytes(changed)) is None


@given(st.binary(max_size=2000) | st.binary(min_size=41, max_size=100).map(lambda rest: b"\x01" + rest))
def test_noise_is_not_opened(noise: bytes) -> None:
    assert open_sealed(OURS, noise) is None


@given(st.binary(max_size=100).map(lambda rest: b"\x00" + rest) | st.binary(max_size=2000))
def test_noise_without_keys_raises_nothing(noise: bytes) -> None:
    opened = open_sealed(None, noise)
    assert opened is None or seal(None, opened[1], opened[0]) == noise


@pytest.mark.parametrize(("made", "opened"), [(OTHERS, OURS), (None, OURS), (OURS, None), (OURS, OTHERS)])
def test_only_who_has_the_keys_can_make_it(made: Key | None, opened: Key | None) -> None:
    assert open_sealed(opened, seal(made, b"payload", 1)) is None


def test_what_is_recorded_shows_its_counter() -> None:
    recorded = seal(OURS, b"payload", 5)
    assert open_sealed(OURS, recorded) == open_sealed(OURS, recorded) == (5, b"payload")  # the caller sees that 5 is not new


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
