"""The run folder where TMPDIR is long, writable for others, or missing; users without a home."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from fission.adapters.keys import home
from fission.adapters.run_folder import NAME_BYTES, SOCKET_PATH_BYTES, make_run_folder
from fission.errors import UserError


@pytest.mark.parametrize("length", [30, 60, 80, 107, 200])
def test_a_socket_with_the_longest_name_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, length: int) -> None:
    folder = Path(tempfile.mkdtemp(prefix="f", dir="/tmp"))
    long = folder / ("x" * max(1, length - len(str(folder)) - 1))
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    made = make_run_folder(short_folders=(str(folder),))
    try:
        assert len(os.fsencode(made)) + NAME_BYTES <= SOCKET_PATH_BYTES
        assert os.stat(made).st_mode & 0o777 == 0o700
    finally:
        os.rmdir(made)
        long.rmdir()
        folder.rmdir()


def test_no_folder_has_a_short_enough_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / ("x" * 80)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    with pytest.raises(UserError, match="set TMPDIR to a short path"):
        make_run_folder(short_folders=(str(long),))


def test_a_folder_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/none")
    with pytest.raises(UserError, match="/none: No such file or directory"):
        make_run_folder(short_folders=())


@pytest.mark.slow
def test_a_user_without_a_home() -> None:
    """A container's numeric uid: not in the list of users, no HOME."""
    body = "import os; from fission.adapters.keys import default_folder; os.environ.pop('HOME', None); "
    body += "os.environ.pop('FISSION_KEYS', None); os.setuid(54321); default_folder()"
    done = subprocess.run([sys.executable, "-c", body], capture_output=True, text=True, check=False)
    assert done.stderr.endswith("needs a home folder, and user 54321 has none: set HOME, or set FISSION_KEYS to a folder\n")


def test_a_home() -> None:
    assert home("this", "that") == Path.home()
