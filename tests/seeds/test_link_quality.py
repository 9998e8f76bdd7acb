"""Placement by the quality of links to the nodes of neighbours: the rule, the measurement alone and over sockets, and real hosts.

Probes and placement are machines without I/O, so most of it is simulated. The hosts lose packets between two of them only, which the
client, whose own links are good, cannot see.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import json
import secrets
import time
from collections.abc import Callable, Sequence
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from fission.adapters.sealing import Seals
from fission.cli.nodes_table import link_lines
from fission.core.nodes import NodeInfo
from fission.protocol.link_quality import FIRST, GAP_S, PEER_GAP_S, LinkProber, NodeLink, Peer, merged
from fission.protocol.messages.client_to_node import PeerNode
from fission.protocol.placement import JobNeeds, LinkQualities, NodeView, PlacementRound, place
from fission.service.link_meter import LinkMeter
from tests.cluster.conftest import cluster, hosts  # noqa: F401
from tests.cluster.support import Site

#: Of anything over sockets; arbitrary.
DEADLINE_S = 30.0

# -- the rule ----------------------------------------------------------------------------------------------------------


def node(name: str, *jobs: str, **info: Any) -> NodeView:
    return NodeView(NodeInfo(name, f"10.0.0.{name}", jobs=jobs, max_jobs=4, **info))


def beside(*neighbours: str) -> JobNeeds:
    return JobNeeds("Job 9", 9, neighbours=frozenset(neighbours))


Judged = Callable[[JobNeeds, Sequence[NodeView], Sequence[NodeView], LinkQualities], list[NodeView]]

#: (neighbours, links, TQ of the candidates a, b, c by the rule). The client sees them with 200, 210, 220; Job 1 is on a, Job 2 on b.
RULE: list[tuple[tuple[str, ...], LinkQualities, list[int]]] = [
    (("Job 1",), {}, [200, 210, 220]),
    (("Job 1",), {"c": {"b": 3}}, [200, 210, 220]),
    (("Job 1",), {"a": {"b": 100, "c": 50}}, [255, 100, 50]),
    (("Job 1",), {"a": {"b": 0}}, [255, 0, 220]),
    (("Job 1",), {"c": {"a": 60}}, [255, 210, 60]),
    (("Job 1",), {"a": {"c": 50}, "c": {"a": 60}}, [255, 210, 50]),
    (("Job 1", "Job 2"), {"a": {"b": 100, "c": 50}, "b": {"a": 120, "c": 150}}, [188, 178, 100]),
    (("Job 1", "Job 2"), {"a": {"b": 100}}, [178, 178, 220]),
    (("Job 1", "Job 7"), {"a": {"b": 100, "c": 50}}, [255, 100, 50]),
    (("Job 5",), {"d": {"a": 1, "b": 1, "c": 1}}, [200, 210, 220]),
    ((), {"a": {"b": 100, "c": 50}}, [200, 210, 220]),
]


def check_rule(rule: Judged) -> None:
    nodes = [
        node("a", "Job 1", TQ=200),
        node("b", "Job 2", TQ=210),
        node("c", TQ=220),
        NodeView(node("d", "Job 5").info, up=False),
    ]
    for neighbours, links, wanted in RULE:
        found = rule(beside(*neighbours), nodes[:3], nodes, links)
        assert [view.name for view in found] == ["a", "b", "c"]
        assert [view.info.TQ for view in found] == wanted, (neighbours, links)


def judged(job: JobNeeds, candidates: Sequence[NodeView], nodes: Sequence[NodeView], links: LinkQualities) -> list[NodeView]:
    """Return the candidates as `PlacementRound.judged` sees them."""
    return PlacementRound(nodes, links).judged(job, [view.name for view in candidates])


def test_a_candidate_is_judged_by_the_mean_of_the_links_from_the_nodes_of_its_neighbours() -> None:
    """Without a measured one of these, all is as the client sees it."""
    check_rule(judged)


def _clients_view(job: JobNeeds, candidates: Sequence[NodeView], nodes: Sequence[NodeView], links: LinkQualities) -> list[NodeView]:
    return list(candidates)


def _best_link(job: JobNeeds, candidates: Sequence[NodeView], nodes: Sequence[NodeView], links: LinkQualities) -> list[NodeView]:
    alone = [judged(JobNeeds("Job 9", 9, neighbours=frozenset({name})), candidates, nodes, links) for name in job.neighbours]
    return [max(views, key=lambda view: view.info.TQ) for views in zip(*alone, strict=True)] if alone else list(candidates)


def _wrong_way(job: JobNeeds, candidates: Sequence[NodeView], nodes: Sequence[NodeView], links: LinkQualities) -> list[NodeView]:
    turned: dict[str, dict[str, int]] = {}
    for origin, ways in links.items():
        for other, quality in ways.items():
            turned.setdefault(other, {})[origin] = quality
    return judged(job, candidates, nodes, turned)


def _dead_nodes_too(job: JobNeeds, candidates: Sequence[NodeView], nodes: Sequence[NodeView], links: LinkQualities) -> list[NodeView]:
    return judged(job, candidates, [NodeView(view.info) for view in nodes], links)


@pytest.mark.parametrize("broken", [_clients_view, _best_link, _wrong_way, _dead_nodes_too])
def test_the_rule_catches(broken: Judged) -> None:
    with pytest.raises(AssertionError):
        check_rule(broken)


def test_the_link_decides_and_preference_sees_it() -> None:
    nodes = [node("a", "Job 1", "x", "y", "z"), node("b", TQ=255), node("c", TQ=100)]
    links = {"a": {"b": 30, "c": 250}}
    assert place(beside("Job 1"), nodes).node == "b"
    assert place(beside("Job 1"), nodes, links).node == "c"
    seen: list[int] = []

    def preference(infos: list[NodeInfo]) -> NodeInfo:
        seen.extend(info.TQ for info in infos)
        return infos[0]

    needs = JobNeeds("Job 9", 9, neighbours=frozenset({"Job 1"}), preference=preference)
    assert place(needs, nodes, links).node == "b"
    assert seen == [30, 250]


# -- the probes --------------------------------------------------------------------------------------------------------


def probed(seconds: float, peers: dict[str, tuple[float, float]], seed: int = 1) -> tuple[LinkProber, float, list[tuple[float, str]]]:
    """A prober whose peers lose each packet with a probability and answer after a time; with all probes that it has sent."""
    random, prober, now = Random(seed), LinkProber(), 1000.0
    prober.set_peers(Peer(name, f"{name}.1") for name in peers)
    sent: list[tuple[float, str]] = []
    coming: list[tuple[float, str, int]] = []
    end = now + seconds
    while now < end:
        due = prober.probe(now)
        if due is not None:
            peer, number = due
            sent.append((now, peer.name))
            loss, rtt_s = peers[peer.name]
            if random.random() > loss and random.random() > loss:
                heapq.heappush(coming, (now + rtt_s, peer.lease, number))
        now += max(prober.wait_s(now), 1e-6)
        while coming and coming[0][0] <= now:
            at, lease, number = heapq.heappop(coming)
            prober.answer(lease, number, at)
    return prober, now, sent


@pytest.mark.parametrize(
    ("loss", "rtt_s", "lowest", "highest"),
    [
        (0.0, 0.001, 255, 255),
        (0.0, 0.0, 255, 255),
        (0.1, 0.001, 205, 250),
        (0.5, 0.001, 80, 175),
        (0.0, 0.1, 51, 51),
        (0.0, 0.5, 9, 11),  # some answers are still on their way
        (0.2, 0.04, 80, 120),
    ],
)
def test_quality_is_the_delivery_rate_of_one_direction_and_less_over_several_hops(
    loss: float, rtt_s: float, lowest: int, highest: int
) -> None:
    for seed in range(10):
        prober, now, _ = probed(30, {"b": (loss, rtt_s), "c": (0.0, 0.001)}, seed)
        links = prober.links(now)
        assert lowest <= links["b"].quality <= highest, (seed, links)
        assert links["b"].rtt_s == pytest.approx(rtt_s, abs=1e-6)
        assert links["c"].quality == 255


@pytest.mark.parametrize("count", [1, 2, 7, 60])
def test_traffic_is_bounded_for_any_number_of_peers(count: int) -> None:
    _, _, sent = probed(60, {f"n{number}": (0.1, 0.001) for number in range(count)})
    gaps = [later - earlier for (earlier, _), (later, _) in itertools.pairwise(sent)]
    assert min(gaps) > 0.019
    start = sent[0][0] + 1 + FIRST * count * 0.02
    steady = [at for at, _ in sent if at >= start]
    assert len(steady) <= (sent[-1][0] - start) / max(GAP_S, PEER_GAP_S / count) + 2
    per_peer = [sum(name == f"n{number}" for _, name in sent) for number in range(count)]
    assert max(per_peer) - min(per_peer) <= 1


def test_no_burst_follows_a_pause() -> None:
    prober = LinkProber()
    prober.set_peers([Peer("b", "b.1")])
    assert prober.probe(0.0) is not None
    assert prober.probe(500.0) is not None
    assert prober.probe(500.0) is None
    assert prober.wait_s(500.0) > 0


def test_nothing_is_measured_where_no_probe_ever_comes_back() -> None:
    """A firewall that drops all probes is not a bad link; one silent peer among others is, and so are all when they fall silent."""
    prober, now, _ = probed(30, {"b": (1.0, 0.0), "c": (1.0, 0.0)})
    assert prober.links(now) == {}
    prober, now, _ = probed(30, {"b": (1.0, 0.0), "c": (0.0, 0.001)})
    assert prober.links(now) == {"b": NodeLink(0), "c": NodeLink(255, pytest.approx(0.001))}
    while now < 1040:
        prober.probe(now)
        now += prober.wait_s(now)
    assert prober.links(now)["c"] == NodeLink(0)


def test_the_start_is_quick() -> None:
    """Seven peers are measured within the two seconds that a network waits for it at its start."""
    prober, now, _ = probed(1.5, {f"n{number}": (0.0, 0.002) for number in range(7)})
    assert len(prober.links(now)) == 7
    prober, now, _ = probed(0.8, {"b": (0.5, 0.002), "c": (0.0, 0.002)})
    assert prober.links(now)["b"].quality < 255 == prober.links(now)["c"].quality


def test_a_late_answer_heals_and_false_ones_count_for_nothing() -> None:
    prober, now = LinkProber(), 0.0
    prober.set_peers([Peer("b", "b.1")])
    numbers = []
    while len(numbers) < 10:
        due = prober.probe(now)
        if due is not None:
            numbers.append(due[1])
        now += prober.wait_s(now)
    for wrong in (99, -1, 0):
        prober.answer("b.1", wrong, now)
    prober.answer("b.2", numbers[0], now)
    assert prober.links(now + 1) == {}
    for number in numbers[:5]:
        prober.answer("b.1", number, now)
        prober.answer("b.1", number, now + 5)
    half = prober.links(now + 1)["b"]
    for number in numbers[5:]:
        prober.answer("b.1", number, now)
    assert half.quality < prober.links(now + 1)["b"].quality


def test_a_new_lease_is_measured_again_and_remaining_ones_are_kept() -> None:
    prober, now, _ = probed(5, {"b": (0.0, 0.001), "c": (0.0, 0.001)})
    prober.set_peers([Peer("b", "b.1"), Peer("c", "c.2")])
    assert set(prober.links(now)) == {"b"}


def test_the_meshs_quality_takes_precedence_over_probes() -> None:
    links = {"b": NodeLink(255, 0.001), "c": NodeLink(200, 0.002)}
    assert merged(links, {"b": 90, "d": 70}) == {"b": NodeLink(90, 0.001), "c": NodeLink(200, 0.002), "d": NodeLink(70)}


# -- a simulated network ------------------------------------------------------------------------------------------------


def test_a_simulated_mesh_places_jobs_where_the_links_are_good() -> None:
    """Random meshes: what probers measure leads to the node with the best true mean, or to one that is nearly as good."""
    by_client = 0
    for seed in range(20):
        random = Random(seed)
        names = [f"n{number}" for number in range(5)]
        loss = {frozenset(pair): random.choice((0.0, 0.1, 0.6)) for pair in itertools.combinations(names, 2)}
        measured = {}
        for name in names:
            prober, now, _ = probed(30, {other: (loss[frozenset((name, other))], 0.001) for other in names if other != name}, seed)
            measured[name] = {other: link.quality for other, link in prober.links(now).items()}
        nodes = [node(name, *([f"Job {number}"] if number < 2 else ["x"])) for number, name in enumerate(names)]
        true = {name: sum(1 - loss.get(frozenset((name, origin)), 0.0) for origin in names[:2]) / 2 for name in names}
        best = max(true.values())
        assert true[place(beside("Job 0", "Job 1"), nodes, measured).node] > best - 0.16, (seed, true, measured)
        by_client += true[place(beside("Job 0", "Job 1"), nodes).node] > best - 0.16
    assert by_client < 20  # the client's view alone would not have done


# -- sockets ------------------------------------------------------------------------------------------------------------


async def _measure(keys: Sequence[bytes | None], enough: Callable[[list[dict[str, NodeLink]]], bool]) -> list[dict[str, NodeLink]]:
    """Meters on loopback, each with its key, that name each other; what they have reported last."""
    found: list[dict[str, NodeLink]] = [{} for _ in keys]
    meters, peers, tasks = [], [], []
    for number, key in enumerate(keys):
        service = secrets.token_hex(8)
        seals = Seals(None if key is None else SimpleNamespace(pulse=key))
        meter = LinkMeter(bytes.fromhex(service), seals, found[number].update, None)
        await meter.open("127.0.0.1")
        meter.serve("run", f"{service}.1")
        meters.append(meter)
        peers.append(PeerNode(name=f"n{number}", ip="127.0.0.1", port=meter.port, lease=f"{service}.1"))
    for number, meter in enumerate(meters):
        meter.set_peers([peer for other, peer in enumerate(peers) if other != number])
        tasks.append(asyncio.create_task(meter.run()))
    try:
        over = time.monotonic() + DEADLINE_S
        while not enough(found):
            assert time.monotonic() < over, found
            await asyncio.sleep(0.01)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for meter in meters:
            meter.close()
        await asyncio.sleep(0)
    return found


@pytest.mark.parametrize("key", [b"k" * 32, None])
def test_meters_measure_each_other(key: bytes | None) -> None:
    found = asyncio.run(_measure([key, key, key], lambda found: all(len(links) == 2 for links in found)))
    assert all(link.rtt_s is not None for links in found for link in links.values()), found


def test_nodes_without_the_networks_keys_are_not_measured() -> None:
    found = asyncio.run(_measure([b"k" * 32, b"k" * 32, b"x" * 32, None], lambda found: len(found[0]) == len(found[1]) == 1))
    assert [set(links) for links in found] == [{"n1"}, {"n0"}, set(), set()]


# -- shown --------------------------------------------------------------------------------------------------------------


def shown(count: int, measured: int) -> list[dict[str, Any]]:
    names = [f"n{number}" for number in range(count)]
    links = {name: {other: {"TQ": 200, "rtt": 0.001} for other in names if other != name} for name in names[:measured]}
    nodes = [{"name": "client", "up": True, "links": {}}, {"name": "away", "up": False, "links": {"n1": {"TQ": 7, "rtt": None}}}]
    return [*nodes, *({"name": name, "up": True, "links": links.get(name, {})} for name in names)]


def test_links_are_a_table() -> None:
    assert link_lines(shown(3, 0)) == []
    assert [line.split() for line in link_lines(shown(3, 2))] == [
        [],
        ["TQ", "FROM", "n0", "n1", "n2"],
        ["n0", "200", "200"],
        ["n1", "200", "200"],
    ]
    assert link_lines(shown(9, 9)) == ["", "TQ between 9 nodes: too many for a table; see status --json"]


# -- hosts --------------------------------------------------------------------------------------------------------------

#: The source is bound to n1, which has no further room; the relay goes anywhere else.
NETWORK = """
BoundNumbers(0, outputs=[JSONPipe(1)]),
FreeRelay(inputs=[JSONPipe(1)], outputs=[JSONPipe(2)]),
CSVSinkJob("result.csv", inputs=[JSONPipe(2)]),
"""
CLASSES = """
class BoundNumbers(EndsByFile):
    DEFAULT_NODE = "n1"

class FreeRelay(PythonJob):
    def run(self, value):
        return value
"""


@pytest.mark.slow
@pytest.mark.slow
@pytest.mark.soak
def test_a_job_avoids_the_node_with_a_bad_link_to_its_neighbour(cluster: Callable[..., Site]) -> None:  # noqa: F811
    """At the start, and after a failover when the links have changed. The client's own links are good all the time."""
    site = cluster(4, start=False)
    for name, host in site.nodes.items():
        host.start(jobs=1 if name == "n1" else 8)
    source = site[1].host
    source.lose(60, peer=site[2].host)
    client = site.run(NETWORK.replace("BoundNumbers(0", f"BoundNumbers({str(site.end)!r}"), CLASSES)
    assert site.node_of(1) == "n1"
    first = site.node_of(2)
    assert first in ("n3", "n4"), site.logs()
    site.rows(50, sink=3)

    def links() -> dict[str, dict[str, Any]]:
        done = site.fission.run("net", "status", "--json", env=site.env, exit_code=0)
        return {entry["name"]: entry["links"] for entry in json.loads(done.stdout)["nodes"]}

    assert links()["n1"]["n2"]["TQ"] < 180 < links()["n1"][first]["TQ"]
    worse = "n4" if first == "n3" else "n3"
    source.lose(60, peer=site.nodes[worse].host)
    site.until(lambda: links()["n1"][worse]["TQ"] < 150 and links()["n1"]["n2"]["TQ"] > 240, f"the links have changed: {links()}", 60.0)
    text = site.fission.run("net", "status", env=site.env, exit_code=0).stdout
    assert [line.split()[:3] for line in text.splitlines() if line.startswith("TQ FROM")] == [["TQ", "FROM", "n1"]], text
    site.nodes[first].kill()
    site.happened("NodeLost", node=first)
    site.until(lambda: site.node_of(2) != first, "the relay has moved")
    assert site.node_of(2) == "n2", site.logs()
    source.lose(0)
    site.more_rows(50, sink=3)
    site.wait(client)
