"""Fixtures for all tests. The rules of the house (leaks, skips) are in hygiene.py, for the examples' tests too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.waiting import CommandLine


@pytest.fixture
def fission(tmp_path: Path) -> Iterator[CommandLine]:
    """The command line in a project of this test's own; see tests/waiting.py."""
    command_line = CommandLine(tmp_path)
    yield command_line
    command_line.close()
