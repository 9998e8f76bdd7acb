"""Packed blocks: blocks of one length that travel as one piece of memory arrive as if each had been sent alone."""

from __future__ import annotations

import math
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fission.errors import LocalProtocolError, RemoteProtocolError
from fission.protocol import frames
from fission.protocol.align import Aligner
from fission.protocol.endpoint_effects import SendData
from fission.protocol.frames import Buffer
from fission.protocol.inputs import InputSpec
from fission.protocol.joined import join, separate, take_column
from fission.protocol.large_blocks import Leased
from fission.protocol.link_messages import Data, Open
from fission.protocol.output import Output
from fission.protocol.packed import Packed, pack_into, pieces
from fission.protocol.shared_blocks import SMALLEST_BYTES, Descriptor
from fission.protocol.window import SendWindow
from tests.protocol.caught import assert_caught

SIZE = 3
#: What a job or a program gives: blocks one by one, runs of blocks, and numbers that do not exist.
STEPS = st.lists(st.tuples(st.sampled_from(["one", "run", "gap", "head", "flush"]), st.integers(1, 9)), max_size=20)


def block(number: int) -> bytes:
    return b"%03d" % (number % 1000)


def sent(kind: type[Output], steps: list[tuple[str, int]]) -> tuple[list[Data], dict[int, tuple[bytes, int]]]:
    """Put blocks; return the messages of an output, and what each number stands for."""
    one = kind(7, 1, SendWindow(4096, 1 << 30))
    one.packs = True
    one.open()
    one.hold_until = math.inf
    expected: dict[int, tuple[bytes, int]] = {}
    for what, count in steps:
        number = one.last_number + 1
        if what == "run":
            data = b"".join(block(number + index) for index in range(count))
            one.send_packed(memoryview(data), SIZE)
            expected |= {number + index: (block(number + index), 0) for index in range(count)}
        elif what == "gap":
            one.seek(number + count)
        elif what == "flush":
            one.flush()
        else:
            head = count if what == "head" else 0
            one.add(block(number), head, 0.0)
            expected[number] = block(number), head
    one.flush()
    messages = [frames.decode(effect.message) for effect in one.effects if isinstance(effect, SendData)]
    return [message for message in messages if isinstance(message, Data)], expected


def check_output(kind: type[Output], steps: list[tuple[str, int]]) -> None:
    messages, expected = sent(kind, steps)
    found: dict[int, tuple[bytes, int]] = {}
    for message in messages:
        for index, payload in enumerate(separate(message.payloads)):
            assert message.sqn + index not in found
            found[message.sqn + index] = payload, message.heads[index] if message.heads else 0
    assert list(found) == sorted(found)
    assert found == expected


@given(STEPS)
def test_blocks_have_the_same_numbers_and_bytes_packed_or_not(steps: list[tuple[str, int]]) -> None:
    check_output(Output, steps)


class Overtakes(Output):
    """Sends a run before the blocks that were put earlier and are held back."""

    def send_packed(self, data: Any, size: int) -> None:
        held, self.pending[:] = self.pending[:], []
        super().send_packed(data, size)
        self.pending[:] = held


class CountsMessages(Output):
    """Gives a run one number."""

    def send_packed(self, data: Any, size: int) -> None:
        super().send_packed(data, len(data))


class Memory:
    """Blocks that an output has put into shared memory."""

    readers = (0,)
    handed_on = False

    def __init__(self, blocks: list[bytes]) -> None:
        self._data = bytearray(len(blocks) * len(blocks[0]))
        pack_into(self._data, blocks)
        self.nbytes = len(self._data)

    def view(self) -> memoryview:
        return memoryview(self._data)

    def pack(self, reader: int) -> bytes:
        return Descriptor("fission-x-1.1-0", 1, 4096, self.nbytes, 5, reader).pack()


@pytest.mark.parametrize("near", [True, False])
@pytest.mark.parametrize("lends", [True, False])
def test_many_blocks_together_are_in_shared_memory_if_the_consumer_is_near(near: bool, lends: bool) -> None:
    size, blocks = SMALLEST_BYTES // 4, [bytes([number]) * (SMALLEST_BYTES // 4) for number in range(6)]
    one = Output(7, 1, SendWindow(4096, 1 << 30))
    one.open()
    one.packs, one.near, one.hold_until = True, near, math.inf
    one.lend = Memory if lends else lambda blocks: None
    one.allow = 256
    for data in blocks:
        one.add(data, 0, 0.0)
    one.flush()
    assert one.window.used == 6 * size
    messages = [effect.message for effect in one.effects if isinstance(effect, SendData)]
    decoded = frames.decode(messages[-1])
    assert isinstance(decoded, Data)
    assert len(decoded.payloads) == 6
    assert isinstance(decoded.payloads[0][0].payload, Descriptor) == (near and lends)
    if isinstance(messages[-1], Leased):  # a new incarnation of the consumer, on another machine
        decoded = frames.decode(messages[-1].for_afar())
        assert isinstance(decoded, Data)
    assert separate(decoded.payloads) == blocks


@pytest.mark.parametrize("broken", [Overtakes, CountsMessages])
def test_broken_outputs_are_caught(broken: type[Output]) -> None:
    assert_caught(lambda steps: check_output(broken, steps), STEPS)


# -- at the consumer


def columns(steps: list[tuple[str, int]], had: int, limit: int) -> tuple[list[list[Any]], list[bytes]]:
    """Return the columns that a job takes whose aligner begins after ``had`` blocks, and the blocks in them."""
    messages, expected = sent(Output, [step for step in steps if step[0] != "head"])
    aligner = Aligner([InputSpec(7, dummy=lambda: b"???")])
    aligner.open(Open(7, 1, 0, 0))
    aligner.begin(had + 1)
    for message in messages:
        aligner.data(message)
    taken, last = [], 0
    while batch := aligner.take(limit):
        taken.append(batch.columns[0])
        last = batch.numbers[-1]
    return taken, [expected.get(number, (b"???", 0))[0] for number in range(had + 1, last + 1)]


@given(STEPS, st.integers(0, 9), st.integers(1, 9))
def test_what_a_job_takes_is_what_was_put_with_dummies_for_gaps(steps: list[tuple[str, int]], had: int, limit: int) -> None:
    taken, expected = columns(steps, had, limit)
    values: list[bytes] = []
    for column in taken:
        run = take_column(column) if type(column[0]) is tuple else None
        values += separate(column) if run is None else run
    assert values == expected


def check_pieces(steps: list[tuple[str, int]], had: int, limit: int, cut: Any = pieces) -> None:
    taken, expected = columns(steps, had, limit)
    data = b""
    for column in taken:
        found = cut(column)
        if found is None:
            assert any(type(payload) is not tuple for payload in column)
            data += b"".join(separate(column))
        else:
            assert all(size == SIZE for _, size in found)
            data += b"".join(view for view, _ in found)
    assert data == b"".join(expected)


@given(STEPS, st.integers(0, 9), st.integers(1, 9))
def test_the_pieces_of_a_column_are_its_blocks(steps: list[tuple[str, int]], had: int, limit: int) -> None:
    check_pieces(steps, had, limit)


def test_whole_messages_in_place_of_their_parts_are_caught() -> None:
    def whole(column: list[Any]) -> Any:
        return (
            None if pieces(column) is None else [(packed.view(0, packed.count), SIZE) for packed in dict.fromkeys(one for one, _ in column)]
        )

    assert_caught(lambda drawn: check_pieces(*drawn, whole), st.tuples(STEPS, st.integers(0, 9), st.integers(1, 9)))


def test_a_block_is_taken_alone_and_again() -> None:
    blocks = Packed(memoryview(b"abcdef"), 2, 3).blocks()
    packed = blocks[0][0]
    assert [packed.take(1), packed.take(1), packed.take_run(1, 2)] == [b"cd", b"cd", (b"cd", b"ef")]
    assert packed.view(1).readonly
    assert take_column(blocks[1:]) == (b"cd", b"ef")
    assert pieces([blocks[0], blocks[0]]) == [(b"ab", 2), (b"ab", 2)]
    assert pieces([blocks[0], b"xx"]) is None


# -- on the wire


def test_a_message_of_packed_blocks_is_strict() -> None:
    frame = frames.encode_packed(7, 2, 3, 10, 2, 6, [b"abcd", b"ef"])
    data = frames.decode([frame])
    assert isinstance(data, Data)
    assert (data[:4], data.heads, separate(data.payloads)) == ((7, 2, 3, 10), None, [b"ab", b"cd", b"ef"])
    wrong: list[list[Buffer]] = [[frame[:-1]], [frame + b"g"], [frame, b"another frame"], [frame[:16] + struct.pack("<Q", 0) + frame[24:]]]
    wrong += [
        [frame[:2] + struct.pack("<H", frames.PACKED | flag) + frame[4:]] for flag in (frames.HAS_HEADS, frames.JOINED, frames.SHARED)
    ]
    for message in wrong:
        with pytest.raises(RemoteProtocolError):
            frames.decode(message)
    for size, length in ((2, 0), (2, 5), (1, frames.MAX_BLOCKS + 1)):
        with pytest.raises(LocalProtocolError):
            frames.encode_packed(7, 2, 3, 10, size, length, [bytes(length)])


@pytest.mark.parametrize("length", [6, 7])
def test_the_memory_of_packed_blocks_has_their_length(length: int) -> None:
    descriptor = Descriptor("fission-x-1.1-0", 1, 4096, length, 5)
    frame = frames.encode_packed_shared(7, 2, 3, 10, 2, 6, descriptor.pack())
    if length != 6:
        with pytest.raises(RemoteProtocolError, match="3 blocks of 2 bytes were announced; got 7 bytes"):
            frames.decode([frame])
        return
    data = frames.decode([frame])
    assert isinstance(data, Data)
    assert [(packed.payload, index) for packed, index in data.payloads] == [(descriptor, index) for index in range(3)]


def test_joined_and_packed_blocks_are_distinguished() -> None:
    joined = frames.decode([frames.encode_joined(7, 1, 0, 1, 2, join([b"ab", b"cd"]))])
    assert isinstance(joined, Data)
    assert pieces(joined.payloads) is None
