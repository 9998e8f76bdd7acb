"""What other terminals show of a network on several machines, and what remains of it."""

from __future__ import annotations

import json
from collections.abc import Callable

import psutil

from tests.cluster.support import Site
from tests.e2e.failover import CHAIN, chain_rows

MakeSite = Callable[..., Site]
STEADY = 60
#: Bytes that an idle service may have resident (issue: at most 90 MB).
IDLE_BYTES = 90e6

TALKS = """
class Talks(Total):
    def run(self, value):
        print("had", value)
        return super().run(value)
"""


def test_status_and_top_know_all_nodes_and_jobs(cluster: MakeSite) -> None:
    site = cluster(2)
    client = site.run(CHAIN.format(limit=0))
    site.rows(STEADY)
    site.nodes[site.node_of(4)].kill()
    site.happened("NodeLost")
    site.more_rows(STEADY)
    lost = site.lost_nodes()
    status = json.loads(site.fission.run("net", "status", "--json", exit_code=0, env=site.env).stdout)
    assert {node["name"]: node["up"] for node in status["nodes"]} == {"client": True, "n1": "n1" not in lost, "n2": "n2" not in lost}
    assert len(status["failovers"]) == 1
    assert f"node {lost[0]} is lost" in status["failovers"][0]
    top = json.loads(site.fission.run("net", "top", "--once", "--json", exit_code=0, env=site.env).stdout)
    for report in (status, top):
        assert {row["id"]: row["node"] for row in report["jobs"]} == {job: node for job, (_, node) in site.incarnations().items()}
    site.finish(client, chain_rows)


def test_echo_shows_blocks_of_jobs_on_other_machines(cluster: MakeSite) -> None:
    site = cluster(2)
    client = site.run(CHAIN.format(limit=0))
    site.rows(STEADY)
    lines = site.fission.run("net", "echo", "1", "--count", "3", "--json", exit_code=0, env=site.env).stdout.splitlines()
    values = [json.loads(line)["value"] for line in lines]
    assert len(values) == 3
    assert values == sorted(values)
    site.finish(client, chain_rows)


def test_debug_follows_a_job_to_its_next_node(cluster: MakeSite) -> None:
    """Output of jobs on nodes goes to the viewers that ask for it; without DEBUG_WINDOW the client itself does not show it."""
    site = cluster(2)
    client = site.run(CHAIN.format(limit=0).replace("Total", "Talks"), TALKS)
    site.rows(STEADY)
    debug = site.fission.start("net", "debug", "--job", "4", env=site.env)
    debug.wait_for("[Talks 4] had", count=3)
    site.nodes[site.node_of(4)].kill()
    site.happened("JobReady", job=4, incarnation=2)
    seen = debug.stdout.count("[Talks 4] had")
    debug.wait_for("[Talks 4] had", count=seen + 20)
    debug.interrupt()
    debug.wait(exit_code=130)
    by_address = site.fission.start("net", "debug", "--node", site.nodes[site.node_of(4)].ip, env=site.env)
    by_address.wait_for("[Talks 4] had", count=3)
    by_address.interrupt()
    by_address.wait(exit_code=130)
    done = site.finish(client, chain_rows)
    assert "[Talks 4]" not in done.stdout


def test_debug_window_shows_the_output_of_all_nodes(cluster: MakeSite) -> None:
    site = cluster(2)
    client = site.run(CHAIN.format(limit=0).replace("Total", "Talks"), TALKS, extra="DEBUG_WINDOW = True")
    client.wait_for("[Talks 4] had", count=3)
    site.rows(STEADY)
    site.finish(client, chain_rows)


def test_collect_brings_the_logs_of_all_nodes(cluster: MakeSite) -> None:
    """While the network runs, and when it is over."""
    site = cluster(2)
    client = site.run(CHAIN.format(limit=0))
    site.rows(STEADY)
    for running in (True, False):
        if not running:
            site.finish(client, chain_rows)
        found = json.loads(site.fission.run("net", "collect", "--json", exit_code=0, env=site.env).stdout)
        assert set(found) == {"client", "n1", "n2"}
        for node, ip in (*((name, node.ip) for name, node in site.nodes.items()), ("client", site.network.client_ip)):
            as_marvelo = site.fission.root / "net" / "collection" / f"fission-{ip.replace('.', '-')}.log"
            assert as_marvelo.read_text() == (site.fission.root / found[node]).read_text()
        for job, (_, node) in site.incarnations().items():
            text = (site.fission.root / found[node]).read_text()
            assert f" {job} starts, incarnation 1" in text, (node, text)


def test_a_run_in_the_background_is_attached_to_and_stopped(cluster: MakeSite) -> None:
    site = cluster(2)
    site.project(CHAIN.format(limit=0).replace("Total", "Talks"), TALKS)
    site.fission.run("net", "run", "--detach", exit_code=0, env=site.env)
    site.rows(STEADY)
    attached = site.fission.start("net", "attach", env=site.env)
    attached.wait_for("[Talks 4] had", count=3)
    site.fission.run("net", "stop", exit_code=0, env=site.env)
    attached.wait(exit_code=0)
    site.no_jobs_left()


def test_an_idle_service_is_small(cluster: MakeSite) -> None:
    site = cluster(1)
    site[1].logged("waits for a client")
    process = psutil.Process(site[1].process.pid)
    sizes = {one.pid: one.memory_info().rss for one in [process, *process.children(recursive=True)]}
    assert sizes[process.pid] < IDLE_BYTES, sizes
