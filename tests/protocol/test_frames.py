"""The codec of frames: every message round-trips, and garbage gives a message or a RemoteProtocolError."""

from __future__ import annotations

import json
import mmap
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fission.errors import LocalProtocolError, RemoteProtocolError
from fission.protocol import frames
from fission.protocol.frames import Buffer
from fission.protocol.link_messages import CLOSED, Command, Data, End, JobMessage, Message, Open, Release, Stamp, Starved, Times
from fission.protocol.messages.client_to_job import CODEC, CloseOutput, InputLine
from fission.protocol.messages.codec import MAX_BYTES
from fission.protocol.messages.job_to_client import JobWarning, SaveSnapshot
from fission.protocol.shared_blocks import ALIGNMENT, Descriptor
from fission.protocol.splitter import Splitter
from fission.protocol.stamps import Origin
from tests.protocol.caught import assert_caught

QUICK = settings(max_examples=300, deadline=None)
Decoder = Callable[[Sequence[Buffer]], Message]

# The layout as the head of frames.py documents it, written down a second time: (name, bytes), little-endian.
LAYOUT = [
    ("version", 1),
    ("kind", 1),
    ("flags", 2),
    ("pipe", 4),
    ("incarnation", 4),
    ("generation", 4),
    ("sqn", 8),
    ("count", 4),
    ("extra", 8),
]
HEADER_BYTES = sum(size for _, size in LAYOUT)


def header(**values: int) -> bytes:
    """A header with these values, 1 as version and 0 elsewhere."""
    values = {"version": 1, **values}
    return b"".join(values.get(name, 0).to_bytes(size, "little") for name, size in LAYOUT)


def numbers(*values: int) -> bytes:
    return b"".join(value.to_bytes(4, "little") for value in values)


# -- messages ---------------------------------------------------------------------------------------------------------

u32 = st.one_of(st.integers(0, 3), st.integers(0, 2**32 - 1))
sqns = st.one_of(st.integers(0, 3), st.integers(0, CLOSED))
payloads = st.lists(st.binary(max_size=8), min_size=1, max_size=5)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@st.composite
def data_messages(draw: st.DrawFn) -> Data:
    blocks = draw(payloads)
    heads = draw(st.none() | st.lists(u32, min_size=len(blocks), max_size=len(blocks)))
    return Data(draw(u32), draw(u32), draw(u32), draw(st.integers(1, 3) | st.integers(1, CLOSED - 6)), list(blocks), heads)


@st.composite
def big_messages(draw: st.DrawFn) -> Data:
    part = st.binary(max_size=8)
    block = st.builds(lambda payload, buffers: [payload, *buffers], part, st.lists(part, max_size=4))
    blocks = draw(st.lists(block, min_size=1, max_size=3))
    heads = draw(st.none() | st.lists(u32, min_size=len(blocks), max_size=len(blocks)))
    return Data(draw(u32), draw(u32), draw(u32), draw(st.integers(1, CLOSED - 4)), blocks, heads)


@st.composite
def shared_messages(draw: st.DrawFn) -> Data:
    descriptor = st.builds(
        Descriptor,
        st.sampled_from(["fission-a-1.1-0", "fission-token_2-12.345-6"]),
        st.integers(1, 2**32 - 1),
        st.integers(0, 2**40).map(lambda pages: pages * ALIGNMENT),
        st.integers(1, 2**63),
        st.integers(1, 2**63),
        st.integers(0, 2**16 - 1),
    )
    big = draw(big_messages())
    blocks = [[payload, *draw(st.lists(descriptor, max_size=3))] for payload, *_ in big.payloads]
    return big._replace(payloads=blocks)


opens = st.builds(Open, u32, u32, u32, sqns)
ends = st.builds(lambda *place, how: End(*place, final=how == 1, more=how == 2), u32, u32, u32, sqns, how=st.integers(0, 2))
starved = st.builds(Starved, u32, u32, u32, sqns)
origins = st.builds(Origin, u32, u32, st.floats(allow_nan=False, allow_infinity=False))
stamps = st.builds(
    Stamp,
    u32,
    u32,
    u32,
    st.integers(1, CLOSED - 1),
    st.lists(origins, min_size=1, max_size=4).map(lambda several: {origin.source: origin for origin in several}),
)
block_times = st.integers(1, 3).flatmap(lambda count: st.binary(min_size=32 * count, max_size=32 * count))
times = st.builds(Times, u32, u32, u32, sqns, block_times)
timed = data_messages().flatmap(
    lambda data: st.binary(min_size=32 * len(data.payloads), max_size=32 * len(data.payloads)).map(lambda times: data._replace(times=times))
)
releases = st.builds(Release, u32, u32, u32, sqns, sqns)
commands = st.builds(Command, st.builds(InputLine, line=st.text(max_size=5), first=st.booleans()) | st.builds(CloseOutput, pipe=sqns))
reports = st.builds(
    JobMessage,
    u32,
    u32,
    st.builds(SaveSnapshot, generation=sqns, block=sqns) | st.builds(JobWarning, text=st.text()),
    st.binary(max_size=9),
)
canonical = st.one_of(data_messages(), opens, ends, releases, starved, stamps, times, timed)  # one message, one row of bytes
messages = st.one_of(canonical, big_messages(), shared_messages(), commands, reports)


def encode(message: Message) -> list[Buffer]:
    if isinstance(message, Data) and type(message.payloads[0]) is list:
        place = message.pipe, message.incarnation, message.generation, message.sqn
        if any(isinstance(part, Descriptor) for block in message.payloads for part in block):
            packed = [[payload, *(descriptor.pack() for descriptor in own)] for payload, *own in message.payloads]
            return [frames.encode_shared(*place, packed, message.heads)]
        return frames.encode_big(*place, message.payloads, message.heads)
    if isinstance(message, Data):
        one = message
        frame = frames.encode_data(one.pipe, one.incarnation, one.generation, one.sqn, one.payloads, one.heads)
        return [frame if one.times is None else frames.add_times(frame, one.times)]
    if isinstance(message, Open):
        return [frames.encode_open(message)]
    if isinstance(message, End):
        return [frames.encode_end(message)]
    if isinstance(message, Release):
        return [frames.encode_release(message)]
    if isinstance(message, Starved):
        return [frames.encode_starved(message)]
    if isinstance(message, Times):
        return [frames.encode_times(message)]
    if isinstance(message, Stamp):
        return [frames.encode_stamp(message)]
    if isinstance(message, JobMessage):
        return [frames.encode_job_message(message)]
    return [frames.encode_command(message.message)]


encoded = messages.map(encode)


def decoded_or_refused(found: Sequence[Buffer], decode: Decoder = frames.decode) -> Message | None:
    """The message, or None for a RemoteProtocolError; any other error goes through and fails the test."""
    try:
        return decode(found)
    except RemoteProtocolError:
        return None


def as_bytes(part: Any) -> Any:
    return part if isinstance(part, Descriptor) else bytes(part)


# -- round trip -------------------------------------------------------------------------------------------------------


@QUICK
@given(messages, st.sampled_from([bytes, bytearray, memoryview]))
def test_encoded_frames_are_decoded(message: Message, kind: Callable[[Any], Buffer]) -> None:
    found = frames.decode([kind(frame) for frame in encode(message)])
    assert type(found) is type(message)
    if isinstance(found, Data):
        parts = [[as_bytes(part) for part in one] if type(one) is list else bytes(one) for one in found.payloads]
        found = Data(found.pipe, found.incarnation, found.generation, found.sqn, parts, found.heads, found.times)
    assert found == message


@QUICK
@given(data_messages(), st.sampled_from([bytearray, memoryview]))
def test_payloads_may_be_any_buffers(message: Data, kind: Callable[[bytes], Buffer]) -> None:
    blocks = [kind(one) for one in message.payloads]
    frame = frames.encode_data(message.pipe, message.incarnation, message.generation, message.sqn, blocks, message.heads)
    assert [frame] == encode(message)


def test_the_bytes_are_the_documented_ones() -> None:
    place = {"pipe": 7, "incarnation": 2, "generation": 3}
    assert encode(Data(7, 2, 3, 5, [b"ab"])) == [header(kind=1, sqn=5, count=1, **place) + numbers(2) + b"ab"]
    assert encode(Data(7, 2, 3, 5, [b"ab", b"", b"c"])) == [header(kind=1, sqn=5, count=3, **place) + numbers(2, 0, 1) + b"abc"]
    with_heads = header(kind=1, flags=1, sqn=5, count=2, **place) + numbers(128, 0) + numbers(1, 1) + b"xy"
    assert encode(Data(7, 2, 3, 5, [b"x", b"y"], [128, 0])) == [with_heads]
    big = header(kind=1, flags=2, sqn=5, count=1, extra=2, **place) + numbers(1, 3, 0) + b"p"
    assert encode(Data(7, 2, 3, 5, [[b"p", b"abc", b""]])) == [big, b"abc", b""]
    big = header(kind=1, flags=3, sqn=5, count=1, extra=1, **place) + numbers(9) + numbers(1, 3) + b"p"
    assert encode(Data(7, 2, 3, 5, [[b"p", b"abc"]], [9])) == [big, b"abc"]
    several = header(kind=1, flags=3, sqn=5, count=2, extra=3, **place) + numbers(9, 0) + numbers(1, 2) + numbers(1, 3, 2, 0, 4) + b"pqq"
    assert encode(Data(7, 2, 3, 5, [[b"p", b"abc"], [b"qq", b"", b"defg"]], [9, 0])) == [several, b"abc", b"", b"defg"]
    where = Descriptor("fission-a-1.1-0", 3, 8192, 70_000, 99, 1)
    shared = header(kind=1, flags=4, sqn=5, count=1, extra=1, **place) + numbers(1, len(where.pack())) + b"p" + where.pack()
    assert encode(Data(7, 2, 3, 5, [[b"p", where]])) == [shared]
    shared = header(kind=1, flags=4, sqn=5, count=2, extra=1, **place) + numbers(0, 1) + numbers(2, 1, len(where.pack()))
    assert encode(Data(7, 2, 3, 5, [[b"no"], [b"p", where]])) == [shared + b"nop" + where.pack()]
    assert encode(Open(7, 2, 3, 5)) == [header(kind=2, sqn=5, **place)]
    assert encode(End(7, 2, 3, 5)) == [header(kind=3, sqn=5, **place)]
    assert encode(End(7, 2, 3, 5, final=True)) == [header(kind=3, sqn=5, extra=1, **place)]
    assert encode(End(7, 2, 3, 5, more=True)) == [header(kind=3, sqn=5, extra=2, **place)]
    assert encode(Starved(7, 2, 3, 5)) == [header(kind=7, sqn=5, **place)]
    stamp = header(kind=8, sqn=5, count=1, **place) + struct.pack("<IId", 9, 4, 0.5)
    assert encode(Stamp(7, 2, 3, 5, {9: Origin(9, 4, 0.5)})) == [stamp]
    assert encode(Release(7, 2, 3, 5, 6)) == [header(kind=4, sqn=5, extra=6, **place)]
    assert encode(Release(7, 2, 3, 5, 6, had=True)) == [header(kind=4, flags=8, sqn=5, extra=6, **place)]
    (command,) = encode(Command(InputLine(line="é")))
    text = bytes(command[HEADER_BYTES:])
    assert json.loads(text) == {"type": "input_line", "line": "é", "first": True, "last": True}
    assert command[:HEADER_BYTES] == header(kind=5, count=len(text))
    (report,) = encode(JobMessage(7, 2, SaveSnapshot(generation=0, block=5), b"state"))
    assert bytes(report[HEADER_BYTES:]) == b'{"type":"save_snapshot","generation":0,"block":5}state'
    assert report[:HEADER_BYTES] == header(kind=6, pipe=7, incarnation=2, count=len(report) - HEADER_BYTES - 5, extra=5)


def test_buffers_are_not_copied() -> None:
    buffer = bytearray(b"x" * 100_000)
    found = frames.decode(frames.encode_big(1, 1, 0, 1, [[b"p", buffer]], None))
    assert isinstance(found, Data)
    assert found.payloads[0][1] is buffer


# -- damage -----------------------------------------------------------------------------------------------------------


def check_refuses_every_other_length(found: list[Buffer], decode: Decoder = frames.decode) -> None:
    """No frame may be one byte shorter or longer, or more, and none may be missing, added or twice."""
    for index, frame in enumerate(found):
        whole = bytes(frame)
        for damaged in [*(whole[:end] for end in range(len(whole))), whole + b"\0", whole + whole]:
            if damaged == whole:
                continue  # an empty buffer that was doubled
            assert decoded_or_refused([*found[:index], damaged, *found[index + 1 :]], decode) is None
        assert decoded_or_refused([*found[:index], *found[index + 1 :]], decode) is None
        assert decoded_or_refused([*found[:index], frame, *found[index:]], decode) is None
    assert decoded_or_refused([*found, b""], decode) is None


@QUICK
@given(encoded)
def test_every_truncation_and_extension_is_refused(found: list[Buffer]) -> None:
    check_refuses_every_other_length(found)


@QUICK
@given(encoded, st.data())
def test_a_flipped_bit_gives_a_message_or_is_refused(found: list[Buffer], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(found) - 1))
    damaged = bytearray(found[index])
    if damaged:
        # most of a message is payload, where a bit does not matter; the header is where it does
        bit = data.draw(st.integers(0, min(len(damaged), HEADER_BYTES + 8) * 8 - 1) | st.integers(0, len(damaged) * 8 - 1))
        damaged[bit // 8] ^= 1 << bit % 8
    decoded_or_refused([*found[:index], bytes(damaged), *found[index + 1 :]])


def check_reads_one_way(found: Sequence[Buffer], decode: Decoder = frames.decode) -> None:
    """Decoded messages are encoded as the same bytes: no part of a frame is ignored, and no number is misread."""
    message = decoded_or_refused(found, decode)
    if message is None or isinstance(message, Command | JobMessage):
        return  # JSON can be written in many ways
    if isinstance(message, Data) and type(message.payloads[0]) is list and message.heads == [0]:
        return  # as can one head that is 0
    assert [bytes(frame) for frame in encode(message)] == [bytes(frame) for frame in found]


def near(*values: int) -> st.SearchStrategy[int]:
    return st.sampled_from([near for value in values for near in (value - 1, value, value + 1) if near >= 0])


@st.composite
def plausible(draw: st.DrawFn) -> list[bytes]:
    """A header of values at their limits, followed by a possible body."""
    count = draw(st.integers(0, 3) | near(2**32 - 2, frames.MAX_BLOCKS))
    extra = draw(st.integers(0, 3) | near(2**64 - 2, CLOSED, frames.MAX_BUFFERS))
    first = header(
        version=draw(st.sampled_from([1, 1, 1, 0, 2, 255])),
        kind=draw(st.integers(0, 6)),
        flags=draw(st.integers(0, 4) | near(2**16 - 2)),
        pipe=draw(u32),
        incarnation=draw(u32),
        generation=draw(u32),
        sqn=draw(st.integers(0, 3) | near(2**64 - 2, CLOSED, CLOSED - 3)),
        count=count,
        extra=extra,
    )
    lengths = numbers(*draw(st.lists(st.integers(0, 4) | near(2**32 - 2), max_size=5)))
    tail = draw(st.binary(max_size=8) | st.builds(lambda one: json.dumps(one).encode(), json_values))
    return [first + lengths + tail, *draw(st.lists(st.binary(max_size=4), max_size=3))]


garbage = st.lists(st.binary(max_size=80), max_size=4) | plausible() | encoded.map(lambda found: [bytes(frame) for frame in found])


@settings(QUICK, max_examples=600)
@given(garbage)
@example([])
@example([b""])
@example([header(kind=5, count=100_002) + b"[" * 100_002])  # nested too deep for the parser
@example([header(kind=5, count=4) + b"\xff\xfe\xfd\xfc"])
def test_garbage_gives_a_message_or_is_refused(found: list[bytes]) -> None:
    check_reads_one_way(found)


# -- limits -----------------------------------------------------------------------------------------------------------


class Long(bytes):
    """Says that it is as long as no message can be, without the memory."""

    def __len__(self) -> int:
        return frames.MAX_LENGTH + 1


def test_as_many_blocks_as_are_allowed() -> None:
    found = frames.decode([frames.encode_data(1, 1, 0, 1, [b""] * frames.MAX_BLOCKS, None)])
    assert isinstance(found, Data)
    assert len(found.payloads) == frames.MAX_BLOCKS
    found = frames.decode(frames.encode_big(1, 1, 0, 1, [[b""] * (frames.MAX_BUFFERS + 1)], None))
    assert isinstance(found, Data)
    assert len(found.payloads[0]) == frames.MAX_BUFFERS + 1
    longest = InputLine(line="x" * (MAX_BYTES - len(CODEC.encode(InputLine(line="")))))
    assert frames.decode([frames.encode_command(longest)]) == Command(longest)


@pytest.mark.parametrize(
    "encode_it",
    [
        lambda: frames.encode_data(1, 1, 0, 1, [], None),
        lambda: frames.encode_data(1, 1, 0, 1, [b""] * (frames.MAX_BLOCKS + 1), None),
        lambda: frames.encode_data(1, 1, 0, 1, [b"", b""], [0]),
        lambda: frames.encode_data(1, 1, 0, 1, [b""], [0, 0]),
        lambda: frames.encode_data(1, 1, 0, 1, [b""], [2**32]),
        lambda: frames.encode_data(1, 1, 0, 1, [b""], [-1]),
        lambda: frames.encode_data(1, 1, 0, 1, [Long()], None),
        lambda: frames.encode_data(1, 1, 0, 1, [b"", Long()], None),
        lambda: frames.encode_data(2**32, 1, 0, 1, [b""], None),
        lambda: frames.encode_data(1, -1, 0, 1, [b"", b""], None),
        lambda: frames.encode_data(1, 1, 2**32, 1, [b""], [3]),
        lambda: frames.encode_data(1, 1, 0, -1, [b""], None),
        lambda: frames.encode_data(1, 1, 0, 2**64, [b""], None),
        lambda: frames.encode_big(1, 1, 0, 1, [[b""] * (frames.MAX_BUFFERS + 2)], None),
        lambda: frames.encode_big(1, 1, 0, 1, [[b"", b""]], [2**32]),
        lambda: frames.encode_big(1, 1, 0, 2**64, [[b"", b""]], None),
        lambda: frames.encode_open(Open(2**32, 1, 0, 0)),
        lambda: frames.encode_open(Open(1, 1, 0, -1)),
        lambda: frames.encode_end(End(1, 1, -1, 0)),
        lambda: frames.encode_release(Release(1, 1, 0, 0, 2**64)),
        lambda: frames.encode_command(InputLine(line="x" * MAX_BYTES)),
        lambda: frames.encode_job_message(JobMessage(1, 1, JobWarning(text="x" * MAX_BYTES))),
        lambda: frames.encode_job_message(JobMessage(2**32, 1, JobWarning(text="x"))),
        lambda: frames.encode_job_message(JobMessage(1, -1, JobWarning(text="x"))),
    ],
)
def test_encoding_an_impossible_message_is_a_local_error(encode_it: Callable[[], object]) -> None:
    with pytest.raises(LocalProtocolError):
        encode_it()


def test_a_buffer_that_is_too_long(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb+") as file:
        file.truncate(frames.MAX_LENGTH + 1)
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as huge, memoryview(huge) as view:
            with pytest.raises(LocalProtocolError):
                frames.encode_big(1, 1, 0, 1, [[b"", view]], None)
            with pytest.raises(LocalProtocolError):
                Splitter.join(view)


DATA = {"kind": 1, "pipe": 1, "incarnation": 1, "count": 1, "sqn": 1}
REFUSED = {
    "no blocks": [header(**{**DATA, "count": 0})],
    "too many blocks": [header(**{**DATA, "count": frames.MAX_BLOCKS + 1}) + bytes(4 * frames.MAX_BLOCKS + 4)],
    "a block 0": [header(**{**DATA, "sqn": 0}) + numbers(0)],
    "numbers beyond the last": [header(**{**DATA, "sqn": CLOSED}) + numbers(0)],
    "too many buffers": [
        header(**DATA, flags=2, extra=frames.MAX_BUFFERS + 1) + bytes(4 * frames.MAX_BUFFERS + 8),
        *[b""] * (frames.MAX_BUFFERS + 1),
    ],
    "fewer buffers than the blocks have": [header(**{**DATA, "count": 2}, flags=2, extra=1) + numbers(1, 1) + numbers(0, 0, 0), b""],
    "more buffers than the blocks have": [header(**{**DATA, "count": 2}, flags=2, extra=1) + numbers(0, 0) + numbers(0, 0, 0), b""],
    "a descriptor that is none": [header(**DATA, flags=4, extra=1) + numbers(0, 3) + b"abc"],
    "buffers in two ways": [header(**DATA, flags=6, extra=1) + numbers(0, 0), b""],
    "buffers without the flag": [header(**DATA, extra=1) + numbers(0, 0), b""],
    "a buffer of another length": [header(**DATA, flags=2, extra=1) + numbers(0, 2), b"x"],
    "an unknown flag": [header(**DATA, flags=8) + numbers(0)],
    "an unknown version": [header(version=2, kind=2)],
    "kind 0": [header(kind=0)],
    "an unknown kind": [header(kind=8)],
    "an end of an unknown sort": [header(kind=3, extra=3)],
    "flags of a mark": [header(kind=2, flags=1)],
    "a mark with a count": [header(kind=2, count=1)],
    "a mark with a second number": [header(kind=2, extra=1)],
    "an end of two frames": [header(kind=3), b""],
    "a release beyond the last number": [header(kind=4, sqn=CLOSED + 1)],
    "taken beyond the last number": [header(kind=4, extra=CLOSED + 1)],
    "a command that is not JSON": [header(kind=5, count=1) + b"{"],
    "a command that is not an object": [header(kind=5, count=2) + b"[]"],
    "a command without a type": [header(kind=5, count=2) + b"{}"],
    "a command whose type is not a string": [header(kind=5, count=10) + b'{"type":1}'],
    "a report as a command": [header(kind=5, count=32) + b'{"type":"lines_taken","lines":1}'],
    "a command as a report": [header(kind=6, count=25) + b'{"type":"repeat_reports"}'],
    "a report with less than it announces": [header(kind=6, count=32, extra=2) + b'{"type":"lines_taken","lines":1}x'],
    "a command that is too long": [
        header(kind=5, count=MAX_BYTES + 1) + b'{"type":"repeat_reports"}'.ljust(MAX_BYTES + 1),
    ],
}


@pytest.mark.parametrize("found", REFUSED.values(), ids=REFUSED)
def test_what_is_refused(found: list[Buffer]) -> None:
    with pytest.raises(RemoteProtocolError):
        frames.decode(found)


# -- a byte stream ----------------------------------------------------------------------------------------------------


NOTHING = st.just(b"")


@st.composite
def streams(draw: st.DrawFn, last: st.SearchStrategy[bytes] = NOTHING) -> tuple[list[bytes], list[bytes]]:
    """Draw (messages, received parts: the stream and a continuation, cut anywhere)."""
    whole = draw(st.lists(st.binary(max_size=12), max_size=5))
    stream = b"".join(map(Splitter.join, whole)) + draw(last)
    cuts = sorted(draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    return whole, [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]


LIMIT = 12


def check_splits(arrived: tuple[list[bytes], list[bytes]], make: Callable[[int], Splitter] = Splitter) -> None:
    whole, pieces = arrived
    splitter = make(LIMIT)
    found: list[bytes] = []
    seen = 0
    for piece in pieces:
        found += splitter.feed(piece)
        seen += len(piece)
        # at any moment: all messages that are whole, and what is left over
        complete: list[bytes] = []
        end = 0
        for message in whole:
            if end + 4 + len(message) > seen:
                break
            end += 4 + len(message)
            complete.append(message)
        assert found == complete
        assert splitter.pending == seen - end
    assert found == whole


@QUICK
@given(streams())
def test_a_stream_may_be_split_anywhere(arrived: tuple[list[bytes], list[bytes]]) -> None:
    check_splits(arrived)


@QUICK
@given(streams(), st.sampled_from([bytearray, memoryview]))
def test_a_stream_of_any_buffers(arrived: tuple[list[bytes], list[bytes]], kind: Callable[[bytes], Buffer]) -> None:
    whole, pieces = arrived
    splitter = Splitter()
    assert [message for piece in pieces for message in splitter.feed(kind(piece))] == whole
    assert [bytes(message) for one in whole for message in Splitter().feed(Splitter.join(kind(one)))] == whole


@QUICK
@given(streams(st.integers(LIMIT + 1, 2**32 - 1).map(numbers)), st.binary(max_size=20))
def test_a_message_that_is_too_long_breaks_the_stream(arrived: tuple[list[bytes], list[bytes]], more: bytes) -> None:
    whole, pieces = arrived
    splitter = Splitter(LIMIT)
    found: list[bytes] = []

    def feed_all() -> None:
        for piece in pieces:
            found.extend(splitter.feed(piece))

    with pytest.raises(RemoteProtocolError, match="at most 12 bytes"):
        feed_all()
    assert found == whole[: len(found)]
    for piece in (more, Splitter.join(b"ok")):
        with pytest.raises(RemoteProtocolError, match="at most 12 bytes"):
            splitter.feed(piece)


# -- the tests are tested ---------------------------------------------------------------------------------------------


def test_a_decoder_that_ignores_what_follows_is_caught() -> None:
    def ignores_the_rest(found: Sequence[Buffer]) -> Message:
        for end in range(len(found[0]) + 1):
            message = decoded_or_refused([found[0][:end], *found[1:]])
            if message is not None:
                return message
        raise RemoteProtocolError("none")

    assert_caught(lambda found: check_refuses_every_other_length(found, ignores_the_rest), encoded)
    assert_caught(lambda found: check_reads_one_way(found, ignores_the_rest), garbage)


def test_a_decoder_that_trusts_the_header_is_caught() -> None:
    def trusts(found: Sequence[Buffer]) -> Message:
        if bytes(found[0][1:2]) == b"\2":
            pipe, incarnation, generation, mark = struct.unpack_from("<IIIQ", found[0], 4)  # struct.error if it is too short
            return Open(pipe, incarnation, generation, mark)
        return frames.decode(found)

    assert_caught(lambda found: check_refuses_every_other_length(found, trusts), encoded)
    assert_caught(lambda found: check_reads_one_way(found, trusts), garbage)


def test_a_decoder_that_fills_up_lengths_is_caught() -> None:
    def fills_up(found: Sequence[Buffer]) -> Message:
        try:
            return frames.decode(found)
        except RemoteProtocolError:
            return frames.decode([bytes(found[0]) + b"\0", *found[1:]])

    assert_caught(lambda found: check_refuses_every_other_length(found, fills_up), encoded)


def test_a_splitter_that_expects_whole_lengths_is_caught() -> None:
    class ForgetsHalfALength(Splitter):
        def feed(self, data: Buffer) -> list[bytes]:
            found = super().feed(data)
            if self.pending < 4:
                self._rest.clear()
            return found

    assert_caught(lambda arrived: check_splits(arrived, ForgetsHalfALength), streams())


def test_a_splitter_that_gives_one_message_at_a_time_is_caught() -> None:
    class OneAtATime(Splitter):
        def __init__(self, limit: int) -> None:
            super().__init__(limit)
            self._found: list[bytes] = []

        def feed(self, data: Buffer) -> list[bytes]:
            self._found += super().feed(data)
            return [self._found.pop(0)] if self._found else []

    assert_caught(lambda arrived: check_splits(arrived, OneAtATime), streams())
