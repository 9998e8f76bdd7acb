"""Fixtures of the tests of provisioning."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.provision.boards import Boards, make_wheelhouse


@pytest.fixture(scope="session")
def wheelhouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheels that a node needs, FISSION's own excepted."""
    return make_wheelhouse(tmp_path_factory.mktemp("wheelhouse"), "cluster")


@pytest.fixture(scope="module")
def make_boards(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Boards]]:
    """Return a function that makes boards which exist until the end of the module."""
    made: list[Boards] = []

    def make(count: int, disk_bytes: Sequence[int] = ()) -> Boards:
        made.append(Boards(count, tmp_path_factory.mktemp("boards"), disk_bytes=disk_bytes))
        return made[-1]

    yield make
    for boards in reversed(made):
        boards.close()
