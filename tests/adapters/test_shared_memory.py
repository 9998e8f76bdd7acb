"""Arena and views in one process: blocks are read back, read-only; no space, wrong use, files, leaks."""

from __future__ import annotations

import gc
import os
import pickle
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fission.adapters.shared_memory.arena import REFUSED_PUTS, SEGMENT_BYTES, Arena
from fission.adapters.shared_memory.segments import FOLDER, sweep
from fission.adapters.shared_memory.views import Views, _hold_type
from fission.errors import EngineError, LocalProtocolError, RemoteProtocolError
from fission.protocol import shared_blocks
from fission.protocol.shared_blocks import ALIGNMENT, BlockGone, Descriptor
from tests.adapters.shared_support import MakeArena, names, put

PAGE = ALIGNMENT

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


def test_no_resource_tracker_is_started(prefix: str) -> None:
    code = (
        "import sys\n"
        "from fission.adapters.shared_memory.arena import Arena\n"
        "from fission.adapters.shared_memory.views import Views\n"
        f"arena = Arena({prefix!r}, 1, 1, [1])\n"
        "view = Views(1).get(arena.put(bytes(70000)))\n"
        "print([name for name in sys.modules if name.startswith(('multiprocessing', 'numpy', 'zmq', 'asyncio'))], len(view))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[] 70000\n", "")
    assert names(prefix) == [f"{prefix}-1.1-0"]


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


def test_a_missing_folder_is_not_a_fault(prefix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    one = Arena(prefix, 1, 1, [1], folder=str(tmp_path / "missing"))
    assert one.put(b"x") is None
    assert one.refused == 1
    assert [record for record in caplog.records if record.levelname != "INFO"] == []
    assert sweep(prefix, folder=str(tmp_path / "missing")) == 0


def test_a_system_without_reserving_is_not_a_fault(prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_name_that_is_taken_gives_the_slow_path(arena: MakeArena, prefix: str, caplog: pytest.LogCaptureFixture) -> None:
    Path(FOLDER, f"{prefix}-1.1-0").write_bytes(b"another program's")
    assert arena().put(b"x") is None
    assert "File exists" in caplog.text
    assert Path(FOLDER, f"{prefix}-1.1-0").read_bytes() == b"another program's"


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


def test_sweep_removes_what_it_is_given(arena: MakeArena, prefix: str) -> None:
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
    assert footprint() == (before[0] + 3, before[1] + 2)  # an mmap has its own descriptor
    assert one.committed < 200 * PAGE
    held.clear()
    del view
    one.close()
    views.close()
    gc.collect()
    assert footprint() == before
    assert _hold_type.cache_info().currsize < 200


def test_constants_agree() -> None:
    assert SEGMENT_BYTES % ALIGNMENT == 0
    assert shared_blocks.slot_bytes(shared_blocks.SMALLEST_BYTES) == shared_blocks.SMALLEST_BYTES
