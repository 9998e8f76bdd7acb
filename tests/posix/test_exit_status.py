"""The one wording of exit statuses, which no other module repeats."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from fission.posix.exit_status import how_ended, how_program_failed

SOURCE = Path(__file__).parents[2] / "src"


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (0, "exited with code 0"),
        (3, "exited with code 3"),
        (-9, "was killed by signal 9 (SIGKILL)"),
        (-200, "was killed by signal 200"),  # a signal that this system does not have
    ],
)
def test_the_texts(status: int, words: str) -> None:
    assert how_ended(status) == words


def test_a_program_that_failed() -> None:
    assert how_program_failed(3) == "exited with code 3 (0 means finished)"
    assert how_program_failed(127) == "exited with code 127, which says that a program was not found (0 means finished)"
    assert how_program_failed(-9) == how_ended(-9)


def test_statuses_are_those_of_subprocess() -> None:
    killed = subprocess.run([sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGTERM)"], check=False)
    assert how_ended(killed.returncode) == "was killed by signal 15 (SIGTERM)"


def test_no_other_module_has_such_texts() -> None:
    own = SOURCE / "fission" / "posix" / "exit_status.py"
    wording = re.compile(r"killed by signal \{|(exited|ended|failed|died) with (exit )?code \{(?!last)|signal\.Signals\(-")
    found = [str(path.relative_to(SOURCE)) for path in SOURCE.rglob("*.py") if path != own and wording.search(path.read_text())]
    assert not found
