"""The tests of each example, run as its reader does: python3 manage.py NETWORK test."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from fission.project.finding import list_networks
from tests.waiting import run_fission

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
NETWORKS = list_networks(EXAMPLES)


def test_all_are_there() -> None:
    assert len(NETWORKS) >= 9
    assert [name for name in NETWORKS if not list((EXAMPLES / name / "tests").glob("test_*.py"))] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_the_tests_of_an_example(name: str) -> None:
    done = run_fission((name, "test", "--runslow"), EXAMPLES, exit_code=0, deadline_s=50)
    assert re.search(r"\d+ passed", done.stdout)
    assert not re.search(r"skipped|failed|error", done.stdout.splitlines()[-1])


def test_live_is_an_option_of_the_examples_manage_py() -> None:
    command = [sys.executable, "manage.py", "source_separation", "graph", "--live"]
    done = subprocess.run(command, cwd=EXAMPLES, capture_output=True, text=True, check=True, timeout=50)
    assert "LiveReaderJob" in done.stdout
    assert "(ReaderJob" not in done.stdout
