"""The bytes of a BytesPipe, which are the blocks themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from fission.core.base import collecting
from fission.core.pipes import BytesPipe
from fission.errors import ValueFitError
from fission.runtime import codec


@pytest.fixture(autouse=True)
def _registry() -> Iterator[None]:
    with collecting() as registry:
        yield
    assert not registry.faults


class Bytes(bytes):
    pass


def column(payloads: list[Any]) -> list[Any]:
    pipe = BytesPipe(1, 4)
    return list(codec.column_decoder(pipe, codec.decoder(pipe, lambda why: ValueFitError(str(why))))(payloads))


def test_blocks_that_are_bytes_are_not_copied() -> None:
    block = b"abcd"
    assert codec.encoder(BytesPipe(1, 4))(block) is block
    assert column([block, block])[1] is block


def test_other_blocks_become_bytes() -> None:
    found = column([b"abcd", memoryview(b"efgh"), [b"", memoryview(b"ijkl")]])
    assert found == [b"abcd", b"efgh", b"ijkl"]
    assert [type(one) for one in found] == [bytes] * 3


@pytest.mark.parametrize("value", [bytearray(b"abcd"), Bytes(b"abcd"), memoryview(b"abcd")])
def test_what_is_not_exactly_bytes_is_copied(value: Any) -> None:
    assert type(codec.encoder(BytesPipe(1, 4))(value)) is bytes


@pytest.mark.parametrize("value", [b"abc", b"abcde", b"", "abcd", 4])
def test_what_is_not_a_block_is_refused(value: Any) -> None:
    with pytest.raises(ValueFitError):
        codec.encoder(BytesPipe(1, 4))(value)
