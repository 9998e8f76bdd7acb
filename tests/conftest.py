"""Fixtures for all tests. hygiene.py has the rules on leaks and skips, also for the examples."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.waiting import CommandLine


def pytest_configure() -> None:
    """A busy machine is not a fault of what hypothesis tests. In CI hypothesis has such a profile itself."""
    if "CI" not in os.environ:
        settings.register_profile("busy machine", deadline=None)
        settings.load_profile("busy machine")


@pytest.fixture
def fission(tmp_path: Path) -> Iterator[CommandLine]:
    """The command line in a project of the test's own; see tests/waiting.py."""
    command_line = CommandLine(tmp_path)
    yield command_line
    command_line.close()
