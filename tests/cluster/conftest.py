"""Fixtures of the tests of networks that run on several machines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.hosts import Hosts, require
from tests.cluster.support import Site
from tests.waiting import CommandLine


@pytest.fixture
def hosts() -> Iterator[Callable[[int], Hosts]]:
    """Return a function that makes this many hosts on a switch of their own; see tests/cluster/hosts.py."""
    require()
    made: list[Hosts] = []

    def make(count: int) -> Hosts:
        made.append(Hosts(count))
        return made[-1]

    yield make
    for network in reversed(made):
        network.close()


@pytest.fixture
def cluster(hosts: Callable[[int], Hosts], fission: CommandLine, tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """Return a function that makes hosts with services on them, and a project; see tests/cluster/support.py."""
    made: list[Site] = []

    def make(count: int, **options: Any) -> Site:
        made.append(Site(fission, hosts(count), tmp_path, **options))
        return made[-1]

    yield make
    fission.close()
    for site in made:
        site.close()
