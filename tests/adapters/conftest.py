"""Arenas of a few pages for the tests of shared memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from fission.adapters.shared_memory.arena import Arena
from fission.adapters.shared_memory.segments import run_prefix, sweep
from fission.protocol.shared_blocks import ALIGNMENT
from tests.adapters.shared_support import MakeArena


@pytest.fixture
def prefix() -> Iterator[str]:
    """The prefix of a run of this test's own; what the test leaves in /dev/shm is removed."""
    name = run_prefix()
    yield name
    sweep(name)


@pytest.fixture
def arena(prefix: str) -> Iterator[MakeArena]:
    """Return a function that makes arenas of a few pages: ``arena(limit=pages, readers=[incarnation, ...])``."""
    arenas = []

    def make(limit: int = 17, readers: list[int] | None = None, incarnation: int = 1, job: int = 1, **keywords: Any) -> Arena:
        keywords = {"segment_bytes": limit * ALIGNMENT, **keywords}
        arenas.append(Arena(prefix, job, incarnation, readers or [1], limit=limit * ALIGNMENT, **keywords))
        return arenas[-1]

    yield make
    for one in arenas:
        one.close()
