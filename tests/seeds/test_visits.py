"""A node's answers to a client that runs nothing on it."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from fission.errors import UserError
from fission.protocol.messages.client_to_node import InspectNode, RemoveNetwork
from fission.protocol.messages.node_to_client import Answer, NetworkRemoved, NodeInspected, OrderRefused
from fission.protocol.node_lease import NodeLease
from fission.service.announced_groups import AnnouncedGroups
from fission.service.archive_store import ARCHIVES, ArchiveStore
from fission.service.options import NodeOptions
from fission.service.visits import Visits

VERSIONS = {"fission": "1", "Python": "3.11"}


@pytest.fixture
def store(tmp_path: Path) -> ArchiveStore:
    """A node's folder with two networks and an archive, and a file beside it."""
    found = ArchiveStore(tmp_path / "node")
    found.prepare()
    for path in ("room/1/out.csv", "room/fission.log", "hall/2/out.csv", f"{ARCHIVES}/ab12ab12/jobs.py"):
        target = found.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text("12345")
    (tmp_path / "keep").mkdir()
    (tmp_path / "keep" / "thesis.tex").write_text("x")
    return found


def serving(network: str, now: float) -> NodeLease:
    lease = NodeLease()
    lease.claim("run", network, now, interval_s=1e6, orphan_timeout_s=1e9)
    return lease


def visits(store: ArchiveStore, lease: NodeLease) -> Visits:
    options = NodeOptions("10.0.0.9", 8786, None, "n1", 4, store.root, "", VERSIONS, (), "")
    return Visits(options, lease, lambda: "10.0.0.1", AnnouncedGroups(()))


def remove(store: ArchiveStore, lease: NodeLease, network: str) -> Answer:
    return asyncio.run(visits(store, lease).remove(RemoveNetwork(network=network, root=""), b""))  # type: ignore[arg-type]  # a coroutine


def files(store: ArchiveStore) -> set[str]:
    return {str(path.relative_to(store.root)) for path in store.root.rglob("*") if path.is_file()}


def test_a_free_node_removes_a_network_and_all_code(store: ArchiveStore) -> None:
    assert remove(store, NodeLease(), "room") == NetworkRemoved(size=15)
    assert files(store) == {"hall/2/out.csv"}


def test_a_node_that_serves_another_network_keeps_the_code(store: ArchiveStore) -> None:
    assert remove(store, serving("hall", 0.0), "room") == NetworkRemoved(size=10)
    assert files(store) == {"hall/2/out.csv", f"{ARCHIVES}/ab12ab12/jobs.py"}


def test_a_node_keeps_what_it_runs(store: ArchiveStore) -> None:
    before = files(store)
    with pytest.raises(UserError, match="it runs jobs of room; stop the network first"):
        remove(store, serving("room", 0.0), "room")
    assert files(store) == before


@pytest.mark.parametrize("network", ["../keep", "..", "", ".", ARCHIVES, "room/1", "/etc", "room\0"])
def test_nothing_but_a_network_is_removed(store: ArchiveStore, network: str) -> None:
    before = files(store)
    with pytest.raises(UserError, match="the name of a network must be a Python name"):
        remove(store, NodeLease(), network)
    assert files(store) == before
    assert (store.root.parent / "keep" / "thesis.tex").exists()


def test_a_link_is_not_followed(store: ArchiveStore) -> None:
    (store.root / "linked").symlink_to(store.root.parent / "keep")
    assert remove(store, serving("hall", 0.0), "linked") == NetworkRemoved(size=0)
    assert (store.root.parent / "keep" / "thesis.tex").exists()


@pytest.mark.parametrize("there", [True, False])
def test_who_it_is(store: ArchiveStore, there: bool) -> None:
    """A node with a connected client or other versions would refuse a run, too."""

    def inspect(lease: NodeLease) -> Answer:
        order = InspectNode(versions=VERSIONS if there else {"fission": "2", "Python": "3.11"}, root="", first=True)
        return asyncio.run(visits(store, lease).inspect(order, b""))  # type: ignore[arg-type]  # a coroutine

    found = inspect(NodeLease())
    if there:
        assert isinstance(found, NodeInspected)
        assert (found.name, found.ip, found.max_jobs) == ("n1", "10.0.0.1", 4)
        assert found.means["memory"] > 0
        lease = serving("hall", time.monotonic())
        assert inspect(lease) == OrderRefused(error="it serves the network hall of another client", name="n1", ip="10.0.0.1")
        assert (lease.run, lease.network) == ("run", "hall"), "a visit changes nothing"
    else:
        error = (
            "the versions differ: fission is 2 on the client and 1 on the node; install the client's on it: "
            "fission provision renew --limit n1"
        )
        assert found == OrderRefused(error=error, name="n1", ip="10.0.0.1")
