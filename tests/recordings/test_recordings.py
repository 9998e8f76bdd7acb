"""Recordings: blocks are read back, and whatever was written completely can be read, however the writing ended."""

from __future__ import annotations

import errno
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fission.core.base import collecting
from fission.core.block_time import BlockTime
from fission.core.pipes import BytesPipe, JSONPipe, PicklePipe
from fission.errors import BlockError, UserError
from fission.protocol.block_times import pack
from fission.recordings import Recorder, file_format, read_recording, writer
from fission.runtime import codec
from tests.testing import alone_jobs as jobs


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    with collecting():
        yield


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "some.rec"


def written(path: Path, count: int = 100, size: int = 10) -> list[tuple[int, bytes]]:
    """Entries of one block each."""
    blocks = [(number, bytes([number % 256]) * size) for number in range(1, count + 1)]
    with Recorder(path, "net", [BytesPipe(1, size)]) as recorder:
        for sqn, payload in blocks:
            recorder.write(1.5 * sqn, 1, 0, sqn, [payload])
    return blocks


def read(path: Path) -> list[tuple[int, Any]]:
    return [(block.sqn, block.payload) for block in read_recording(path)]


SMALL = st.binary(max_size=20)
BATCHES = st.lists(
    st.tuples(
        st.floats(0, 1e10),
        st.integers(1, 3),
        st.integers(0, 5),
        st.integers(1, 2**40),
        st.lists(st.one_of(SMALL, st.lists(SMALL, min_size=1, max_size=3)), min_size=1, max_size=8),
        st.booleans(),
        st.booleans(),
    ),
    max_size=8,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(BATCHES)
def test_recorded_blocks_are_read_back(path: Path, batches: Any) -> None:
    expected = []
    newest: dict[int, float] = {}
    with Recorder(path, "net", [PicklePipe(number) for number in (1, 2, 3)], overwrite=True) as recorder:
        for when, pipe, generation, sqn, payloads, with_heads, with_times in batches:
            heads = [(sqn + index) % 256 for index in range(len(payloads))] if with_heads else None
            made = [BlockTime.at(when + index) if with_times else None for index in range(len(payloads))]
            recorder.write(when, pipe, generation, sqn, payloads, heads, b"".join(pack(time) for time in made if time) or None)
            when = newest[pipe] = max(when, newest.get(pipe, when))  # times of a pipe never run backwards
            expected += [
                (when, pipe, generation, sqn + index, heads[index] if heads else 0, made[index], payload)
                for index, payload in enumerate(payloads)
            ]
        recorder.close({1: 7})
        recorder.close()
    recording = read_recording(path)
    found = [(block.time, block.pipe, block.generation, block.sqn, block.head, block.block_time, block.payload) for block in recording]
    assert found == expected
    assert recording.problem == ""
    assert recording.missed == {1: 7}
    assert recording.pipes == [1, 2, 3]
    assert recorder.blocks == len(expected)
    assert recorder.size == path.stat().st_size


def test_values_are_read_by_the_classes_that_are_named(path: Path) -> None:
    pipes = [PicklePipe(1), JSONPipe(2), BytesPipe(3, 4), jobs.Bytes4(4), jobs.Gain(5)]
    values = [{1, 2}, {"a": 1}, b"abcd", 258, "+"]
    with Recorder(path, "net", pipes) as recorder:
        for pipe, value in zip(pipes, values, strict=True):
            recorder.write(1.0, pipe.id, 0, 1, [codec.encoder(pipe)(value)])
    with collecting():
        assert [block.value for block in read_recording(path)] == values
    assert [block.value for block in read_recording(path, {pipe.id: pipe for pipe in pipes})] == values


def test_big_values(path: Path) -> None:
    numpy = pytest.importorskip("numpy")
    pipe = PicklePipe(1)
    with Recorder(path, "net", [pipe]) as recorder:
        recorder.write(1.0, 1, 0, 1, [codec.encoder(pipe)(numpy.arange(100_000))])
    (block,) = read_recording(path)
    assert type(block.payload) is list
    assert (block.value == numpy.arange(100_000)).all()


def test_a_class_that_is_not_there(path: Path) -> None:
    class Hidden(PicklePipe):
        pass

    with Recorder(path, "net", [Hidden(1)]) as recorder:
        recorder.write(1.0, 1, 0, 1, [b"x"])
    (block,) = read_recording(path)
    assert block.payload == b"x"
    with pytest.raises(BlockError, match=r"can only be read with its class .*Hidden"):
        _ = block.value


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_recording_that_is_cut_off_is_read_as_far_as_it_is_whole(path: Path, cut: int) -> None:
    blocks = written(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    recording = read_recording(path)
    found = [(block.sqn, block.payload) for block in recording]
    assert found == blocks[: len(found)]
    assert len(found) >= 99
    assert recording.problem != ""


def test_every_place_where_it_can_be_cut(path: Path) -> None:
    blocks = written(path, 5)
    whole = path.read_bytes()
    seen = set()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        try:
            recording = read_recording(path)
        except UserError as why:
            assert "not a FISSION recording" in str(why) or "damaged, or cut off before its first block" in str(why)  # noqa: PT017 - either
            continue
        found = [(block.sqn, block.payload) for block in recording]
        assert found == blocks[: len(found)]
        assert recording.problem
        seen.add(len(found))
    assert seen == {0, 1, 2, 3, 4, 5}


def test_every_bit_that_can_be_flipped(path: Path) -> None:
    blocks = written(path, 3)
    whole = path.read_bytes()
    for place in range(len(whole)):
        for bit in range(8):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :])
            try:
                recording = read_recording(path)
                found = [(block.sqn, block.payload) for block in recording]
            except UserError:
                continue
            assert found == blocks[: len(found)]
            # only in the name of its checksum can a flip be without a consequence
            assert recording.problem or (recording.header["pipes"]["1"]["block_size"], recording.header["network"]) == (10, "net")


@pytest.mark.parametrize("content", [b"", b"\0" * 300, bytes(range(256)), None], ids=["emptied", "zeros", "garbage", "folder"])
def test_files_that_are_not_recordings_are_refused(path: Path, content: bytes | None) -> None:
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(UserError, match=str(path)):
        read_recording(path)


@pytest.mark.parametrize("text", [b"5", b"[]", b"{}", b'{"pipes": 3}', b"null", b"\xff"])
def test_a_header_of_something_else_is_refused(path: Path, text: bytes) -> None:
    path.write_bytes(file_format.START.pack(file_format.MAGIC, 1, len(text)) + text)
    with pytest.raises(UserError, match="is a recording that was damaged"):
        read_recording(path)


def test_a_recording_of_an_earlier_version_without_a_checksum_is_read(path: Path) -> None:
    text = b'{"network": "net", "began": 1.0, "pipes": {}}'
    path.write_bytes(file_format.START.pack(file_format.MAGIC, 1, len(text)) + text)
    assert read_recording(path).header["network"] == "net"


def test_times_of_a_pipe_never_run_backwards(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Recorder(path, "net", [BytesPipe(1, 1), BytesPipe(2, 1)]) as recorder:
        for sqn, when in enumerate((1000.0, 1001.0, 4601.0, 900.0, 4602.0), 1):
            recorder.write(when, 1, 0, sqn, [b"x"])
            recorder.write(5.0 * sqn, 2, 0, sqn, [b"x"])
        monkeypatch.setattr(writer.time, "time", lambda: 0.0)  # the clock was set
    times = {pipe: [block.time for block in read_recording(path) if block.pipe == pipe] for pipe in (1, 2)}
    assert times == {1: [1000.0, 1001.0, 4601.0, 4601.0, 4602.0], 2: [5.0, 10.0, 15.0, 20.0, 25.0]}


def test_damage_in_the_middle(path: Path) -> None:
    blocks = written(path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    recording = read_recording(path)
    found = [(block.sqn, block.payload) for block in recording]
    assert 30 < len(found) < 70
    assert found == blocks[: len(found)]
    assert "is damaged at byte" in recording.problem or "is cut off at byte" in recording.problem


def test_a_recording_that_is_still_written(path: Path) -> None:
    recorder = Recorder(path, "net", [BytesPipe(1, 1)])
    recorder.write(1.0, 1, 0, 1, [b"x"])
    recorder._flush()
    recording = read_recording(path)
    assert [block.sqn for block in recording] == [1]
    assert "has no end: its writer was killed, or is still writing" in recording.problem
    recorder.close()
    assert [block.sqn for block in recording] == [1]
    assert recording.problem == ""


BAD = {
    "cannot be read: No such file": None,
    "is not a FISSION recording": b"RIFF....WAVEfmt ",
    "is a recording of version 9, and this FISSION reads versions 1 to 2": file_format.START.pack(file_format.MAGIC, 9, 2) + b"{}",
    "was damaged, or cut off before its first block": file_format.START.pack(file_format.MAGIC, 1, 200) + b'{"network": "net"',
}


@pytest.mark.parametrize("message", BAD)
def test_no_recording(path: Path, message: str) -> None:
    content = BAD[message]
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_recording(path)


def test_a_file_is_not_overwritten_by_accident(path: Path, tmp_path: Path) -> None:
    written(path)
    with pytest.raises(UserError, match="exists already; name another file, or overwrite it"):
        Recorder(path, "net", [])
    with pytest.raises(UserError, match="cannot be written: Is a directory"):
        Recorder(tmp_path, "net", [], overwrite=True)


class FullDisk:
    """A file on a disk with room for this many more bytes."""

    def __init__(self, file: Any, room: int) -> None:
        self._file, self._room = file, room

    def write(self, data: Any) -> int:
        if not self._room:
            raise OSError(errno.ENOSPC, "No space left on device")
        count = self._file.write(data[: self._room])
        self._room -= count
        return int(count)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


@pytest.mark.parametrize("room", [0, 1, 30, 1000, 5000])
def test_a_full_disk_leaves_complete_entries(path: Path, room: int) -> None:
    recorder = Recorder(path, "net", [BytesPipe(1, 100)])
    recorder._file = FullDisk(recorder._file, room)  # type: ignore[assignment]
    number = 0

    def write_on() -> None:
        nonlocal number
        while True:
            number += 1
            recorder.write(1.0, 1, 0, number, [b"x" * 100])
            if number % 10 == 0:
                recorder._flush()

    with pytest.raises(OSError, match="No space left"):
        write_on()
    recorder.close()
    recording = read_recording(path)
    found = [block.sqn for block in recording]
    assert found == list(range(1, len(found) + 1))
    assert room // 160 <= len(found) <= room // 140
    assert "has no end" in recording.problem  # whole, but for its end
    assert recorder.size == path.stat().st_size


MEMORY = """
import resource, sys
from fission.core.pipes import BytesPipe
from fission.recordings import Recorder, read_recording
from pathlib import Path
base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
recorder = Recorder(sys.argv[1], "net", [BytesPipe(1, 1000)])
for number in range(1, 100_001, 50):
    recorder.write(1.0, 1, 0, number, [b"x" * 1000] * 50)
recorder.close()
count = sum(1 for block in read_recording(sys.argv[1]))
print(count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base)
"""


@pytest.mark.slow
def test_memory_is_bounded(path: Path) -> None:
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > 0
    done = subprocess.run([sys.executable, "-c", MEMORY, str(path)], capture_output=True, text=True, timeout=50, check=True)
    count, grown = map(int, done.stdout.split())
    assert count == 100_000
    assert path.stat().st_size > 100_000_000
    assert grown < 30_000  # KB
