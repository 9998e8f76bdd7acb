"""Fixtures of the tests in this folder that run networks in threads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from fission.adapters.shared_memory.arena import Arena
from tests.conformance.places import MemoryPlace, Place


@pytest.fixture
def place() -> Iterator[Place]:
    one = MemoryPlace()
    yield one
    one.close()


@pytest.fixture
def copies(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of all buffers that were copied into shared memory."""
    before, sizes = Arena.put, []

    def put(arena: Arena, buffer: Any, readers: Any = None) -> Any:
        sizes.append(memoryview(buffer).nbytes)
        return before(arena, buffer, readers)

    monkeypatch.setattr(Arena, "put", put)
    return sizes
