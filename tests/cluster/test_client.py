"""The client may die: the jobs run without it, and another client continues where it stopped."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster.support import WAIT_S, Site
from tests.e2e.failover import CHAIN, chain_rows
from tests.waiting import Running

MakeSite = Callable[..., Site]
STEADY = 60


def killed(site: Site, client: Running) -> None:
    """SIGKILL to the client alone; its local jobs go with it."""
    client.process.send_signal(signal.SIGKILL)
    assert client.wait().exit_code == -signal.SIGKILL


def test_a_killed_client_is_resumed(cluster: MakeSite) -> None:
    """The jobs on the nodes do not notice; the sink, which ran on the client, continues after what its file holds."""
    site = cluster(2)
    client = site.run(CHAIN.format(limit=0))
    site.rows(STEADY)
    killed(site, client)
    here = {node.name: node.jobs() for node in site.nodes.values()}
    assert set().union(*here.values()) == {1, 2, 3, 4}
    count = site.row_count()
    client = site.start("--resume")
    site.rows(count + STEADY)
    assert {node.name: node.jobs() for node in site.nodes.values()} == here
    assert all(incarnation == 1 for job, (incarnation, _) in site.incarnations().items() if job != 5)
    site.finish(client, chain_rows)


def test_a_client_that_is_killed_while_jobs_start(cluster: MakeSite) -> None:
    """It had ordered them, but they do not know of each other yet: the next client sends them what this one could not."""
    site = cluster(2)
    gate = site.folder / "gate"
    gate.touch()
    late = f"""
    class Late(Total):
        def __setstate__(self, state):  # runs in the process of the job alone, before it says hello
            while os.path.exists({str(gate)!r}):
                time.sleep(0.01)
            self.__dict__.update(state)
    """
    client = site.run(CHAIN.format(limit=0).replace("Total", "Late"), late)
    site.happened("Launch", job=4)
    for job in (1, 2, 3, 5):
        site.happened("JobReady", job=job)
    killed(site, client)
    gate.unlink()
    client = site.start("--resume")
    site.rows(STEADY)
    assert all(incarnation == 1 for job, (incarnation, _) in site.incarnations().items() if job != 5)
    site.finish(client, chain_rows)


@pytest.mark.soak
def test_a_node_that_was_away_with_its_client_stops_the_superseded_incarnations(cluster: MakeSite) -> None:
    """It was lost and its jobs were moved; the client died, and the next one, which never saw it die, meets it with its old jobs."""
    site = cluster(2)
    client = site.run(CHAIN.format(limit=0))
    site.rows(STEADY)
    victim = site.nodes[site.node_of(1)]
    old = victim.jobs()
    victim.host.lose(100)
    site.happened("NodeLost", node=victim.name)
    site.more_rows(STEADY)
    killed(site, client)
    victim.host.heal()
    client = site.start("--resume")
    site.until(lambda: not victim.jobs() & old, f"the old incarnations of {old} are stopped")
    site.more_rows(STEADY)
    site.finish(client, chain_rows)


def test_a_client_that_stays_away(cluster: MakeSite) -> None:
    """The jobs stop by themselves, the nodes are free; a later client continues with the snapshots."""
    site = cluster(2)
    client = site.run(CHAIN.format(limit=0), extra="ORPHAN_TIMEOUT = 2")
    site.rows(STEADY)
    killed(site, client)
    for node in site.nodes.values():
        node.logged("no message from the client for too long: its jobs are stopped")
    site.no_jobs_left()
    client = site.start("--resume")
    site.rows(site.row_count() + STEADY)
    assert all(incarnation == 2 for incarnation, _ in site.incarnations().values())
    site.finish(client, chain_rows)


@pytest.mark.slow
def test_a_network_without_a_place_continues_when_its_nodes_are_back(cluster: MakeSite) -> None:
    """As a service does it: the nodes lose their power, the client gives up, and is started again before and after they return."""
    site = cluster(2)
    client = site.run(CHAIN.format(limit=0), extra="ALLOCATION_TIMEOUT = 1")
    site.rows(STEADY)
    for node in site.nodes.values():
        node.kill()
    client.wait(WAIT_S, exit_code=3)
    count = site.row_count()
    site.start("--resume-or-start").wait(WAIT_S, exit_code=3)
    for node in site.nodes.values():
        node.start()
    client = site.start("--resume-or-start")
    client.wait_for("continues; it ended with: no place for ", stream="stderr")
    site.rows(count + STEADY)
    site.finish(client, chain_rows)


def test_runs_one_after_the_other_on_the_same_services(cluster: MakeSite) -> None:
    """Another network's run begins without anything of the previous one, even after a service was restarted."""
    site = cluster(2)
    for number in range(2):
        client = site.run(CHAIN.format(limit=0), name=f"project{number}")
        site.rows(STEADY)
        site.finish(client, chain_rows)
        Path(f"{site.end}.number").unlink()
        site.end.unlink()
        assert site.lost_nodes() == []
        if number == 0:
            site[1].stop()
            assert site[1].left() == []
            site[1].start()
    client = site.start()  # the same project again
    site.rows(STEADY)
    site.finish(client, chain_rows)


def test_ctrl_c_stops_the_jobs_everywhere(cluster: MakeSite) -> None:
    site = cluster(2)
    client = site.run(CHAIN.format(limit=0))
    site.rows(STEADY)
    client.interrupt()
    client.wait(exit_code=130)
    site.no_jobs_left()
