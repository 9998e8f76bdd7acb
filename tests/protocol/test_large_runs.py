"""Blocks with large buffers that do not go through shared memory: they share messages, in order and whole, with any others between."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fission.protocol import frames
from fission.protocol.endpoint_effects import SendData
from fission.protocol.frames import Buffer
from fission.protocol.link_messages import Data
from fission.protocol.output import Output
from fission.protocol.pacing import COALESCE_BYTES, COALESCE_FAR_BYTES
from fission.protocol.window import SendWindow
from tests.protocol.caught import assert_caught

KB = 1 << 10
BUFFER = 64 * KB
SIZES = (BUFFER, 3 * BUFFER, 15 * BUFFER, 17 * BUFFER)


class Lent:
    """A buffer in shared memory that no consumer here may read."""

    handed_on = False
    readers: tuple[int, ...] = ()

    def __init__(self, data: bytes) -> None:
        self.data, self.nbytes = data, len(data)

    def view(self) -> memoryview:
        return memoryview(self.data)

    def pack(self, reader: int) -> bytes:
        raise AssertionError("it was not lent to this reader")


def payload_of(number: int, kind: str, size: int) -> bytes | list[Any]:
    head = b"block %d" % number
    data = bytes([number % 256]) * size
    return head if kind == "small" else [head, Lent(data)] if kind == "lent" else [head, data]


def sent(make: Callable[..., Output], blocks: list[tuple[str, int]], *, near: bool = False, held: bool = True) -> list[Data]:
    """Return the messages of these blocks."""
    one = make(7, 1, SendWindow[list[Buffer]](10_000, 1 << 30))
    one.open()
    one.near = near
    one.effects.clear()
    one.hold_until = 1.0 if held else -1.0
    for number, (kind, size) in enumerate(blocks, 1):
        one.add(payload_of(number, kind, size), number % 3, 0.0)
    one.flush()
    found = []
    for effect in one.effects:
        if isinstance(effect, SendData):
            message = frames.decode([bytes(part) for part in effect.message])
            assert isinstance(message, Data)
            found.append(message)
    return found


def check(blocks: list[tuple[str, int]], make: Callable[..., Output] = Output, *, near: bool = False) -> None:
    """Each block arrives once, in order, with its buffers and its head, in a message that is not much larger than the limit."""
    arrived: list[tuple[bytes, ...]] = []
    limit = COALESCE_BYTES if near else COALESCE_FAR_BYTES
    shared = near and any(kind == "lent" for kind, _ in blocks)  # of those, usually only descriptors are sent
    for message in sent(make, blocks, near=near):
        assert message.sqn == len(arrived) + 1
        parts = [tuple(bytes(part) for part in ([one] if isinstance(one, (bytes, memoryview)) else one)) for one in message.payloads]
        assert len(parts) == 1 or shared or sum(len(part) for block in parts for part in block) < 2 * limit
        heads = list(message.heads or [0] * len(parts))
        assert heads == [(len(arrived) + offset) % 3 for offset in range(1, len(parts) + 1)]
        arrived += parts
    wanted = []
    for number, (kind, size) in enumerate(blocks, 1):
        head, *rest = [payload_of(number, "small", 0), *([bytes([number % 256]) * size] if kind != "small" else [])]
        wanted.append((head, *rest))
    assert arrived == wanted


def some(*kinds: str) -> st.SearchStrategy[list[tuple[str, int]]]:
    """Blocks of these kinds."""
    return st.lists(st.tuples(st.sampled_from(kinds), st.sampled_from(SIZES)), min_size=1, max_size=12)


BLOCKS = some("small", "large", "lent")


@given(BLOCKS, st.booleans())
def test_blocks_of_all_kinds_arrive_once_in_order(blocks: list[tuple[str, int]], near: bool) -> None:
    check(blocks, near=near)


class SmallFirst(Output):
    """Sends the small ones of the held blocks first, which makes fewer messages."""

    def _send_in_runs(self, blocks: list[Any], heads: list[int] | None) -> None:
        super()._send_in_runs(sorted(blocks, key=lambda block: isinstance(block, list)), heads)


class Miscounts(Output):
    """Numbers the blocks as if each message had one."""

    def _send(self, message: list[Buffer], count: int, size: int) -> None:
        super()._send(message, 1, size)


class NoLimit(Output):
    """Gathers large blocks without looking at their size."""

    def _weight(self, payload: list[Any]) -> int:
        return len(payload)


class FarEverywhere(Output):
    """Gathers as many large blocks for a consumer on this machine as for one on another."""

    def _weight(self, payload: list[Any]) -> int:
        near, self.near = self.near, False
        weight = super()._weight(payload)
        self.near = near
        return weight


@pytest.mark.parametrize(
    ("broken", "near"), [(SmallFirst, False), (Miscounts, False), (NoLimit, False), (NoLimit, True), (FarEverywhere, True)]
)
def test_broken_variants_are_caught(broken: type[Output], near: bool) -> None:
    assert_caught(lambda blocks: check(blocks, broken, near=near), some("small", "large") if near else BLOCKS)


def test_blocks_of_64_kb_share_a_message_and_larger_ones_have_their_own() -> None:
    count = lambda blocks, **how: [len(message.payloads) for message in sent(Output, blocks, **how)]  # noqa: E731
    assert count([("large", BUFFER)] * 10, near=True) == [4, 4, 2]
    assert count([("large", BUFFER)] * 40) == [16, 16, 8]
    assert count([("large", COALESCE_BYTES)] * 3, near=True) == [1, 1, 1]
    assert count([("large", COALESCE_BYTES)] * 5) == [4, 1]
    assert count([("large", COALESCE_FAR_BYTES)] * 3) == [1, 1, 1]
    assert count([("large", BUFFER)] * 3, held=False) == [1, 1, 1]  # each comes after a pause
