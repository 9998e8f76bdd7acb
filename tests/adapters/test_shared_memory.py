"""Arena and views in one process: what goes in comes out, read-only, and memory is used again at the right moment."""

from __future__ import annotations

import gc
import os
import pickle
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fission.adapters import shared_memory, shared_views
from fission.adapters.shared_memory import FOLDER, PROBES, REFUSED_PUTS, Arena, sweep
from fission.adapters.shared_views import Views
from fission.errors import EngineError, LocalProtocolError, RemoteProtocolError
from fission.protocol import shared_blocks
from fission.protocol.shared_blocks import ALIGNMENT, BlockGone, Descriptor

PAGE = ALIGNMENT
MakeArena = Callable[..., Arena]


@pytest.fixture
def prefix() -> Iterator[str]:
    """Of a run of this test's own. What the test leaves in /dev/shm is removed."""
    name = f"fission-t{os.urandom(6).hex()}"
    yield name
    sweep(name)


@pytest.fixture
def arena(prefix: str) -> Iterator[MakeArena]:
    """Makes arenas of a few pages: ``arena(limit=pages, readers=[incarnation, ...])``."""
    arenas = []

    def make(limit: int = 17, readers: list[int] | None = None, incarnation: int = 1, job: int = 1, **keywords: Any) -> Arena:
        keywords = {"segment_bytes": limit * PAGE, **keywords}
        arenas.append(Arena(prefix, job, incarnation, readers or [1], limit=limit * PAGE, **keywords))
        return arenas[-1]

    yield make
    for one in arenas:
        one.close()


def put(arena: Arena, data: Any, **keywords: Any) -> Descriptor:
    """As `Arena.put`, where there is room."""
    descriptor = arena.put(data, **keywords)
    assert descriptor is not None
    return descriptor


def names(prefix: str) -> list[str]:
    """The segments of a run."""
    return sorted(name for name in os.listdir(FOLDER) if name.startswith(prefix))


# -- what goes in comes out -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 63, PAGE - 1, PAGE, PAGE + 1, 100_000, 1_000_000])
def test_bytes_come_out_read_only(arena: MakeArena, size: int) -> None:
    data = os.urandom(size)
    one = arena(limit=1 << 10)
    views = Views(1)
    descriptors = [put(one, kind(data)) for kind in (bytes, bytearray, memoryview)]
    for descriptor in descriptors:
        view = views.get(Descriptor.unpack(descriptor.pack()))
        assert (view.readonly, view.format, view.ndim, view.nbytes) == (True, "B", 1, size)
        assert view == data
        with pytest.raises(TypeError):
            view[0] = 1
        assert one.view(descriptor) == data
        assert one.view(descriptor).readonly


ARRAYS = [
    np.arange(30_000, dtype=">f4"),
    np.arange(30_000, dtype="<c16").reshape(10, 3000),
    np.asfortranarray(np.arange(30_000.0).reshape(100, 300)),
    np.arange(60_000, dtype=np.int16)[::2],
    np.arange(60_000, dtype=np.int64).reshape(200, 300)[5:100, ::-3],
    np.arange(30_000).reshape(10, 30, 100).transpose(2, 0, 1),
    np.arange(30_000).astype("datetime64[s]"),
    np.zeros(5000, dtype=[("a", "u1"), ("b", ">i4", (3,)), ("c", "S5")]),
    np.ones(80_000, dtype=bool),
    np.array(["some text", "ä"] * 3000),
    np.array([{"a": 1}, None, "x"] * 100, dtype=object),
    np.empty((0, 4)),
    np.float64(3.5),
    np.broadcast_to(np.arange(9000), (5, 9000)),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype}{array.shape}".replace(" ", ""))
def test_arrays_of_all_kinds_travel_beside_their_pickle(arena: MakeArena, array: Any) -> None:
    one, views = arena(limit=1 << 10), Views(1)
    descriptors = []

    def collect(buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if not raw.nbytes:
            return True
        descriptors.append(put(one, raw))
        return False

    payload = pickle.dumps([array, "and more"], 5, buffer_callback=collect)
    received, rest = pickle.loads(payload, buffers=[views.get(descriptor) for descriptor in descriptors])
    assert rest == "and more"
    assert received.dtype == array.dtype
    assert received.shape == array.shape
    np.testing.assert_array_equal(received, array)
    if descriptors:
        assert not received.flags.writeable
        with pytest.raises(ValueError, match="WRITEABLE"):
            received.setflags(write=True)


def test_a_buffer_in_a_value_is_a_view_too(arena: MakeArena) -> None:
    one, views = arena(), Views(1)
    descriptor = put(one, b"abc" * 3000)
    value = pickle.loads(pickle.dumps(pickle.PickleBuffer(b""), 5, buffer_callback=lambda buffer: False), buffers=[views.get(descriptor)])
    assert value == b"abc" * 3000
    assert value[0] == ord("a")


def test_no_resource_tracker_takes_part(prefix: str) -> None:
    code = (
        "import sys\n"
        "from fission.adapters.shared_memory import Arena\n"
        "from fission.adapters.shared_views import Views\n"
        f"arena = Arena({prefix!r}, 1, 1, [1])\n"
        "view = Views(1).get(arena.put(bytes(70000)))\n"
        "print([name for name in sys.modules if name.startswith(('multiprocessing', 'numpy', 'zmq', 'asyncio'))], len(view))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[] 70000\n", "")
    assert names(prefix) == [f"{prefix}-1.1-0"]


# -- when memory is used again ----------------------------------------------------------------------------------------


def used_again(one: Arena, before: Descriptor) -> bool:
    """Whether the next buffer of the same size gets the memory of another one."""
    after = put(one, b"n" * before.length)
    again = after.offset == before.offset and after.segment == before.segment
    one.release(after)
    return again


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
    assert views.get(descriptor) == b"o" * PAGE  # as for the consumer's next life
    one.release(descriptor)
    one.release(descriptor)
    assert used_again(one, descriptor)


def test_never_taken(arena: MakeArena) -> None:
    one = arena()
    descriptor = put(one, b"o" * PAGE)
    one.release(descriptor)
    assert used_again(one, descriptor)


def test_a_view_in_a_circle_goes_with_the_collector(arena: MakeArena) -> None:
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


def test_a_block_that_is_held_comes_again_as_a_copy(arena: MakeArena) -> None:
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


def test_pieces_become_room_for_something_big(arena: MakeArena) -> None:
    one = arena(limit=17)
    descriptors = [put(one, b"o" * size * PAGE) for size in (1, 5, 2, 8)]
    assert one.put(b"x") is None
    for descriptor in descriptors[::-1]:
        one.release(descriptor)
    assert put(one, b"x" * 16 * PAGE).offset == PAGE
    assert one.committed == 17 * PAGE


# -- lives ------------------------------------------------------------------------------------------------------------


def test_what_a_dead_reader_held_is_free_when_its_next_life_is_known(arena: MakeArena) -> None:
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


def test_what_is_sent_again_is_still_there(arena: MakeArena) -> None:
    one = arena()
    descriptor = put(one, b"o" * PAGE)
    gone = Views(1).get(descriptor)
    one.forget_reader(0, 2)
    assert not used_again(one, descriptor)
    view = Views(2).get(descriptor)
    assert view == gone
    one.release(descriptor)
    del gone  # the older life wakes up, and lets go of what its successor holds
    assert not used_again(one, descriptor)
    assert view == b"o" * PAGE
    del view
    assert used_again(one, descriptor)


def test_a_life_that_the_producer_has_not_heard_of_counts(arena: MakeArena) -> None:
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


def test_a_producers_newer_life_ends_the_older_one(arena: MakeArena) -> None:
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


def test_a_life_is_taken_all_or_none(arena: MakeArena, prefix: str) -> None:
    one, views = arena(limit=100, segment_bytes=8 * PAGE), Views(1)
    blocks = [put(one, bytes([number]) * 4 * PAGE) for number in range(2)]
    assert len({block.segment for block in blocks}) == 2
    assert views.get(blocks[0])[0] == 0
    os.unlink(f"{FOLDER}/{blocks[1].segment}")
    for block in (blocks[1], blocks[0]):
        with pytest.raises(BlockGone):
            views.get(block)


def test_a_life_removes_what_the_last_but_one_has_left(arena: MakeArena, prefix: str) -> None:
    lives = [1, 2, 3, 10]
    for index, incarnation in enumerate(lives):
        for job in (1, 11):
            put(arena(incarnation=incarnation, job=job), b"x")
            for_job = {int(name.split(".")[1].split("-")[0]) for name in names(f"{prefix}-{job}.")}
            assert for_job == {life for life in lives[: index + 1] if life >= incarnation - 1}


# -- no room ----------------------------------------------------------------------------------------------------------


def test_the_limit_gives_none_and_one_warning(arena: MakeArena, caplog: pytest.LogCaptureFixture) -> None:
    one = arena(limit=5)
    assert one.put(bytes(6 * PAGE)) is None
    descriptors = [put(one, b"o" * PAGE) for _ in range(4)]
    assert [one.put(b"x") for _ in range(3)] == [None, None, None]
    assert one.refused == 4
    assert one.committed == 5 * PAGE
    assert one.slots == 4
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "the limit is 20480" in caplog.text
    one.release(descriptors[2])
    assert put(one, b"y").offset == descriptors[2].offset


def test_no_folder_is_no_fault(prefix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    one = Arena(prefix, 1, 1, [1], folder=str(tmp_path / "missing"))
    assert one.put(b"x") is None
    assert one.refused == 1
    assert caplog.records == []
    assert sweep(prefix, folder=str(tmp_path / "missing")) == 0


def test_a_system_without_reserving_is_no_fault(prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "posix_fallocate")
    assert Arena(prefix, 1, 1, [1]).put(b"x") is None
    assert names(prefix) == []


def test_the_system_is_not_asked_at_every_put(arena: MakeArena, prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def refuse(descriptor: int, offset: int, size: int) -> None:
        asked.append(size)
        raise OSError(28, "No space left on device")

    one = arena()
    put(one, b"x")
    with monkeypatch.context() as patched:
        patched.setattr(os, "posix_fallocate", refuse)
        assert all(one.put(b"x" * 2 * PAGE) is None for _ in range(1 + REFUSED_PUTS))
        assert asked == [2 * PAGE]
        assert one.put(b"x") is None  # less may be there
        assert asked == [2 * PAGE, PAGE]
    assert [one.put(b"x" * 2 * PAGE) for _ in range(REFUSED_PUTS)] == [None] * REFUSED_PUTS
    put(one, b"x" * 2 * PAGE)


def test_a_name_that_is_taken_gives_the_slow_way(arena: MakeArena, prefix: str, caplog: pytest.LogCaptureFixture) -> None:
    Path(FOLDER, f"{prefix}-1.1-0").write_bytes(b"somebody else's")
    assert arena().put(b"x") is None
    assert "File exists" in caplog.text
    assert Path(FOLDER, f"{prefix}-1.1-0").read_bytes() == b"somebody else's"


# -- what must not be -------------------------------------------------------------------------------------------------


def test_wrong_use_is_refused(arena: MakeArena, prefix: str) -> None:
    for wrong in ({"prefix": "x"}, {"job": -1}, {"incarnation": 0}, {"readers": []}, {"readers": [0]}, {"readers": [2**32]}):
        with pytest.raises(LocalProtocolError):
            Arena(**{"prefix": prefix, "job": 1, "incarnation": 1, "readers": [1], **wrong})  # type: ignore[arg-type]
    with pytest.raises(LocalProtocolError):
        Views(0)
    one = arena(readers=[1, 1])
    for data, readers in ((b"", None), (memoryview(b"abcd")[::2], None), (b"x", []), (b"x", [2]), (b"x", [-1])):
        with pytest.raises(LocalProtocolError):
            one.put(data, readers)
    assert one.committed == 0


def test_descriptors_that_do_not_fit_are_refused(arena: MakeArena) -> None:
    one, views = arena(), Views(1)
    good = put(one, b"o" * PAGE)
    for wrong in ({"slot": 64}, {"offset": 0}, {"offset": 17 * PAGE}, {"length": 2**60}, {"reader": 4}, {"reader": 65535}):
        with pytest.raises(RemoteProtocolError, match="does not hold"):
            views.get(good._replace(**wrong))  # type: ignore[arg-type]
    for wrong in ({"stamp": good.stamp + 1}, {"slot": good.slot + 1}, {"segment": good.segment[:-1] + "7"}):
        with pytest.raises(BlockGone):
            Views(1).get(good._replace(**wrong))  # type: ignore[arg-type]
    with pytest.raises(RemoteProtocolError, match="name"):
        views.get(good._replace(segment="../x"))
    assert views.get(good) == b"o" * PAGE


def test_files_that_are_no_segments_are_refused(arena: MakeArena, prefix: str, tmp_path: Path) -> None:
    good = put(arena(), b"o" * PAGE)
    for number, content in enumerate([b"", b"x" * 100, b"x" * 3 * PAGE, bytes(3 * PAGE)], 2):
        Path(FOLDER, f"{prefix}-{number}.1-0").write_bytes(content)
        with pytest.raises(RemoteProtocolError, match="segment"):
            Views(1).get(good._replace(segment=f"{prefix}-{number}.1-0"))
    os.symlink(f"{FOLDER}/{good.segment}", f"{FOLDER}/{prefix}-9.1-0")
    with pytest.raises(EngineError, match="cannot be mapped"):
        Views(1).get(good._replace(segment=f"{prefix}-9.1-0"))


def test_files_are_the_users_alone(arena: MakeArena) -> None:
    mode = os.umask(0)
    try:
        descriptor = put(arena(), b"x")
    finally:
        os.umask(mode)
    assert stat.S_IMODE(os.stat(f"{FOLDER}/{descriptor.segment}").st_mode) == 0o600


def test_sweep_removes_what_it_is_told(arena: MakeArena, prefix: str) -> None:
    for job, incarnation in ((1, 1), (1, 2), (2, 1), (12, 1)):
        put(arena(job=job, incarnation=incarnation), b"x")
    Path(FOLDER, f"{prefix}-notes").touch()
    for wrong in ("", "fission-", "fission", prefix + "/", "../" + prefix):
        with pytest.raises(LocalProtocolError):
            sweep(wrong)
    assert sweep(prefix[:-1]) == 0
    assert sweep(f"{prefix}-1.2") == 1
    assert sweep(f"{prefix}-1") == 1
    assert names(prefix) == [f"{prefix}-12.1-0", f"{prefix}-2.1-0", f"{prefix}-notes"]
    assert sweep(prefix) == 2
    Path(FOLDER, f"{prefix}-notes").unlink()


# -- nothing leaks ----------------------------------------------------------------------------------------------------


def footprint() -> tuple[int, int]:
    """Open descriptors and mappings of this process."""
    return len(os.listdir("/proc/self/fd")), Path("/proc/self/maps").read_text().count("/dev/shm/")


def test_ten_thousand_blocks_leave_nothing(arena: MakeArena) -> None:
    gc.collect()
    before = footprint()
    one, views = arena(limit=1 << 10), Views(1)
    held: list[Any] = []
    for number in range(10_000):
        size = 1 + number * 7919 % (5 * PAGE)
        descriptor = put(one, number.to_bytes(4, "big") * (-(-size // 4)))
        held.append((number, views.get(descriptor)))
        one.release(descriptor)
        if len(held) > number % 23:
            expected, view = held.pop(number % len(held))
            assert bytes(view) == expected.to_bytes(4, "big") * (len(view) // 4)
    assert footprint() == (before[0] + 3, before[1] + 2)  # an mmap has a descriptor of its own
    assert one.committed < 200 * PAGE
    held.clear()
    del view
    one.close()
    views.close()
    gc.collect()
    assert footprint() == before
    assert shared_views._hold_type.cache_info().currsize < 200


def test_constants_agree() -> None:
    assert shared_memory.FOLDER == shared_views.FOLDER
    assert shared_memory.SEGMENT_BYTES % ALIGNMENT == 0
    assert shared_blocks.slot_bytes(shared_blocks.SMALLEST_BYTES) == shared_blocks.SMALLEST_BYTES
