"""Faults of machines, lines and processes: whatever happens, the sink's file is as if nothing had."""

from __future__ import annotations

from collections.abc import Callable

from tests.cluster.support import Site
from tests.e2e.failover import CHAIN, chain_rows

MakeSite = Callable[..., Site]
LIMIT = 600
STEADY = 60


def test_a_killed_service(cluster: MakeSite) -> None:
    site = cluster(3)
    client = site.run(CHAIN.format(limit=LIMIT))
    site.rows(STEADY)
    victim = site.node_of(3)
    site.nodes[victim].process.kill()
    done = site.finish(client, chain_rows(LIMIT))
    assert site.lost_nodes() == [victim]
    assert f"node {victim} is lost" in done.stderr
