"""Faults of machines, lines and processes: the sink's file is the same as without them."""

from __future__ import annotations

import itertools
import signal
import time
from collections.abc import Callable

import pytest

from tests.cluster.hosts import Host, Listener
from tests.cluster.support import Site
from tests.e2e.failover import CHAIN, DIAMOND, chain_rows, diamond_rows
from tests.e2e.support import column
from tests.waiting import eventually

MakeSite = Callable[..., Site]
#: Rows of the sink's file before and after a fault; 2 ms each.
STEADY = 60
#: A node is lost after 0.5 s without pulses; so a break is short if less than this has passed from one pulse to the next.
SHORT_S = 0.45
#: Breaks that may last too long because the machine is busy.
TRIES = 10


# -- processes ----------------------------------------------------------------------------------------------------------


def test_a_killed_service(cluster: MakeSite) -> None:
    """The service of the source's node is killed; its jobs restart elsewhere."""
    site = cluster(3)
    client = site.run(CHAIN.format(limit=0))
    site.rows(STEADY)
    victim = site.node_of(1)
    site.nodes[victim].kill()
    site.happened("NodeLost", node=victim)
    site.more_rows(STEADY)
    done = site.finish(client, chain_rows)
    assert f"Failover: node {victim} is lost: its service has ended" in done.stderr
    assert all(site.node_of(job) != victim for job in (1, 2, 3, 4))


def test_killed_processes_of_jobs(cluster: MakeSite) -> None:
    """Each is restarted where it was: the source, an executable's host, one without state, one with."""
    site = cluster(2)
    client = site.run(CHAIN.format(limit=0))
    site.rows(STEADY)
    for job in (1, 2, 3, 4):
        node = site.nodes[site.node_of(job)]
        site.until(lambda: node.job(job), f"the process of job {job}").kill()  # type: ignore[union-attr]  # noqa: B023
        site.happened("JobReady", job=job, incarnation=2)
        assert site.node_of(job) == node.name
        site.more_rows(STEADY)
    site.finish(client, chain_rows)
    assert site.lost_nodes() == []


def test_a_node_that_freezes_and_continues_is_fenced(cluster: MakeSite) -> None:
    """Its processes do not know that they were replaced; nothing that they do counts, and they are stopped."""
    site = cluster(2)
    client = site.run(CHAIN.format(limit=0))
    site.rows(STEADY)
    victim = site.nodes[site.node_of(4)]
    old = victim.jobs()
    assert 4 in old
    victim.signal(signal.SIGSTOP)
    site.happened("NodeLost", node=victim.name)
    site.more_rows(STEADY)
    victim.signal(signal.SIGCONT)
    site.happened("NodeUp", 2, node=victim.name)
    site.until(lambda: not victim.jobs() & old, f"the old incarnations of {old} are stopped")
    site.more_rows(STEADY)
    site.finish(client, chain_rows)


# -- cables and lines -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["switch", "host"])
def test_a_short_break_is_not_a_failover(cluster: MakeSite, end: str) -> None:
    """``ip link set ... down`` for 0.3 s, at the default PULSE_INTERVAL. Right after a pulse: the next three get lost, not four.

    A busy machine may set the link up late. Then the break was no short one: it is repeated, and the node may have been lost.
    """
    site = cluster(2)
    client = site.run(CHAIN.format(limit=0), extra="PULSE_INTERVAL = 0.1")
    site.rows(STEADY)
    too_long = []
    for node in (site[1], site[2]):
        while (silence := _break(node.host, end)) > SHORT_S:
            too_long.append(node.name)
            assert len(too_long) < TRIES, f"each break lasted longer than {SHORT_S} s, the last one {silence:.2f} s"
            site.more_rows(STEADY)
        assert silence > 0.3, "the client was without pulses"
        site.more_rows(STEADY)
    site.finish(client, chain_rows)
    assert set(site.lost_nodes()) <= set(too_long)
    assert too_long or all(incarnation == 1 for incarnation, _ in site.incarnations().values())


def _break(host: Host, end: str) -> float:
    """Pull the cable of a host for 0.3 s right after a pulse; return the longest time between two pulses."""
    with Listener(host) as listener:
        heard = [listener.wait()]
        host.interrupt(0.3, end)  # sees to it that nothing comes out
        back = time.time()
        while heard[-1] < back:
            heard.append(listener.wait())
    return max(after - before for before, after in itertools.pairwise(heard))


def test_a_cut_cable(cluster: MakeSite) -> None:
    """Of the node of the stateful job. The jobs behind the cut wait for the client, and stop by themselves."""
    site = cluster(3)
    client = site.run(CHAIN.format(limit=0), extra="ORPHAN_TIMEOUT = 2")
    site.rows(STEADY)
    victim = site.nodes[site.node_of(4)]
    victim.host.link(False)
    site.happened("NodeLost", node=victim.name)
    site.more_rows(STEADY)
    victim.logged("no message from the client for too long: its jobs are stopped")
    done = site.finish(client, chain_rows)
    assert f"Failover: node {victim.name} is lost: 5 pulses missed" in done.stderr


def test_a_node_that_returns_is_used_again(cluster: MakeSite) -> None:
    site = cluster(2)
    client = site.run(CHAIN.format(limit=0))
    site.rows(STEADY)
    site[1].host.link(False)
    site.happened("NodeLost", node="n1")
    eventually(_after(1.5), 3, "two seconds without a cable")
    site[1].host.link(True)
    site.happened("NodeUp", 2, node="n1")
    site.until(lambda: not site[1].jobs(), "its old incarnations are stopped")
    site[2].kill()
    site.happened("NodeLost", node="n2")
    site.more_rows(STEADY)
    assert {site.node_of(job) for job in (1, 2, 3, 4)} == {"n1"}
    site.finish(client, chain_rows)


@pytest.mark.parametrize("direction", ["out", pytest.param("in", marks=[pytest.mark.slow, pytest.mark.soak])])
def test_a_line_that_carries_only_one_direction(cluster: MakeSite, direction: str) -> None:
    """A node whose pulses do not arrive is lost; so is a node that receives nothing, although its pulses arrive."""
    site = cluster(2)
    client = site.run(CHAIN.format(limit=0))
    site.rows(STEADY)
    victim = site.nodes[site.node_of(3)]
    victim.host.lose(100, direction)
    site.happened("NodeLost", node=victim.name, deadline_s=5)
    site.more_rows(STEADY)
    victim.host.heal()
    site.happened("NodeUp", 2, node=victim.name)
    site.finish(client, chain_rows)


def test_a_line_that_loses_a_tenth(cluster: MakeSite) -> None:
    site = cluster(2)
    client = site.run(CHAIN.format(limit=0))
    site.rows(STEADY)
    site[1].host.lose(10)
    site.more_rows(4 * STEADY)  # with such losses, TCP may need half a minute for ten times as many as STEADY
    site.finish(client, chain_rows)


def test_a_slow_line(cluster: MakeSite) -> None:
    site = cluster(2)
    client = site.run(CHAIN.format(limit=0))
    site.rows(STEADY)
    for node in site.nodes.values():
        node.host.limit(1000)
    site.more_rows(5 * STEADY)
    site.finish(client, chain_rows)
    assert site.lost_nodes() == []


# -- more than one ------------------------------------------------------------------------------------------------------


def test_two_nodes_lost_at_once(cluster: MakeSite) -> None:
    site = cluster(3)
    client = site.run(DIAMOND.format(limit=0), extra="ORPHAN_TIMEOUT = 2")
    site.rows(STEADY)
    for number in (1, 2):
        site[number].host.link(False)
    for number in (1, 2):
        site.happened("NodeLost", node=f"n{number}")
    site.more_rows(STEADY)
    assert {site.node_of(job) for job in (1, 2, 3, 4)} == {"n3"}
    for number in (1, 2):
        site[number].logged("no message from the client for too long")
    site.finish(client, diamond_rows, pipe=5)


def test_power_loss_of_the_node_of_a_join(cluster: MakeSite) -> None:
    site = cluster(3)
    client = site.run(DIAMOND.format(limit=0))
    site.rows(STEADY)
    victim = site.nodes[site.node_of(4)]
    victim.power_off()
    site.happened("NodeLost", node=victim.name)
    site.more_rows(STEADY)
    site.finish(client, diamond_rows, pipe=5)


# -- sources --------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.soak
def test_the_node_of_a_source_that_cannot_resume(cluster: MakeSite) -> None:
    """A new generation begins; the old one arrived without gaps up to some block, and the summary says that its source was restarted."""
    site = cluster(2)
    client = site.run(CHAIN.format(limit=0).replace("Numbers", "Forgets").replace("Total", "Pass"))
    site.rows(STEADY)
    victim = site.nodes[site.node_of(1)]
    victim.kill()
    site.happened("JobReady", job=1, incarnation=2)
    site.until(lambda: (values := column(site.result())).count(2) == 2 and values[-1] >= 2 * STEADY, "rows of the new generation")
    done = site.wait(client)
    values = column(site.result())
    begin = values.index(2, 1)
    assert begin >= STEADY
    assert values[:begin] == [2 * number for number in range(1, begin + 1)], done
    assert values[begin:] == [2 * number for number in range(1, site.blocks() + 1)], done
    assert "1 restart" in next(line for line in done.stdout.splitlines() if "Forgets 1" in line)


@pytest.mark.slow
@pytest.mark.soak
def test_the_summary_reports_the_blocks_that_a_source_lost(cluster: MakeSite) -> None:
    """The line is slow: most sent blocks were still on its node. The sink lacks exactly the blocks that the summary calls lost."""
    site, made = cluster(2), 300
    listed = f"""
    Burst({str(site.end)!r}, outputs=[PicklePipe(1)]),
    First(inputs=[PicklePipe(1)], outputs=[PicklePipe(2)]),
    CSVSinkJob("result.csv", inputs=[PicklePipe(2)]),
    """
    jobs = f"""
    class Burst(PythonJob):
        def __init__(self, path, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.path, self.number = path, 0
        def setup(self, *args, **kwargs):
            super().setup(*args, **kwargs)
            self.again = os.path.exists(self.path + ".begun")
            open(self.path + ".begun", "w").close()
        def run(self):
            self.number += 1
            if self.number > {made}:
                while not os.path.exists(self.path):
                    time.sleep(0.01)
            if self.number >= 20 and self.again:
                self.finish()
            return [self.number, b"." * 50_000]

    class First(LocalJob, PythonJob):
        def run(self, value):
            return value[0]
    """
    for node in site.nodes.values():
        node.host.limit(8_000)
    client = site.run(listed, jobs)
    site.rows(10, sink=3)
    eventually(_after(2.5), 5, "what the source has sent is reported each second")
    victim = site.nodes[site.node_of(1)]
    victim.kill()
    site.end.touch()
    done = site.wait(client)
    values = column(site.result(sink=3))
    arrived = values.index(1, 1)
    assert values == [*range(1, arrived + 1), *range(1, 21)]
    assert arrived < made
    line = next(line for line in done.stdout.splitlines() if "Burst 1" in line)
    assert f", {made - arrived} lost" in line, done


# -- places ---------------------------------------------------------------------------------------------------------------


@pytest.mark.soak
def test_a_node_that_comes_late_is_admitted(cluster: MakeSite) -> None:
    site = cluster(2, start=False)
    site[1].start()
    pattern = f"10.77.{site.network.number}.*"
    client = site.run(CHAIN.format(limit=0), extra=f"NODES = [MultiNode({pattern!r})]")
    site.rows(STEADY)
    site[2].start()
    site.happened("NodeUp", node="n2")
    site[1].kill()
    site.happened("NodeLost", node="n1")
    site.more_rows(STEADY)
    assert {site.node_of(job) for job in (1, 2, 3, 4)} == {"n2"}
    site.finish(client, chain_rows)


def test_too_few_places(cluster: MakeSite) -> None:
    """Who is more important gets what there is; the network ends when its patience does, and names the reasons."""
    site = cluster(2, jobs=3)
    jobs = """
    class Important(Total):
        PRIORITY = 5
    """
    client = site.run(CHAIN.format(limit=0).replace("Total", "Important"), jobs, extra="ALLOCATION_TIMEOUT = 1.5")
    site.rows(STEADY)
    victim = site.nodes[site.node_of(4)]
    other = "n1" if victim.name == "n2" else "n2"
    victim.kill()
    done = client.wait(exit_code=3)
    site.no_jobs_left()
    assert site.incarnations()[4] == (2, other)
    assert "no place for" in done.stdout
    assert f"{victim.name}: lost" in done.stderr
    assert f"{other}: has no room" in done.stderr or f"{other}: full" in done.stderr, done.stderr


def _after(seconds: float) -> Callable[[], bool]:
    """True when so much time has passed: of a fault that has a length there is nothing else to wait for."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() >= end
