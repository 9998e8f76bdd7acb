"""Descriptors, names, the layout of segments, and the free memory of one."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fission.errors import LocalProtocolError, RemoteProtocolError
from fission.protocol import shared_blocks
from fission.protocol.shared_blocks import ALIGNMENT, INCARNATIONS, MARK_BYTES, MAX_INCARNATION, STAMP_BYTES, Descriptor, Extents
from tests.protocol.caught import assert_caught

BIG = st.integers(1, 2**64 - 1)
DESCRIPTORS = st.builds(
    Descriptor,
    segment=st.from_regex(r"fission-[A-Za-z0-9_]{1,20}-[0-9]{1,5}\.[0-9]{1,5}-[0-9]{1,3}", fullmatch=True),
    slot=st.integers(1, 2**32 - 1),
    offset=st.integers(0, 2**40).map(lambda pages: pages * ALIGNMENT),
    length=BIG,
    stamp=BIG,
    reader=st.integers(0, 2**16 - 1),
    handed_on=st.booleans(),
)

# -- descriptors ------------------------------------------------------------------------------------------------------


@given(DESCRIPTORS)
def test_a_descriptor_survives_its_journey(descriptor: Descriptor) -> None:
    packed = descriptor.pack()
    assert Descriptor.unpack(packed) == Descriptor.unpack(memoryview(packed)) == Descriptor.unpack(bytearray(packed)) == descriptor


@given(DESCRIPTORS, st.data())
def test_cut_or_longer_descriptors_are_refused(descriptor: Descriptor, data: st.DataObject) -> None:
    packed = descriptor.pack()
    with pytest.raises(RemoteProtocolError):
        Descriptor.unpack(packed[: data.draw(st.integers(0, len(packed) - 1))])
    with pytest.raises(RemoteProtocolError):
        Descriptor.unpack(packed + data.draw(st.binary(min_size=1, max_size=4)))


@given(DESCRIPTORS.map(Descriptor.pack), st.integers(0, 50), st.binary(min_size=1, max_size=4))
def test_damaged_descriptors_are_refused_or_unchanged(packed: bytes, position: int, damage: bytes) -> None:
    damaged = packed[:position] + damage + packed[position + len(damage) :]
    try:
        descriptor = Descriptor.unpack(damaged)
    except RemoteProtocolError:
        return
    assert descriptor.pack() == damaged


@given(st.binary(max_size=200))
@example(b"")
def test_garbage_is_refused(garbage: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        Descriptor.unpack(garbage)


@pytest.mark.parametrize(
    "change",
    [
        {"segment": "fission-x-1.1-0/../../etc"},
        {"segment": "../fission-x-1.1-0"},
        {"segment": "other-x-1.1-0"},
        {"segment": "fission-x-1.1-0\n"},
        {"segment": "fission-x-1.1-\u0661"},
        {"segment": ""},
        {"slot": 0},
        {"offset": 100},
        {"length": 0},
        {"stamp": 0},
    ],
)
def test_descriptors_that_no_producer_sends_are_refused(change: dict[str, object]) -> None:
    good = Descriptor("fission-x-1.1-0", 1, ALIGNMENT, 5, 7)
    assert Descriptor.unpack(good.pack()) == good
    with pytest.raises(RemoteProtocolError):
        Descriptor.unpack(good._replace(**change).pack())  # type: ignore[arg-type]


# -- names ------------------------------------------------------------------------------------------------------------


def test_names_are_taken_apart_as_they_were_made() -> None:
    owner = shared_blocks.owner_name("fission-ab_1", 12)
    name = shared_blocks.segment_name(owner, 3, 4)
    assert name == "fission-ab_1-12.3-4"
    assert shared_blocks.parse_name(name) == (owner, 3)
    for other in ("fission-ab_1-12.3", "fission-ab_1-12", "fission-", "", f"x{name}", f"{name}x", f"{name}\n"):
        assert shared_blocks.parse_name(other) is None


def test_what_is_below_what() -> None:
    name = "fission-ab-12.3-4"
    for prefix in ("fission-ab", "fission-ab-12", "fission-ab-12.3"):
        assert shared_blocks.is_below(name, prefix)
    for prefix in ("fission-a", "fission-abc", "fission-ab-1", "fission-ab-12.33", "fission-ab-2"):
        assert not shared_blocks.is_below(name, prefix)
    assert not shared_blocks.is_below("fission-ab-notes.txt", "fission-ab")


@pytest.mark.parametrize(
    "prefix", ["", "fission", "fission-", "fission-a/b", "fission-a.b", "/tmp", "fission-a-", "fission-a-b", "fission-a\n"]
)
def test_a_malformed_prefix_is_refused(prefix: str) -> None:
    with pytest.raises(LocalProtocolError):
        shared_blocks.is_below("fission-a-1.1-0", prefix)
    with pytest.raises(LocalProtocolError):
        shared_blocks.owner_name(prefix, 1)


@pytest.mark.parametrize(("prefix", "job"), [("fission-a", -1), ("fission-a-1", 1), ("fission-" + "a" * 101, 1)])
def test_what_owns_nothing(prefix: str, job: int) -> None:
    with pytest.raises(LocalProtocolError):
        shared_blocks.owner_name(prefix, job)


# -- layout -----------------------------------------------------------------------------------------------------------


@given(st.integers(1, 2**45))
@example(1)
@example(64 << 10)
@example(1 << 20)
def test_slots_are_whole_pages_and_waste_little(length: int) -> None:
    size = shared_blocks.slot_bytes(length)
    assert size % ALIGNMENT == 0
    assert 0 <= size - length < max(ALIGNMENT, length / 8 + 1)
    assert shared_blocks.slot_bytes(size) == size  # and slots have few sizes:
    if length > 16 * ALIGNMENT:
        assert bin(size).rstrip("0").count("1") <= 4
        assert len(bin(size).rstrip("0")) - 2 <= 4


@given(st.integers(1, 300), st.integers(1, MAX_INCARNATION))
def test_marks_have_places_of_their_own(readers: int, incarnation: int) -> None:
    entry = shared_blocks.entry_bytes(readers)
    incarnations = range(incarnation, min(incarnation + INCARNATIONS, MAX_INCARNATION + 1))
    places = [shared_blocks.mark_offset(reader, each) for reader in range(readers) for each in incarnations]
    assert len(set(places)) == len(places)
    assert min(places) >= STAMP_BYTES
    assert max(places) + MARK_BYTES <= entry
    assert all(place % MARK_BYTES == 0 for place in places)
    assert entry % 64 == 0
    own = [shared_blocks.incarnation_offset(reader) for reader in range(readers)]
    assert (own[0], len(set(own))) == (len(shared_blocks.pack_head(entry, entry)), readers)
    assert own[-1] + MARK_BYTES <= entry
    assert all(place % MARK_BYTES == 0 for place in own)


@given(st.integers(ALIGNMENT, 1 << 40), st.integers(1, 20).map(lambda lines: 64 * lines))
def test_a_table_has_room_for_a_segment_of_the_smallest_buffers(size: int, entry: int) -> None:
    table = shared_blocks.table_bytes(size, entry)
    assert table % ALIGNMENT == 0
    assert table // entry >= size // shared_blocks.SMALLEST_BYTES
    whole = -(-(size + table) // ALIGNMENT) * ALIGNMENT
    got_entry, got_table = shared_blocks.unpack_head(shared_blocks.pack_head(entry, table), whole)
    assert got_entry == entry
    assert table - entry < got_table <= table


@given(st.binary(max_size=40))
def test_a_malformed_head_of_a_segment_is_refused(garbage: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        shared_blocks.unpack_head(garbage, 1 << 20)


def test_heads_of_segments_that_cannot_be() -> None:
    for entry, table, size in ((64, 8192, 4096), (64, 64, 4096), (60, 6000, 1 << 20), (64, 4096, 10_000)):
        with pytest.raises(RemoteProtocolError):
            shared_blocks.unpack_head(shared_blocks.pack_head(entry, table), size)


# -- free memory ------------------------------------------------------------------------------------------------------

STEPS = st.lists(st.tuples(st.booleans(), st.integers(1, 12)), max_size=60)
WHOLE = 64


def check_extents(steps: list[tuple[bool, int]], kind: type[Extents] = Extents) -> None:
    """Takes and gives pieces of 64 bytes, as a set of bytes has it."""
    extents, free, taken = kind(), set(range(WHOLE)), []
    extents.give(0, WHOLE)
    for take, size in steps:
        if take:
            start = extents.take(size)
            fitting = [at for at in range(WHOLE) if free.issuperset(range(at, at + size))]
            assert start == min(fitting, default=None)
            if start is not None:
                taken.append((start, size))
                free -= set(range(start, start + size))
        elif taken:
            start, length = taken.pop(size % len(taken))
            extents.give(start, length)
            free |= set(range(start, start + length))
        last = max(set(range(WHOLE)) - free, default=-1)
        assert extents.free_before(WHOLE) == WHOLE - 1 - last
    for start, length in taken:
        extents.give(start, length)
    assert extents.take(WHOLE) == 0


@given(STEPS)
def test_free_memory_is_as_a_set_of_bytes_has_it(steps: list[tuple[bool, int]]) -> None:
    check_extents(steps)


class Crumbling(Extents):
    """Does not join free pieces."""

    def give(self, start: int, size: int) -> None:
        self._free = sorted([*self._free, (start, size)])


def test_pieces_that_are_not_joined_are_caught() -> None:
    assert_caught(lambda steps: check_extents(steps, Crumbling), STEPS)
