"""Blocks that a job hands on unchanged: the next job reads them where the producer has put them, for as long as it needs.

Three jobs in a row: the producer has the arena, the one in the middle reads as reader 0 and hands on to reader 1, the last one.
"""

from __future__ import annotations

import logging
import pickle
from dataclasses import dataclass
from random import Random
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from fission.adapters.shared_memory.arena import Arena
from fission.adapters.shared_memory.segments import run_prefix
from fission.adapters.shared_memory.views import Views
from fission.protocol import shared_blocks
from fission.protocol.shared_blocks import ALIGNMENT, BlockGone, Descriptor
from tests.adapters.shared_support import MakeArena, names, put, used_again
from tests.protocol.seeds import expect_caught, run_seeds

PAGE = ALIGNMENT


def handed_on(views: Views, view: memoryview, number: int = 1) -> Descriptor:
    """Return the descriptor of a block for the next job, as it travels."""
    taken = views.taken(view)
    assert taken is not None
    return Descriptor.unpack(taken.lease({0: number}).pack(0))


@pytest.fixture(autouse=True)
def no_warnings_of_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some of these arenas are always full."""
    monkeypatch.setattr(logging.getLogger("fission.shared_memory"), "disabled", True)


# -- what can be handed on --------------------------------------------------------------------------------------------


def test_the_next_job_reads_what_the_producer_has_put(arena: MakeArena, prefix: str) -> None:
    one, middle, last = arena(downstream=1, job=7), Views(1), Views(1)
    taken = middle.taken(middle.get(put(one, b"abc" * 1000), ("for", 3)))
    assert taken is not None
    assert (taken.producer, taken.taken_for) == (7, ("for", 3))
    lease = taken.lease({0: 1})
    assert (lease.nbytes, list(lease.readers), lease.handed_on, bytes(lease.view())) == (3000, [0], True, b"abc" * 1000)
    assert last.get(Descriptor.unpack(lease.pack(0))) == b"abc" * 1000
    assert names(prefix) == [f"{prefix}-7.1-0"]


def arrays_on(view: memoryview) -> dict[str, Any]:
    array = np.frombuffer(view, dtype="u1")
    return {
        "itself": array,
        "another shape": array.reshape(100, -1),
        "other numbers": array.view("<i4"),
        "by columns": array.reshape(100, -1).T,
    }


@pytest.mark.parametrize("kind", ["itself", "another shape", "other numbers", "by columns"])
def test_an_array_on_all_of_it(arena: MakeArena, kind: str) -> None:
    one, middle = arena(downstream=1), Views(1)
    array = arrays_on(middle.get(put(one, bytes(range(200)) * 20)))[kind]
    assert middle.taken(pickle.PickleBuffer(array).raw()) is not None


def test_a_part_of_a_block_is_not_handed_on(arena: MakeArena) -> None:
    one, middle = arena(downstream=1), Views(1)
    view = middle.get(put(one, bytes(4000)))
    array = np.frombuffer(view, dtype="u1")
    for part in (view[1:], memoryview(array[:-1]), memoryview(array.copy()), memoryview(bytes(4000)), memoryview(bytearray(4000))):
        assert middle.taken(part) is None


def test_an_attribute_named_base_is_not_trusted(arena: MakeArena) -> None:
    class Own(bytearray):
        base: Any = None

    one, middle = arena(downstream=1), Views(1)
    array = np.frombuffer(middle.get(put(one, bytes(4000))), dtype="u1")
    own = Own(4000)
    own.base = array
    assert middle.taken(memoryview(own)) is None


def test_a_copy_is_not_a_view(arena: MakeArena) -> None:
    """What is got a second time while it is held is a copy in this process's own memory."""
    one, middle = arena(downstream=1), Views(1)
    descriptor = put(one, bytes(4000))
    held, again = middle.get(descriptor), middle.get(descriptor)
    assert middle.taken(held) is not None
    assert middle.taken(again) is None


# -- whose memory it is -----------------------------------------------------------------------------------------------


def test_the_next_job_holds_the_memory_whatever_happens_to_the_one_between(arena: MakeArena) -> None:
    one, middle, last = arena(downstream=1), Views(1), Views(1)
    descriptor = put(one, b"x" * PAGE)
    view = last.get(handed_on(middle, middle.get(descriptor)))
    one.release(descriptor)
    one.forget_reader(0, 2)
    assert not used_again(one, descriptor)
    assert view == b"x" * PAGE
    del view
    assert used_again(one, descriptor)


def test_memory_held_by_a_dead_next_job_is_free_when_its_next_incarnation_reads(arena: MakeArena) -> None:
    one, middle, last = arena(downstream=1), Views(1), Views(1)
    descriptors = [put(one, b"x" * PAGE) for _ in range(2)]
    first, second = (handed_on(middle, middle.get(descriptor)) for descriptor in descriptors)
    held = last.get(first)
    one.release(descriptors[0])
    assert not used_again(one, descriptors[0])
    Views(2).get(second)
    assert used_again(one, descriptors[0])
    assert held.nbytes == PAGE


def test_an_older_incarnation_that_wakes_up_changes_nothing(arena: MakeArena) -> None:
    one, middle = arena(downstream=1), Views(1)
    descriptor = put(one, b"x" * PAGE)
    on = handed_on(middle, middle.get(descriptor))
    held = Views(3).get(on)
    Views(2).get(on)
    one.release(descriptor)
    assert not used_again(one, descriptor)
    assert held == b"x" * PAGE


def test_a_released_block_is_gone_for_the_next_job_too(arena: MakeArena) -> None:
    one, middle = arena(downstream=1), Views(1)
    descriptor = put(one, b"x" * PAGE)
    on = handed_on(middle, middle.get(descriptor))
    one.release(descriptor)
    assert used_again(one, descriptor)
    with pytest.raises(BlockGone):
        Views(1).get(on)


def test_paths_of_different_length_do_not_end_each_other(arena: MakeArena, prefix: str) -> None:
    """The newer incarnation of a producer, met on one path, does not hide blocks of its older one on another path."""
    older, newer, middle, last = arena(downstream=1), arena(downstream=1, incarnation=2), Views(1), Views(1)
    on = handed_on(middle, middle.get(put(older, b"o" * PAGE)))
    assert last.get(put(newer, b"n" * PAGE)) == b"n" * PAGE
    assert last.get(on) == b"o" * PAGE
    assert set(last._mapped) == {f"{prefix}-1.1-0", f"{prefix}-1.2-0"}


def test_no_more_than_two_incarnations_of_a_producer_stay_mapped(arena: MakeArena, prefix: str) -> None:
    last = Views(1)
    for incarnation in range(1, 6):
        one, middle = arena(downstream=1, incarnation=incarnation), Views(1)
        descriptor = put(one, b"o" * PAGE)
        if incarnation == 1:
            last.get(handed_on(middle, middle.get(descriptor)))
        last.get(descriptor)
    assert set(last._mapped) == {f"{prefix}-1.4-0", f"{prefix}-1.5-0"}


# -- in any order -----------------------------------------------------------------------------------------------------

PAGES = 12  # of data in the arena


@dataclass
class Block:
    """A block on its way.

    Attributes:
        on: as it was handed on last.
        between: whether the one in the middle still needs it.
        behind: whether the last job does: the block was handed on, and is not released.
    """

    descriptor: Descriptor
    content: bytes
    on: Descriptor | None = None
    between: bool = True
    behind: bool = False


@dataclass(eq=False)
class Held:
    """A view that an incarnation of a reader has made of a block's memory."""

    views: Views
    view: memoryview | None
    content: bytes


class Row(RuleBasedStateMachine):
    """A producer, two readers in a row, and what incarnations of the readers hold; an old one may run while the next has begun."""

    arena_kind: ClassVar[type[Arena]] = Arena
    views_kind: ClassVar[type[Views]] = Views
    waits: ClassVar[bool] = True  # for the release of what was handed on
    blocks = Bundle("blocks")
    holds = Bundle("holds")

    def __init__(self) -> None:
        super().__init__()
        size = (1 + PAGES) * PAGE
        self.arena = self.arena_kind(run_prefix(), 1, 1, [1], downstream=1, limit=size, segment_bytes=size)
        self.incarnations = [1, 1]
        self.views: list[Views] = [self.views_kind(1), self.views_kind(1)]
        self.known: list[Block] = []
        self.held: list[Held] = []
        self.random = Random(0)

    @initialize(target=blocks)
    def first(self) -> Any:
        return self.put(1)

    @rule(target=blocks, pages=st.integers(1, 5))
    def put(self, pages: int) -> Any:
        content = self.random.randbytes(pages * PAGE)
        descriptor = self.arena.put(content)
        if descriptor is None:
            return multiple()
        self.known.append(Block(descriptor, content))
        return self.known[-1]

    @rule(target=holds, block=blocks)
    def hand_on(self, block: Block) -> Any:
        """The middle takes a block, for the first time or in a new incarnation, and hands it on; it may hold it for longer."""
        if not block.between:
            return multiple()
        view = self.views[0].get(block.descriptor)
        if self.views[0].taken(view) is not None:  # else it is held, and this is a copy
            block.on = handed_on(self.views[0], view)
            block.behind = True
        return self.hold(0, view, block)

    @rule(target=holds, block=blocks)
    def take(self, block: Block) -> Any:
        if block.on is None:
            return multiple()
        try:
            view = self.views[1].get(block.on)
        except BlockGone:
            assert not block.behind
            return multiple()
        return self.hold(1, view, block) if block.behind else multiple()

    def hold(self, reader: int, view: memoryview, block: Block) -> Held:
        assert view == block.content
        self.held.append(Held(self.views[reader], view, block.content))
        return self.held[-1]

    @rule(held=consumes(holds))
    def let_go(self, held: Held) -> None:
        held.view = None
        self.held.remove(held)

    @rule(block=blocks)
    def release_behind(self, block: Block) -> None:
        block.behind = False

    @rule(block=blocks)
    def release(self, block: Block) -> None:
        """The middle job releases a block after the last one."""
        if block.between and not (block.behind and self.waits):
            block.between = False
            self.arena.release(block.descriptor)

    @rule(reader=st.integers(0, 1))
    def new_incarnation(self, reader: int) -> None:
        """The producer is not notified of a new incarnation of the last reader."""
        self.incarnations[reader] += 1
        self.views[reader] = self.views_kind(self.incarnations[reader])
        if reader == 0:
            self.arena.forget_reader(0, self.incarnations[0])

    @invariant()
    def what_is_held_stays(self) -> None:
        for held in self.held:
            if held.views in self.views:
                assert held.view == held.content

    def teardown(self) -> None:
        try:
            self.everything_is_free_in_the_end()
        finally:
            self.held.clear()
            self.arena.close()

    def everything_is_free_in_the_end(self) -> None:
        for held in self.held:
            if held.views in self.views:
                held.view = None
        for block in self.known:
            block.behind = False
            self.release(block)
        block = self.put(1)
        assert isinstance(block, Block)
        # the newest incarnations of both have read by now
        self.views[1].get(handed_on(self.views[0], self.views[0].get(block.descriptor)))
        self.release(block)
        assert self.arena.put(bytes(PAGES * PAGE)) is not None
        assert self.arena.slots == 1


TestRow = Row.TestCase
TestRow.settings = settings(max_examples=100, stateful_step_count=60, deadline=None)


def random_walk(random: Random, machine: type[Row] = Row, steps: int = 600) -> None:
    """The same rules, drawn by a generator: much longer runs than hypothesis makes."""
    run = machine()
    holds: list[Held] = []
    try:
        for _ in range(steps):
            run.known = [block for block in run.known if block.between or random.random() < 0.9]
            choice, block = random.randrange(100), random.choice(run.known) if run.known else None
            if choice < 25 or block is None:
                run.put(random.randint(1, 3))
            elif choice < 60:
                found = run.hand_on(block) if choice < 42 else run.take(block)
                holds += [found] if isinstance(found, Held) else []
            elif choice < 75:
                if holds:
                    run.let_go(holds.pop(random.randrange(len(holds))))
            elif choice < 85:
                run.release_behind(block)
            elif choice < 97:
                run.release(block)
            else:
                run.new_incarnation(random.randrange(2))
            run.what_is_held_stays()
    finally:
        holds.clear()
        run.teardown()


def test_thousands_of_steps() -> None:
    run_seeds(random_walk, 12)


# -- broken on purpose ------------------------------------------------------------------------------------------------


class SeesOnlyItsOwn(Arena):
    """What later readers hold does not count."""

    def _downstream_incarnations(self, segment: Any) -> list[int]:
        return [shared_blocks.MAX_INCARNATION] * self._behind


class CountsTheDead(Arena):
    """Memory held by a former incarnation of a later reader is never free."""

    def _downstream_incarnations(self, segment: Any) -> list[int]:
        return [1] * self._behind


class NeverMarksThatItReads(Views):
    """Leaves no mark of its incarnation."""

    def get(self, descriptor: Descriptor, taken_for: Any = None) -> memoryview:
        marks = (self._mapped.get(descriptor.segment) or self._map(descriptor.segment, descriptor.reader)).marks
        place = shared_blocks.incarnation_offset(descriptor.reader) // shared_blocks.MARK_BYTES
        before = marks[place]
        try:
            return super().get(descriptor, taken_for)
        finally:
            marks[place] = before


def _walk(**changes: Any) -> Any:
    machine = type("Broken", (Row,), changes)
    return lambda random: random_walk(random, machine)


@pytest.mark.parametrize("kind", [SeesOnlyItsOwn, CountsTheDead])
def test_broken_arenas_are_caught(kind: type[Arena]) -> None:
    expect_caught(_walk(arena_kind=kind), 12)


def test_a_middle_job_that_does_not_wait_for_the_next_is_caught() -> None:
    expect_caught(_walk(waits=False), 12)


def test_incarnations_that_do_not_mark_that_they_read_are_caught() -> None:
    expect_caught(_walk(views_kind=NeverMarksThatItReads), 12)
