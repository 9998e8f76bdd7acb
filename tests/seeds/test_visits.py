"""What a node answers a client that runs nothing on it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from fission.errors import UserError
from fission.protocol.node_lease import NodeLease
from fission.service.archive_store import ARCHIVES, ArchiveStore
from fission.service.visits import Visits

VERSIONS = {"fission": "1", "Python": "3.11"}


@pytest.fixture
def stock(tmp_path: Path) -> ArchiveStore:
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
    residence = NodeLease()
    residence.enlist("run", network, now, interval_s=1e6, orphan_timeout_s=1e9)
    return residence


def ask(stock: ArchiveStore, residence: NodeLease, order: Mapping[str, Any]) -> dict[str, Any]:
    answers = Visits("n1", 4, stock.root, VERSIONS, residence).answers(lambda: "10.0.0.1")
    return asyncio.run(answers[order["do"]](order, b""))  # type: ignore[arg-type]  # they are coroutines


def files(stock: ArchiveStore) -> set[str]:
    return {str(path.relative_to(stock.root)) for path in stock.root.rglob("*") if path.is_file()}


def test_a_free_node_removes_a_network_and_all_code(stock: ArchiveStore) -> None:
    assert ask(stock, NodeLease(), {"do": "remove", "network": "room", "root": ""}) == {"bytes": 15}
    assert files(stock) == {"hall/2/out.csv"}


def test_a_node_that_serves_another_network_keeps_the_code(stock: ArchiveStore) -> None:
    assert ask(stock, serving("hall", 0.0), {"do": "remove", "network": "room", "root": ""}) == {"bytes": 10}
    assert files(stock) == {"hall/2/out.csv", f"{ARCHIVES}/ab12ab12/jobs.py"}


def test_a_node_keeps_what_it_runs(stock: ArchiveStore) -> None:
    before = files(stock)
    with pytest.raises(UserError, match="it runs jobs of room; stop the network first"):
        ask(stock, serving("room", 0.0), {"do": "remove", "network": "room", "root": ""})
    assert files(stock) == before


@pytest.mark.parametrize("network", ["../keep", "..", "", ".", ARCHIVES, "room/1", "/etc", "room\0"])
def test_nothing_but_a_network_is_removed(stock: ArchiveStore, network: str) -> None:
    before = files(stock)
    with pytest.raises(UserError, match="the name of a network must be a Python name"):
        ask(stock, NodeLease(), {"do": "remove", "network": network, "root": ""})
    assert files(stock) == before
    assert (stock.root.parent / "keep" / "thesis.tex").exists()


def test_a_link_is_not_followed(stock: ArchiveStore) -> None:
    (stock.root / "linked").symlink_to(stock.root.parent / "keep")
    assert ask(stock, serving("hall", 0.0), {"do": "remove", "network": "linked", "root": ""}) == {"bytes": 0}
    assert (stock.root.parent / "keep" / "thesis.tex").exists()


@pytest.mark.parametrize("there", [True, False])
def test_who_it_is(stock: ArchiveStore, there: bool) -> None:
    """A node whose client is heard, or that has other versions, could not be had by a run either."""
    import time

    order = {"do": "visit", "versions": VERSIONS if there else {"fission": "2", "Python": "3.11"}, "root": "", "first": True}
    found = ask(stock, NodeLease(), order)
    assert (found["name"], found["ip"], found["max_jobs"]) == ("n1", "10.0.0.1", 4)
    if there:
        assert found["means"]["memory"] > 0
        residence = serving("hall", time.monotonic())
        assert ask(stock, residence, order)["error"] == "it serves the network hall of another client"
        assert (residence.run, residence.network) == ("run", "hall"), "a visit changes nothing"
    else:
        assert found["error"] == "the versions differ: fission is 1 there and 2 here; install the same on both"
