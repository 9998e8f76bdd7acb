"""The files of sinks, whatever dies at any moment: exactly the recorded blocks, and all acknowledged ones."""

from __future__ import annotations

import errno
import os
import random
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fission import durable
from fission.core import sink_file, sink_journal
from fission.core.sink_file import BEYOND, SinkFile
from fission.core.sink_journal import JOURNAL, RECORD_BYTES, Position
from fission.errors import SinkFileError
from tests.waiting import eventually

FILE = Path("out.bin")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@contextmanager
def opened(generation: int = 0, *, to_device: bool = True) -> Iterator[SinkFile]:
    """One incarnation, which has begun."""
    with closing(SinkFile(FILE, to_device=to_device)) as file:
        file.begin(generation, file.first_number(generation))
        yield file


def write(file: SinkFile, *blocks: bytes, generation: int = 0) -> None:
    for block in blocks:
        file.append(block)
        file.record(generation, file.first_number(generation))
        file.flush()


def test_a_file_continues() -> None:
    with opened() as file:
        write(file, b"one", b"", b"three")
    with opened() as file:
        assert file.first_number(0) == 4
        write(file, b"four")
    assert FILE.read_bytes() == b"onethreefour"


def test_unrecorded_bytes_are_cut_off() -> None:
    with opened() as file:
        write(file, b"one")
        file.append(b"half")
    with opened() as file:
        assert FILE.read_bytes() == b"one"
        write(file, b"two")
    assert FILE.read_bytes() == b"onetwo"


def test_earlier_content_belongs_to_no_block() -> None:
    FILE.write_bytes(b"of an earlier run")
    with opened() as file:
        assert (file.known, file.first_number(0)) == (False, 1)
        write(file, b"!")
    with opened() as file:
        assert (file.known, file.first_number(0)) == (True, 2)
    assert FILE.read_bytes() == b"of an earlier run!"


def test_generations_number_from_one() -> None:
    with opened() as file:
        write(file, b"a", b"b")
        assert file.first_number(2) == 1
        file.begin(2, 1)
    with opened(2) as file:
        write(file, b"c", generation=2)
        assert file.first_number(2) == 2
        assert file.first_number(1) == file.first_number(0) == BEYOND


def test_numbers_that_were_left_out_are_known() -> None:
    with opened() as file:
        write(file, b"a")
        file.begin(0, 8)  # 2 to 7 are left out
    with opened() as file:
        assert file.first_number(0) == 8
        write(file, b"b")
        assert file.first_number(0) == 9
        file.sync()
        assert file.synced.block == (0, 8)


def test_a_snapshot_brings_the_file_back() -> None:
    with opened() as file:
        write(file, *(b"%d," % number for number in range(1, 9)))
        file.keep_from = (0, 3)
        file.sync()
    with closing(SinkFile(FILE)) as file:
        assert file.first_number(0) == 9
        file.begin(0, 4)
        write(file, b"new")
    assert FILE.read_bytes() == b"1,2,3,new"
    with opened() as file:
        assert file.first_number(0) == 5


def test_a_file_that_cannot_be_restored_is_an_error() -> None:
    with opened() as file:
        write(file, b"a", b"b")
        file.sync()
    with opened():
        pass
    with closing(SinkFile(FILE)) as file, pytest.raises(SinkFileError, match=r"out.bin cannot return to compute block 1: its journal"):
        file.begin(0, 1)


def test_the_journal_stays_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sink_journal, "JOURNAL_BYTES", 2000)
    with opened() as file:
        for number in range(1, 500):
            write(file, b"%d," % number)
            if number % 7 == 0:
                file.sync()
            assert os.stat(JOURNAL).st_size < 2000 + 10 * RECORD_BYTES
    with opened() as file:
        assert file.first_number(0) == 500


@pytest.mark.parametrize("missing", [1, 5, None], ids=["a byte", "all since the sync", "the file"])
def test_a_file_with_less_than_was_acknowledged_is_reported(missing: int | None) -> None:
    with opened() as file:
        write(file, b"12345", b"12345")
        file.sync()
    if missing is None:
        FILE.unlink()
    else:
        os.truncate(FILE, 10 - missing)
    with pytest.raises(SinkFileError, match=r"out.bin must have at least 10 bytes, which were acknowledged up to .* 2, but has \d"):
        SinkFile(FILE)


@settings(deadline=None)
@given(st.data())
def test_deaths_and_power_cuts_at_any_byte(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Everything that was synced stays; what follows it is whole blocks, in order."""
    os.chdir(tmp_path_factory.mktemp("sink"))
    rng = random.Random(data.draw(st.integers(0, 10_000)))
    wanted: list[bytes] = []
    acknowledged = 0
    for _ in range(data.draw(st.integers(1, 4))):
        with opened(to_device=False) as file:
            count = file.first_number(0) - 1
            assert acknowledged <= count <= len(wanted)
            del wanted[count:]
            for _ in range(rng.randint(0, 6)):
                block = rng.randbytes(rng.choice([0, 1, 5]))
                file.append(block)
                if rng.random() < 0.1:
                    break  # dies here
                file.record(0, len(wanted) + 1)
                file.flush()
                wanted.append(block)
                if rng.random() < 0.3:
                    file.sync()
            acknowledged, end = file.synced.number, file.synced.end
        if data.draw(st.booleans()):  # the power is cut: the device has what was synced, and any part of the rest, or zeros there
            journal = Path(JOURNAL).read_bytes()
            os.truncate(JOURNAL, rng.randint((journal.rindex(b"SYN1") // RECORD_BYTES + 1) * RECORD_BYTES, len(journal)))
            content = FILE.read_bytes()
            kept = content[: rng.randint(end, len(content))]
            FILE.write_bytes(kept[:end] + bytes(len(kept) - end) if rng.random() < 0.3 else kept)
    with opened() as file:
        count = file.first_number(0) - 1
    assert acknowledged <= count
    assert FILE.read_bytes() == b"".join(wanted[:count])


def test_damage_in_the_journal_loses_nothing_acknowledged() -> None:
    with opened() as file:
        write(file, b"a", b"b")
        file.sync()
        write(file, b"c")
    content = bytearray(Path(JOURNAL).read_bytes())
    content[-20] ^= 1
    Path(JOURNAL).write_bytes(content)
    with opened() as file:
        assert file.first_number(0) == 3


def flip(record: int) -> None:
    """Change a bit of one record of the journal; negative numbers count from the end."""
    content = bytearray(Path(JOURNAL).read_bytes())
    content[record * RECORD_BYTES + 13] ^= 1
    Path(JOURNAL).write_bytes(content)


def test_a_damaged_record_anywhere_loses_nothing_acknowledged() -> None:
    """Only the record of the last sync, and those after it, can cost blocks, and they are not cut off before the sink could object."""
    blocks = [b"a", b"", b"ccc", b"d", b"ee"]
    records = 1 + len(blocks) + 2  # begun, the blocks, two syncs
    for damaged in range(records):
        for path in (FILE, Path(JOURNAL)):
            path.unlink(missing_ok=True)
        with opened() as file:
            write(file, *blocks[:2])
            file.sync()
            write(file, *blocks[2:])
            file.sync()
        flip(damaged)
        with closing(SinkFile(FILE)) as file:
            assert file.damaged
            assert file.first_number(0) == 6, damaged
        assert FILE.read_bytes() == b"".join(blocks)


@pytest.mark.parametrize("left", [RECORD_BYTES * 4 + 5, RECORD_BYTES * 5 - 1])
def test_a_journal_that_is_cut_cuts_nothing_before_the_file_begins(left: int) -> None:
    with opened() as file:
        write(file, b"a", b"b")
        file.sync()
        write(file, b"c", b"d")
        file.sync()
    os.truncate(JOURNAL, left)
    with closing(SinkFile(FILE)) as file:
        assert (file.damaged, file.first_number(0)) == (True, 3)
        assert FILE.read_bytes() == b"abcd"
        file.begin(0, 3)
        write(file, b"C")
    assert FILE.read_bytes() == b"abC"


def test_a_return_across_a_gap_is_refused() -> None:
    """The record of block 3 is damaged, so it is unknown where block 4 begins; where the others begin is known."""
    with opened() as file:
        write(file, *(b"%d" % number for number in range(1, 7)))
        file.sync()
    flip(3)
    with (
        closing(SinkFile(FILE)) as file,
        pytest.raises(SinkFileError, match="cannot return to compute block 4: its journal is damaged there"),
    ):
        file.begin(0, 4)
    assert FILE.read_bytes() == b"123456"
    with closing(SinkFile(FILE)) as file:
        file.begin(0, 5)
    assert FILE.read_bytes() == b"1234"


def test_a_rewritten_journal_does_not_hide_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sink_journal, "JOURNAL_BYTES", 100)
    with opened() as file:
        write(file, *(b"%d" % number for number in range(1, 7)))
        file.keep_from = (0, 1)
        flip(3)
        file.sync()
    with closing(SinkFile(FILE)) as file, pytest.raises(SinkFileError, match="cannot return to compute block 4"):
        file.begin(0, 4)


@pytest.mark.parametrize("whole", [0, 2])
def test_a_journal_without_a_whole_record_of_a_sync_is_refused(whole: int) -> None:
    with opened() as file:
        write(file, b"a", b"b")
    for record in range(1 if whole else 3):
        flip(record)
    with pytest.raises(SinkFileError, match=r"out.bin: its journal .* is damaged, so it is unknown"):
        SinkFile(FILE)


# -- devices that fail


@pytest.mark.parametrize("path", [FILE, Path(JOURNAL)], ids=str)
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("part", [None, 2], ids=["", "half of it was written"])
def test_a_full_disk_makes_it_wait(monkeypatch: pytest.MonkeyPatch, path: Path, number: int, part: int | None) -> None:
    monkeypatch.setattr(sink_file, "FULL_DISK_S", 0.001)
    warnings: list[str] = []
    tries: list[int] = []
    full = threading.Event()

    def hook(operation: str, where: Path) -> int | None:
        if operation == "write" and where == path and full.is_set():
            tries.append(1)
            if part is not None and len(tries) % 2:
                return part
            raise OSError(number, os.strerror(number))
        return None

    with opened() as file, durable.interpose(hook):
        file.on_full_disk = warnings.append
        write(file, b"first")
        full.set()
        thread = threading.Thread(target=write, args=(file, b"second"))
        thread.start()
        eventually(lambda: len(tries) > 5, 10, "it tries again and again")
        full.clear()
        thread.join()
        write(file, b"third")
    assert FILE.read_bytes() == b"firstsecondthird"
    assert len(warnings) == 1
    assert f"the disk of {FILE.absolute()} is full: the job waits, and nothing is lost" in warnings[0]
    with opened() as file:
        assert file.first_number(0) == 4


def test_a_device_that_fails_to_sync_keeps_nothing_unsynced() -> None:
    """After a failed fsync the kernel may show data that it no longer tries to write: it has to come again."""
    failing = threading.Event()

    def hook(operation: str, where: Path) -> None:
        if operation == "fsync" and failing.is_set():
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    with opened() as file, durable.interpose(hook):
        write(file, b"a")
        file.sync()
        write(file, b"b")
        failing.set()
        with pytest.raises(OSError, match="Input/output error"):
            file.sync()
        assert file.synced == Position(0, 1, 1)
        failing.clear()
    assert FILE.read_bytes() == b"a"
    with opened() as file:
        assert file.first_number(0) == 2
