"""Nodes of the next version of FISSION join a running network one by one; those of another line are refused. (With `provision renew`:
tests/provision/test_client_service.py.)
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster.support import Site
from tests.e2e.failover import CHAIN, chain_rows
from tests.versions import HERE, NEXT, OTHER, tree_of

MakeSite = Callable[..., Site]
pytestmark = [pytest.mark.slow, pytest.mark.soak, pytest.mark.timeout(180)]

STEADY = 40


def test_the_next_version_joins_a_running_network(cluster: MakeSite, tmp_path: Path) -> None:
    """Each service is replaced in turn; its jobs move away and come back, and no block is lost or comes twice."""
    environment = tree_of(tmp_path, NEXT)
    site = cluster(3, jobs=2)
    client = site.run(CHAIN.format(limit=0), extra="ALLOCATION_TIMEOUT = 60")
    site.rows(STEADY)
    for node in site.nodes.values():
        joined = len(site.events("NodeJoined"))
        node.stop()
        node.start(jobs=2, env=environment)
        site.happened("NodeJoined", joined + 1)
        site.more_rows(STEADY)
    site.finish(client, chain_rows)
    assert {job for job, (incarnation, _) in site.incarnations().items() if incarnation > 1} >= {1, 2, 3, 4}


def test_a_version_of_another_line_is_refused_and_the_network_continues(cluster: MakeSite, tmp_path: Path) -> None:
    site = cluster(2)
    client = site.run(CHAIN.format(limit=0), extra="ALLOCATION_TIMEOUT = 60")
    site.rows(STEADY)
    site[1].stop()
    site[1].start(env=tree_of(tmp_path, OTHER))
    line = client.wait_for("node n1 cannot be used", 30, stream="stderr")
    assert line.endswith(
        f"the versions differ: fission is {HERE} on the client and {OTHER} on the node; install the client's on it: "
        "fission provision renew --limit n1"
    )
    site.more_rows(STEADY)
    done = site.finish(client, chain_rows)
    assert done.stderr.count("the versions differ") == 1
    assert {node for job, (_, node) in site.incarnations().items() if job != 5} == {"n2"}


def test_a_change_of_frames_without_a_new_line_would_be_noticed(cluster: MakeSite, tmp_path: Path) -> None:
    """What the contract forbids: the next version has other frames. Its jobs and the others do not understand each other."""
    environment = tree_of(tmp_path, NEXT)
    frames = tmp_path / NEXT / "fission" / "protocol" / "frames.py"
    text = frames.read_text()
    assert "\nVERSION = 1\n" in text
    frames.write_text(text.replace("\nVERSION = 1\n", "\nVERSION = 2\n"))
    site = cluster(2)
    client = site.run(CHAIN.format(limit=0), extra="ALLOCATION_TIMEOUT = 60")
    site.rows(STEADY)
    for node in site.nodes.values():
        node.stop()
    for node in site.nodes.values():
        node.start(env=environment)
    site.happened("NodeJoined", 4)
    with pytest.raises(AssertionError, match="not within"):
        site.rows(site.row_count() + 3 * STEADY, deadline_s=10)
    client.process.kill()
    client.process.wait()
