"""Arena and views against a model, in any order of sending, taking, releasing, letting go and dying.

The model: a block can be taken until it is released; what a reader's newest incarnation has taken keeps its content until it
lets go; when everything has been released and let go, all memory is free.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from random import Random
from typing import Any, ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from fission.adapters.shared_memory import views
from fission.adapters.shared_memory.arena import Arena
from fission.adapters.shared_memory.segments import run_prefix
from fission.adapters.shared_memory.views import Views
from fission.errors import LocalProtocolError
from fission.protocol import shared_blocks
from fission.protocol.shared_blocks import ALIGNMENT, INCARNATIONS, MARK_BYTES, STAMP_BYTES, BlockGone, Descriptor
from tests.protocol.seeds import expect_caught, run_seeds

READERS = 2
PAGES = 16  # of data in the arena


@pytest.fixture(autouse=True)
def no_warnings_of_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """These arenas are always full."""
    monkeypatch.setattr(logging.getLogger("fission.shared_memory"), "disabled", True)


@dataclass
class Block:
    """A block that was sent."""

    descriptor: Descriptor
    content: bytes
    waiting: set[int] = field(default_factory=set)  # readers that have not released it
    lease: Any = None  # of an array's memory; its end releases the block


@dataclass(eq=False)
class Array:
    """Memory of an array that the producer has filled and keeps."""

    memory: Any
    content: bytes


@dataclass(eq=False)
class Held:
    """A view that an incarnation of a reader has made of a block's memory."""

    reader: int
    incarnation: int
    view: memoryview | None
    content: bytes


class SharedMemory(RuleBasedStateMachine):
    """One producer and its readers."""

    arena_kind: ClassVar[type[Arena]] = Arena
    views_kind: ClassVar[type[Views]] = Views
    blocks = Bundle("blocks")
    holds = Bundle("holds")
    arrays = Bundle("arrays")

    def __init__(self) -> None:
        super().__init__()
        size = (1 + PAGES) * ALIGNMENT  # one page is the table
        self.arena = self.arena_kind(run_prefix(), 1, 1, [1] * READERS, limit=size, segment_bytes=size)
        self.incarnations = [1] * READERS
        self.views: list[Views] = [self.views_kind(1) for _ in range(READERS)]
        self.known: list[Block] = []
        self.held: list[Held] = []
        self.kept: list[Array] = []
        self.random = Random(0)

    @initialize(target=blocks)
    def first(self) -> Any:
        return self.send(ALIGNMENT, {0, 1})

    def send(self, size: int, readers: set[int]) -> Any:
        content = self.random.randbytes(size)
        descriptor = self.arena.put(content, readers)
        if descriptor is None:
            return multiple()
        assert descriptor.reader == min(readers)
        self.known.append(Block(Descriptor.unpack(descriptor.pack()), content, set(readers)))
        return self.known[-1]

    @rule(target=blocks, pages=st.integers(1, 6), less=st.integers(0, 100), readers=st.sets(st.integers(0, READERS - 1), min_size=1))
    def put(self, pages: int, less: int, readers: set[int]) -> Any:
        return self.send(pages * ALIGNMENT - less, readers)

    @rule(target=arrays, pages=st.integers(1, 6), less=st.integers(0, 100))
    def allocate(self, pages: int, less: int) -> Any:
        memory = self.arena.allocate(pages * ALIGNMENT - less)
        if memory is None:
            return multiple()
        content = self.random.randbytes(memory.length)
        memoryview(memory).cast("B")[: memory.length] = content  # type: ignore[arg-type]
        self.kept.append(Array(memory, content))
        return self.kept[-1]

    @rule(target=blocks, array=arrays, readers=st.sets(st.integers(0, READERS - 1), min_size=1))
    def lend(self, array: Array, readers: set[int]) -> Any:
        if array.memory is None:
            return multiple()
        lease = self.arena.lend_memory(array.memory, readers)
        assert lease is not None
        self.known.append(Block(Descriptor.unpack(lease.pack(min(readers))), array.content, set(readers), lease))
        return self.known[-1]

    @rule(array=consumes(arrays))
    def drop(self, array: Array) -> None:
        array.memory = None
        self.kept.remove(array)

    @rule(target=holds, block=blocks, reader=st.integers(0, READERS - 1), start=st.integers(0, 200))
    def take(self, block: Block, reader: int, start: int) -> Any:
        try:
            view = self.views[reader].get(block.descriptor._replace(reader=reader))
        except BlockGone:
            assert reader not in block.waiting
            return multiple()
        if reader not in block.waiting:
            return multiple()  # taken too late, which no reader does; the view goes at once
        assert view == block.content
        self.held.append(Held(reader, self.incarnations[reader], view[start:], block.content[start:]))
        return self.held[-1]

    @rule(held=consumes(holds))
    def let_go(self, held: Held) -> None:
        held.view = None
        self.held.remove(held)

    @rule(block=blocks, reader=st.integers(0, READERS - 1))
    def release(self, block: Block, reader: int) -> None:
        if reader in block.waiting or not block.waiting:
            block.waiting.discard(reader)
            if block.lease is None:
                self.arena.release(block.descriptor._replace(reader=reader))
            elif not block.waiting:
                block.lease = None  # as when the last window has dropped it

    @rule(reader=st.integers(0, READERS - 1), notified=st.booleans())
    def new_incarnation(self, reader: int, notified: bool) -> None:
        """The older incarnation may run for a while, and let go of what it holds at any time."""
        self.incarnations[reader] += 1
        self.views[reader] = self.views_kind(self.incarnations[reader])
        if notified:
            self.tell(reader)

    @rule(reader=st.integers(0, READERS - 1))
    def tell(self, reader: int) -> None:
        self.arena.forget_reader(reader, self.incarnations[reader])

    @invariant()
    def what_is_held_stays(self) -> None:
        for held in self.held:
            if held.incarnation == self.incarnations[held.reader]:
                assert held.view == held.content

    @invariant()
    def what_the_producer_keeps_stays(self) -> None:
        for array in self.kept:
            assert memoryview(array.memory).cast("B")[: len(array.content)] == array.content

    @invariant()
    def what_is_not_released_is_there(self) -> None:
        for block in self.known:
            if block.waiting:
                try:
                    view = self.arena.view(block.descriptor)
                except LocalProtocolError as why:
                    raise AssertionError(str(why)) from None
                assert view == block.content

    def teardown(self) -> None:
        try:
            self.everything_is_free_in_the_end()
        finally:
            self.held.clear()
            self.kept.clear()
            self.arena.close()

    def everything_is_free_in_the_end(self) -> None:
        for held in self.held:
            if held.incarnation == self.incarnations[held.reader]:
                held.view = None
        for array in self.kept:
            array.memory = None
        for block in self.known:
            block.lease = None
            for reader in block.waiting:
                self.arena.release(block.descriptor._replace(reader=reader))
        for reader in range(READERS):
            self.tell(reader)
        assert self.arena.put(bytes(PAGES * ALIGNMENT)) is not None
        assert self.arena.slots == 1


TestSharedMemory = SharedMemory.TestCase
TestSharedMemory.settings = settings(max_examples=100, stateful_step_count=60, deadline=None)


def random_walk(random: Random, machine: type[SharedMemory] = SharedMemory, steps: int = 1000) -> None:
    """The same rules, drawn by a generator: much longer runs than hypothesis makes."""
    run = machine()
    holds: list[Held] = []
    arrays: list[Array] = []
    try:
        for _ in range(steps):
            choice, reader = random.randrange(114), random.randrange(READERS)
            run.known = [block for block in run.known if block.waiting or random.random() < 0.9]
            if choice < 35:
                run.send(random.randint(1, 3 * ALIGNMENT), set(random.sample(range(READERS), random.randint(1, READERS))))
            elif choice < 60 and run.known:
                taken = run.take(random.choice(run.known), reader, random.randrange(200))
                holds += [taken] if isinstance(taken, Held) else []
            elif choice < 80 and holds:
                run.let_go(holds.pop(random.randrange(len(holds))))
            elif choice < 95 and run.known:
                run.release(random.choice(run.known), reader)
            elif choice < 98:
                run.new_incarnation(reader, random.random() < 0.7)
            elif choice < 100:
                run.tell(reader)
            elif choice < 104:
                made = run.allocate(random.randint(1, 3), random.randrange(100))
                arrays += [made] if isinstance(made, Array) else []
            elif choice < 108 and arrays:
                run.lend(random.choice(arrays), set(random.sample(range(READERS), random.randint(1, READERS))))
            elif arrays:
                run.drop(arrays.pop(random.randrange(len(arrays))))
            run.what_is_held_stays()
            run.what_the_producer_keeps_stays()
            run.what_is_not_released_is_there()
    finally:
        holds.clear()
        arrays.clear()
        run.teardown()


def test_thousands_of_steps() -> None:
    run_seeds(random_walk, 12)


# -- broken on purpose ------------------------------------------------------------------------------------------------


class IgnoresMarks(Arena):
    """Uses memory again that a reader still holds."""

    def _is_held(self, slot: Any) -> bool:
        return False


class IgnoresReleases(Arena):
    """Uses memory again that no reader holds at the moment."""

    def put(self, buffer: Any, readers: Any = None) -> Descriptor | None:
        self._returned.extend((stamp, reader) for stamp in self._slots for reader in range(READERS))
        return super().put(buffer, readers)


class OneReleaseIsEnough(Arena):
    """Does not wait for the other readers."""

    def release(self, descriptor: Descriptor) -> None:
        for reader in range(READERS):
            super().release(descriptor._replace(reader=reader))


class TrustsOnlyKnownIncarnations(Arena):
    """Takes an incarnation that it does not know for one that is over."""

    def _is_held(self, slot: Any) -> bool:
        words = memoryview(slot.segment.memory).cast("I")
        first = (slot.entry * self._entry_bytes + STAMP_BYTES) // MARK_BYTES
        return any(
            incarnation in words[first + INCARNATIONS * index : first + INCARNATIONS * index + INCARNATIONS]
            for index, incarnation in enumerate(self.readers)
        )


class FreesWhatItLends(Arena):
    """Uses an array's memory again as soon as the producer has dropped it, although readers wait for it."""

    def lend_memory(self, memory: Any, readers: Any) -> Any:
        lease = super().lend_memory(memory, readers)
        assert lease is not None
        return ForgetfulLease(lease.pack(min(readers)))


class ForgetfulLease:
    """A lease without its memory."""

    def __init__(self, packed: bytes) -> None:
        self._packed = packed

    def pack(self, reader: int) -> bytes:
        return Descriptor.unpack(self._packed).pack(reader)


class FreesWhatIsReleased(Arena):
    """Uses an array's memory again as soon as its readers have released it, though the producer keeps it."""

    def lend_memory(self, memory: Any, readers: Any) -> Any:
        lease = super().lend_memory(memory, readers)
        self._returned.append((memory.descriptor.stamp, -1))
        return lease


class CountsTheDead(Arena):
    """Never forgets what an incarnation that is over has held."""

    def forget_reader(self, reader: int, incarnation: int) -> None:
        pass


class SharesMarks(Views):
    """Lets the first of two holds on a block clear the mark of both."""

    def get(self, descriptor: Descriptor) -> memoryview:
        for mapped in self._mapped.values():
            place = descriptor.slot * mapped.entry_bytes + shared_blocks.mark_offset(descriptor.reader, self._incarnation)
            mapped.marks[place // MARK_BYTES] = 0
        return super().get(descriptor)


@pytest.mark.parametrize(
    "kind",
    [IgnoresMarks, IgnoresReleases, OneReleaseIsEnough, TrustsOnlyKnownIncarnations, CountsTheDead, FreesWhatItLends, FreesWhatIsReleased],
)
def test_broken_arenas_are_caught(kind: type[Arena]) -> None:
    class Broken(SharedMemory):
        arena_kind = kind

    expect_caught(lambda random: random_walk(random, Broken), 50)


def test_a_mark_for_two_holds_is_caught() -> None:
    class Broken(SharedMemory):
        views_kind = SharesMarks

    expect_caught(lambda random: random_walk(random, Broken), 50)


def test_one_mark_for_all_incarnations_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def clear(hold: Any) -> None:
        if hold.mark is not None:
            hold.mark[0][hold.mark[1]] = 0

    monkeypatch.setattr(shared_blocks, "mark_offset", lambda reader, incarnation: STAMP_BYTES + MARK_BYTES * reader * INCARNATIONS)
    monkeypatch.setattr(views._Hold, "__del__", clear)
    expect_caught(random_walk, 50)
