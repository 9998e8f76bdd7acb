"""Messages about nodes: hints that fit the reason, goodbyes, and no output of Dask."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from fission.adapters.keys import make_keys
from tests.cluster.support import Site
from tests.e2e.failover import CHAIN, chain_rows

MakeSite = Callable[..., Site]
STEADY = 30
RESTART = "restart its service: sudo service fission restart"
#: Words of Dask's own messages, which mean nothing to users.
DASK = ("stimulus", "heartbeat", "gather", "distributed", "Dask:", "rescheduling", "tcp://10.", "tls://10.")


def quiet(text: str) -> None:
    """Nothing of Dask's is in a text for users."""
    found = [line for line in text.split("\n") for word in DASK if word in line and "connect" not in line]
    assert not found, found


def test_a_stopped_service_says_goodbye(cluster: MakeSite) -> None:
    """Its node has left, it is not lost: no warning, and its jobs start elsewhere at once."""
    site = cluster(2)
    client = site.run(CHAIN.format(limit=0), extra="PULSE_INTERVAL = 2")
    site.rows(STEADY)
    victim = site.nodes[site.node_of(4)]
    victim.stop()
    site.more_rows(STEADY)  # before pulses could be missed
    done = site.finish(client, chain_rows)
    assert f"Failover: node {victim.name} has left: its service was stopped" in done.stderr
    assert f"node {victim.name} is lost" not in done.stderr
    assert [entry["on_purpose"] for entry in site.events("NodeLost")] == [True]
    quiet(done.stdout + done.stderr)
    quiet((site.local / "fission.log").read_text())
    quiet("".join(node.log for node in site.nodes.values()))


@pytest.mark.slow
@pytest.mark.soak
def test_dask_prints_nothing_when_nodes_and_clients_die(cluster: MakeSite) -> None:
    """Neither on the console, nor in the logs of client and service."""
    site = cluster(2)
    client = site.run(CHAIN.format(limit=0), extra="ORPHAN_TIMEOUT = 2")
    site.rows(STEADY)
    site[1].host.link(False)
    site.happened("NodeLost", node="n1")
    site[1].host.link(True)
    site.happened("NodeUp", 2, node="n1")
    site[2].kill()
    site.happened("NodeLost", node="n2")
    site.more_rows(STEADY)
    quiet(client.stdout + client.stderr)
    quiet((site.local / "fission.log").read_text())
    client.process.send_signal(signal.SIGKILL)
    client.wait(exit_code=-signal.SIGKILL)
    site[1].logged("no message from the client for too long: its jobs are stopped")
    quiet("".join(node.log for node in site.nodes.values()))


@pytest.mark.slow
@pytest.mark.soak
def test_a_hint_for_each_reason(cluster: MakeSite, tmp_path: Path) -> None:
    """One node works; the line of each other node says what to do about its fault."""
    site = cluster(4, start=False)
    make_keys(tmp_path / "other")
    blocked = tmp_path / "file"
    blocked.touch()
    site[1].start()
    site[2].start("--keys", str(tmp_path / "other"))
    site[3].start(root=blocked / "below")
    for number in (1, 2, 3):
        site[number].logged("waits for a client")
    more = "NODES += [BaseNode('no-such-host.invalid', 'n5')]"
    client = site.run(CHAIN.format(limit=0), extra=more)
    site.rows(STEADY)
    done = site.finish(client, chain_rows)
    said = done.stderr
    assert f"node n2 ({site[2].ip}) has other keys than this machine, or does not encrypt: copy {site.keys} to it, then: " in said
    assert "node n3 cannot be used: " in said
    assert f"node n4 does not answer; {RESTART}" in said
    assert "node n5 is not there: its host name no-such-host.invalid is not known on this machine" in said
    for name in ("n1", "n2", "n3", "n5"):
        assert f"node {name} does not answer" not in said
    assert said.count(RESTART) == 1
    quiet(said)
