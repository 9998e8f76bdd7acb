"""Fixtures for all tests. hygiene.py has the rules on leaks and skips, also for the examples."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.waiting import CommandLine


@pytest.fixture
def fission(tmp_path: Path) -> Iterator[CommandLine]:
    """The command line in a project of the test's own; see tests/waiting.py."""
    command_line = CommandLine(tmp_path)
    yield command_line
    command_line.close()
