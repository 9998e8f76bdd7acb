"""When the memory of a buffer is used again: at the later of its release and the end of the last view, across incarnations."""

from __future__ import annotations

import gc
import os
import pickle
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fission.adapters.shared_memory.arena import PROBES
from fission.adapters.shared_memory.segments import FOLDER
from fission.adapters.shared_memory.views import Views
from fission.errors import LocalProtocolError
from fission.protocol.shared_blocks import ALIGNMENT, BlockGone, Descriptor
from tests.adapters.shared_support import MakeArena, names, put, used_again

PAGE = ALIGNMENT

# -- when memory is used again ----------------------------------------------------------------------------------------


STEPS = {
    "slice": lambda view: view[10:20],
    "array": lambda view: np.frombuffer(view, np.uint8),
    "part of an array": lambda view: np.frombuffer(view, np.uint8)[::7].reshape(-1, 1).T,
    "cast": lambda view: view.cast("H")[5:],
    "copyless pickle": lambda view: pickle.loads(
        pickle.dumps(np.zeros(PAGE, np.uint8), 5, buffer_callback=lambda buffer: False), buffers=[view]
    ),
}


@pytest.mark.parametrize("make", STEPS.values(), ids=STEPS)
def test_released_and_then_collected(arena: MakeArena, make: Callable[[memoryview], Any]) -> None:
    one, views = arena(), Views(1)
    descriptor = put(one, b"o" * PAGE)
    kept = make(views.get(descriptor))
    assert not used_again(one, descriptor)
    one.release(descriptor)
    assert not used_again(one, descriptor)
    assert bytes(kept).strip(b"o") == b""
    del kept
    assert used_again(one, descriptor)


def test_collected_and_then_released(arena: MakeArena) -> None:
    one, views = arena(), Views(1)
    descriptor = put(one, b"o" * PAGE)
    view = views.get(descriptor)
    del view
    assert not used_again(one, descriptor)
    assert views.get(descriptor) == b"o" * PAGE  # as for the consumer's next incarnation
    one.release(descriptor)
    one.release(descriptor)
    assert used_again(one, descriptor)


def test_never_taken(arena: MakeArena) -> None:
    one = arena()
    descriptor = put(one, b"o" * PAGE)
    one.release(descriptor)
    assert used_again(one, descriptor)


def test_a_view_in_a_reference_cycle_is_freed_by_the_collector(arena: MakeArena) -> None:
    one, views = arena(), Views(1)
    descriptor = put(one, b"o" * PAGE)
    one.release(descriptor)
    circle: list[Any] = [np.frombuffer(views.get(descriptor), np.uint8)]
    circle.append(circle)
    del circle
    assert not used_again(one, descriptor)
    gc.collect()
    assert used_again(one, descriptor)


def test_a_view_may_end_in_another_thread(arena: MakeArena) -> None:
    one, views = arena(), Views(1)
    descriptor = put(one, b"o" * PAGE)
    one.release(descriptor)
    box = [views.get(descriptor)]
    thread = threading.Thread(target=box.clear)
    thread.start()
    thread.join()
    assert used_again(one, descriptor)


def test_a_view_outlives_arena_and_views(arena: MakeArena, prefix: str) -> None:
    one, views = arena(), Views(1)
    view = views.get(put(one, b"o" * PAGE))
    one.close()
    one.close()
    views.close()
    views.close()
    assert one.put(b"x") is None
    assert names(prefix) == []
    assert view == b"o" * PAGE


def test_every_reader_counts(arena: MakeArena) -> None:
    one = arena(readers=[1, 7, 3])
    first, last = Views(1), Views(3)
    descriptor = put(one, b"o" * PAGE, readers=[0, 2])
    other = descriptor._replace(reader=2)
    assert descriptor.reader == 0
    views = [first.get(descriptor), last.get(other)]
    one.release(descriptor)
    one.release(descriptor)
    assert not used_again(one, descriptor)
    one.release(other)
    assert not used_again(one, descriptor)
    views.pop(0)
    assert not used_again(one, descriptor)
    views.clear()
    assert used_again(one, descriptor)
    everybody = put(one, b"o" * PAGE)
    for reader in range(3):
        assert not used_again(one, everybody)
        one.release(everybody._replace(reader=reader))
    assert used_again(one, everybody)


def test_a_lease_is_released_by_the_last_that_lets_go(arena: MakeArena) -> None:
    one = arena(readers=[1, 1])
    lease = one.lend(b"o" * PAGE)
    assert lease is not None
    descriptor = lease.descriptor
    assert lease.nbytes == PAGE
    assert lease.view() == b"o" * PAGE
    windows = [[lease], [lease, "and more"]]
    view = Views(1).get(Descriptor.unpack(lease.pack(1)))
    del lease
    windows[0].clear()
    assert not used_again(one, descriptor)
    windows[1].clear()
    assert not used_again(one, descriptor)
    del view
    assert used_again(one, descriptor)
    only = one.lend(b"o" * 16 * PAGE, readers=[1])
    assert only is not None
    assert only.descriptor.reader == 1
    assert one.lend(b"x") is None
    del only
    assert one.lend(b"x") is not None


def test_a_block_that_is_held_is_copied_when_it_is_read_again(arena: MakeArena) -> None:
    one, views = arena(), Views(1)
    descriptor = put(one, b"o" * PAGE)
    first, second = views.get(descriptor), views.get(descriptor)
    assert first == second
    assert second.readonly
    one.release(descriptor)
    del second
    assert not used_again(one, descriptor)
    del first
    assert used_again(one, descriptor)


def test_a_forked_child_does_not_give_back_what_its_parent_holds(arena: MakeArena) -> None:
    one, views = arena(), Views(1)
    descriptor = put(one, b"o" * PAGE)
    view = views.get(descriptor)
    one.release(descriptor)
    pid = os.fork()
    if not pid:
        del view
        os._exit(0)
    os.waitpid(pid, 0)
    assert not used_again(one, descriptor)
    assert view == b"o" * PAGE


def test_many_that_are_held_for_long_do_not_hide_the_free(arena: MakeArena) -> None:
    count = 3 * PROBES
    one, views = arena(limit=count + 1), Views(1)
    descriptors = [put(one, b"o" * PAGE) for _ in range(count)]
    held = [views.get(descriptor) for descriptor in descriptors]
    for descriptor in descriptors:
        one.release(descriptor)
    assert one.put(b"x") is None
    held.pop(count // 2)
    assert put(one, b"x").offset == descriptors[count // 2].offset


def test_freed_pieces_become_room_for_a_large_buffer(arena: MakeArena) -> None:
    one = arena(limit=17)
    descriptors = [put(one, b"o" * size * PAGE) for size in (1, 5, 2, 8)]
    assert one.put(b"x") is None
    for descriptor in descriptors[::-1]:
        one.release(descriptor)
    assert put(one, b"x" * 16 * PAGE).offset == PAGE
    assert one.committed == 17 * PAGE


# -- incarnations -----------------------------------------------------------------------------------------------------


def test_memory_held_by_a_dead_reader_is_free_when_its_next_incarnation_is_known(arena: MakeArena) -> None:
    one, views = arena(readers=[5]), Views(5)
    descriptor = put(one, b"o" * PAGE)
    view = views.get(descriptor)
    one.release(descriptor)
    one.forget_reader(0, 5)
    one.forget_reader(0, 4)
    assert not used_again(one, descriptor)
    one.forget_reader(0, 6)
    assert used_again(one, descriptor)
    del view


def test_a_block_that_is_sent_again_is_still_there(arena: MakeArena) -> None:
    one = arena()
    descriptor = put(one, b"o" * PAGE)
    gone = Views(1).get(descriptor)
    one.forget_reader(0, 2)
    assert not used_again(one, descriptor)
    view = Views(2).get(descriptor)
    assert view == gone
    one.release(descriptor)
    del gone  # the older incarnation wakes up, and lets go of what its successor holds
    assert not used_again(one, descriptor)
    assert view == b"o" * PAGE
    del view
    assert used_again(one, descriptor)


def test_an_incarnation_that_the_producer_does_not_know_counts(arena: MakeArena) -> None:
    one = arena()
    descriptor = put(one, b"o" * PAGE)
    view = Views(3).get(descriptor)
    one.release(descriptor)
    assert not used_again(one, descriptor)
    del view
    assert used_again(one, descriptor)


def test_a_released_block_is_gone(arena: MakeArena) -> None:
    one, views = arena(), Views(1)
    descriptor = put(one, b"o" * PAGE)
    one.release(descriptor)
    other = put(one, b"x" * PAGE)
    assert (other.slot, other.offset) == (descriptor.slot, descriptor.offset)
    with pytest.raises(BlockGone):
        views.get(descriptor)
    with pytest.raises(LocalProtocolError):
        one.view(descriptor)
    view = views.get(other)
    assert view == b"x" * PAGE
    with pytest.raises(BlockGone):
        views.get(descriptor)
    one.release(other)
    assert not used_again(one, other)
    del view
    assert used_again(one, other)


def test_a_producers_newer_incarnation_ends_the_older_one(arena: MakeArena) -> None:
    views = Views(1)
    old, new = arena(incarnation=1), arena(incarnation=2)
    before, unseen, after = put(old, b"1"), put(old, b"2"), put(new, b"3")
    view = views.get(before)
    assert views.get(after) == b"3"
    for late in (unseen, before):
        with pytest.raises(BlockGone):
            views.get(late)
    assert view == b"1"
    other_job = arena(job=2)
    assert views.get(put(other_job, b"4")) == b"4"


def test_an_incarnations_memory_is_mapped_completely_or_not_at_all(arena: MakeArena, prefix: str) -> None:
    one, views = arena(limit=100, segment_bytes=8 * PAGE), Views(1)
    blocks = [put(one, bytes([number]) * 4 * PAGE) for number in range(2)]
    assert len({block.segment for block in blocks}) == 2
    assert views.get(blocks[0])[0] == 0
    os.unlink(f"{FOLDER}/{blocks[1].segment}")
    for block in (blocks[1], blocks[0]):
        with pytest.raises(BlockGone):
            views.get(block)


def test_an_incarnation_removes_what_the_last_but_one_has_left(arena: MakeArena, prefix: str) -> None:
    incarnations = [1, 2, 3, 10]
    for index, incarnation in enumerate(incarnations):
        for job in (1, 11):
            put(arena(incarnation=incarnation, job=job), b"x")
            for_job = {int(name.split(".")[1].split("-")[0]) for name in names(f"{prefix}-{job}.")}
            assert for_job == {kept for kept in incarnations[: index + 1] if kept >= incarnation - 1}
