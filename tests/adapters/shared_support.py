"""Shared parts of the tests of shared memory; the fixtures are in conftest.py."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeAlias

from fission.adapters.shared_memory.arena import Arena
from fission.adapters.shared_memory.segments import FOLDER
from fission.protocol.shared_blocks import Descriptor

MakeArena: TypeAlias = Callable[..., Arena]


def put(arena: Arena, data: Any, **keywords: Any) -> Descriptor:
    """Do what `Arena.put` does, where there must be room."""
    descriptor = arena.put(data, **keywords)
    assert descriptor is not None
    return descriptor


def names(prefix: str) -> list[str]:
    """Return the names of a run's segments."""
    return sorted(name for name in os.listdir(FOLDER) if name.startswith(prefix))


def used_again(arena: Arena, before: Descriptor) -> bool:
    """Return whether the next buffer of the same size gets the memory of this one."""
    after = put(arena, b"n" * before.length)
    for reader in range(len(arena.readers)):
        arena.release(after._replace(reader=reader))
    return (after.segment, after.offset) == (before.segment, before.offset)
