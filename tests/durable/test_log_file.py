"""A log on a full disk leaves out lines, says how many, and disturbs no job."""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path

import pytest

from fission.durable import LogFile


def record(text: str) -> logging.LogRecord:
    return logging.LogRecord("fission", logging.INFO, __file__, 1, text, None, None)


def test_lines_that_cannot_be_written_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    handler = LogFile(tmp_path / "log")
    handler.handle(record("first"))

    def full(descriptor: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        handler.handle(record("lost"))
        handler.handle(record("lost too"))
    handler.handle(record("ü \udc80"))
    handler.close()
    handler.close()
    assert (tmp_path / "log").read_text().splitlines() == ["first", "2 lines of the log before this one could not be written", r"ü \udc80"]
    assert capsys.readouterr().err == ""


def test_a_file_that_cannot_be_opened_is_tried_again(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        LogFile(tmp_path / "no" / "log")
    handler = LogFile(tmp_path / "no" / "log", delay=True)
    handler.handle(record("lost"))
    (tmp_path / "no").mkdir()
    handler.handle(record("found"))
    handler.close()
    assert (tmp_path / "no" / "log").read_text() == "1 lines of the log before this one could not be written\nfound\n"
