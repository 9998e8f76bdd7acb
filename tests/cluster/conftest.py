"""Hosts for the tests of networks that run on several machines."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.cluster.hosts import Hosts, require


@pytest.fixture
def hosts() -> Iterator[Callable[[int], Hosts]]:
    """Makes so many hosts on a switch of their own; see tests/cluster/hosts.py."""
    require()
    made: list[Hosts] = []

    def make(count: int) -> Hosts:
        made.append(Hosts(count))
        return made[-1]

    yield make
    for network in reversed(made):
        network.close()
