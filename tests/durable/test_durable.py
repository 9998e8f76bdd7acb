"""Files are whole or unchanged, whatever fails; damaged records and lines are found, wherever the damage is."""

from __future__ import annotations

import contextlib
import errno
from pathlib import Path

import pytest

from fission import durable
from tests.disk_faults import DISK_ERRORS, FailNth

ENTRIES = [{"s": 1.25, "what": "started"}, {}, {"text": "ü\n\x00", "path": Path("x")}, {"crc": "inner"}]
READ_BACK = [{"s": 1.25, "what": "started"}, {}, {"text": "ü\n\x00", "path": "x"}, {"crc": "inner"}]


def operations_of(path: Path, content: bytes) -> int:
    counting = FailNth(0, 0)
    with durable.interpose(counting):
        durable.write_whole(path, content)
    return len(counting.seen)


@pytest.mark.parametrize("error", DISK_ERRORS)
def test_whole_files_are_as_before_or_new_whichever_operation_fails(tmp_path: Path, error: str) -> None:
    path = tmp_path / "file"
    count = operations_of(path, b"old")
    assert count >= 5  # open, write, fsync, rename, open and fsync of the folder
    for nth in range(1, count + 1):
        durable.write_whole(path, b"old")
        fault = FailNth(nth, getattr(errno, error), half=True)
        with durable.interpose(fault), pytest.raises(OSError, match=str(path)[:5]):
            durable.write_whole(path, b"new and longer")
        assert fault.failed
        assert path.read_bytes() in (b"old", b"new and longer")
        assert [child.name for child in tmp_path.iterdir()] == ["file"], "nothing is left beside it"


def test_whole_file_is_synced_before_it_is_renamed_and_its_folder_after(tmp_path: Path) -> None:
    counting = FailNth(0, 0)
    with durable.interpose(counting):
        durable.write_whole(tmp_path / "file", b"x")
    steps = [(operation, Path(path).name) for operation, path in counting.seen if operation in ("write", "fsync", "rename")]
    assert steps == [("write", "file"), ("fsync", "file"), ("rename", "file"), ("fsync", tmp_path.name)]


@pytest.mark.parametrize("to_device", [True, False])
@pytest.mark.parametrize("error", DISK_ERRORS)
def test_the_appender_has_each_entry_once_whichever_operation_fails(tmp_path: Path, error: str, to_device: bool) -> None:
    for nth in range(1, 12):
        for times in (1, 2, 5):
            path = tmp_path / f"log{nth}.{times}"
            appender = durable.Appender(path)
            with durable.interpose(FailNth(nth, getattr(errno, error), times, half=True)):
                for number in range(6):
                    appender.add(b"entry %d\n" % number)
                    with contextlib.suppress(OSError):
                        appender.flush(to_device=to_device)
            appender.flush()
            appender.close()
            assert path.read_bytes() == b"".join(b"entry %d\n" % number for number in range(6))


def test_appender_cuts_a_torn_end(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"whole\nto")
    appender = durable.Appender(path, keep_bytes=6)
    appender.add(b"more\n")
    appender.flush()
    appender.close()
    assert path.read_bytes() == b"whole\nmore\n"


def test_record_that_is_cut_or_has_a_flipped_bit_is_found(tmp_path: Path) -> None:
    path = tmp_path / "record"
    for pieces in ((), (b"",), (b"ab", memoryview(b"cdef"))):
        durable.write_record(path, *pieces)
        content = path.read_bytes()
        assert durable.read_record(path) == b"".join(pieces)
        assert durable.records(path) == ([b"".join(pieces)], len(content))
        damaged = [content[:length] for length in range(len(content))] + [content + b"\0"]
        damaged += [
            content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :] for place in range(len(content)) for bit in range(8)
        ]
        for version in damaged:
            path.write_bytes(version)
            assert not durable.whole_record(path), version
            with pytest.raises(durable.DamagedFileError, match="record is damaged: it"):
                durable.read_record(path)


def test_records_end_where_the_damage_begins(tmp_path: Path) -> None:
    path = tmp_path / "records"
    content = b"".join(b"".join(durable.frame(b"%d" % number)) for number in range(3))
    for length in range(len(content) + 1):
        path.write_bytes(content[:length])
        found, good_bytes = durable.records(path)
        assert found == [b"0", b"1", b"2"][: length // (len(content) // 3)]
        assert good_bytes == len(found) * (len(content) // 3)


def test_sealed_lines_read_back() -> None:
    assert [durable.unseal(durable.seal(entry)) for entry in ENTRIES] == READ_BACK


def test_a_changed_bit_in_a_sealed_line_is_found() -> None:
    for entry in ENTRIES:
        line = durable.seal(entry)
        for place in range(len(line)):
            for bit in range(8):
                changed = line[:place] + bytes([line[place] ^ 1 << bit]) + line[place + 1 :]
                with pytest.raises(ValueError, match=r"checksum|end"):
                    durable.unseal(changed)


@pytest.mark.parametrize("end", [b'{"s": 1.234, "what": "JobEn', b"\0" * 300, bytes(range(256)), b"\n\n\n", b"\n"])
def test_a_torn_last_line_is_not_damage(tmp_path: Path, end: bytes) -> None:
    path = tmp_path / "lines"
    whole = b"".join(map(durable.seal, ENTRIES))
    path.write_bytes(whole + end)
    assert durable.sealed_lines(path) == (READ_BACK, len(whole))


def test_lines_cut_anywhere_keep_the_whole_ones(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    lines = [durable.seal(entry) for entry in ENTRIES]
    whole = b"".join(lines)
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        found, good_bytes = durable.sealed_lines(path)
        assert whole[:good_bytes] == b"".join(lines[: len(found)])
        assert length - good_bytes < max(map(len, lines))


def test_damage_between_whole_lines_is_named(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_bytes(durable.seal({"a": 1}) + b"garbage\n" + durable.seal({"b": 2}))
    with pytest.raises(durable.DamagedFileError, match="line 2: it does not end with FISSION's checksum"):
        durable.sealed_lines(path)


def test_json_file_that_is_cut_is_found(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    durable.write_json(path, {"a": [1]})
    content = path.read_bytes()
    assert durable.read_json(path) == {"a": [1]}
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(durable.DamagedFileError):
            durable.read_json(path)


def test_folders_are_made_with_all_above_them(tmp_path: Path) -> None:
    durable.make_folder(tmp_path / "a" / "b")
    durable.make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        durable.make_folder(tmp_path / "file")


def test_remove_unfinished_keeps_other_files(tmp_path: Path) -> None:
    for name in (".new-abc", "new", ".hidden"):
        (tmp_path / name).touch()
    durable.remove_unfinished(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".hidden", "new"]
