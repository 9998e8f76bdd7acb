"""Fixtures of the tests of networks that run on several machines."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.hosts import Host, Hosts, require
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


@pytest.fixture
def hosts_file() -> Iterator[Callable[[Host], Path]]:
    """Return a function that gives a host its own /etc/hosts, which `ip netns exec` mounts over the machine's."""
    made: list[Path] = []

    def make(host: Host) -> Path:
        made.append(Path("/etc/netns") / host.name)
        made[-1].mkdir(parents=True)
        path = made[-1] / "hosts"
        path.write_text("127.0.0.1 localhost\n")
        return path

    yield make
    for folder in made:
        shutil.rmtree(folder)
