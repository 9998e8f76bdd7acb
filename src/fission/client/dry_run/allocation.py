"""Where the jobs of a network would go now: the real placement on the present nodes.

Nothing is started.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from fission.adapters import batman
from fission.client.dry_run.dry_run import DryRun
from fission.client.run.jobs.bundles import groups_of
from fission.client.run.nodes.configured_nodes import only_here
from fission.client.serve.control_server import Viewer
from fission.core.checks import CLIENT
from fission.core.network import Network
from fission.core.nodes import NodeInfo
from fission.errors import UserError
from fission.project.config import LoadedNetwork
from fission.protocol.link_quality import NodeLink
from fission.protocol.messages.client_to_viewer import JobsLocated, NodeRow, RunStatus
from fission.protocol.messages.viewer_to_client import InspectRun, LocateJobs

#: Measuring node -> other node -> the link.
Links: TypeAlias = "Mapping[str, Mapping[str, NodeLink]]"


@dataclass(frozen=True, slots=True)
class JobPlacement:
    """Where a job would go.

    Attributes:
        node: name of the node; None: no node can take the job.
        reason: why it goes there; without a node, the name of each node and why it cannot take the
            job.
        now: node on which the job runs now; None if the network is not running.
    """

    node: str | None
    reason: str
    now: str | None = None


@dataclass
class Allocation:
    """The placement of all jobs.

    Attributes:
        running: whether the network is running, so that the nodes' measurements include the load
            of its own jobs.
        nodes: the present nodes as placement sees them, each with the names of the jobs that would
            go there.
        missing: absent expected node -> what to do about it; empty where ``warnings`` says it.
        places: placement of each job, by id.
        warnings: texts for the user.
    """

    running: bool
    nodes: list[NodeInfo]
    missing: dict[str, str]
    places: dict[int, JobPlacement]
    warnings: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether every job would have a place."""
        return all(place.node is not None for place in self.places.values())


def allocate(loaded: LoadedNetwork) -> Allocation:
    """Return where the jobs of a network would go if it were started now.

    Blocks, for some seconds if a node is absent. The client of a running network queries the nodes;
    otherwise this process does. If NODES is empty or names only this machine, all jobs go to the
    client.

    Raises:
        UserError: CLIENT_IP is not this machine's, or there are no keys.
        EngineError: an address is in use.
    """
    running = _of_running(loaded)
    if running is not None:
        nodes, down, now, links = running
        found = _placed(loaded.network, nodes, down, now, links)
        found.running = True
        return found
    if only_here(loaded.config.nodes) and loaded.config.cluster is None:
        return _placed(loaded.network, [_here(loaded.network)], [], {})
    return asyncio.run(_visited(loaded))


def _here(network: Network) -> NodeInfo:
    groups = tuple(dict.fromkeys((*groups_of(network), "ALL")))
    return NodeInfo(CLIENT, "127.0.0.1", groups, max_jobs=len(network.jobs))


def _of_running(loaded: LoadedNetwork) -> tuple[list[NodeInfo], list[NodeInfo], dict[int, str], Links] | None:
    """Return the state of a running network; None: it is not running.

    Returns:
        The nodes that are up, the nodes that are down, the node of each job, and the links.
    """
    try:
        with Viewer(loaded.folder) as viewer:
            rows = viewer.ask(InspectRun(), RunStatus).nodes
            now = viewer.ask(LocateJobs(), JobsLocated).nodes
    except UserError:
        return None
    up = [_info(row) for row in rows if row.up]
    links = {row.name: {other: NodeLink(link.TQ, link.rtt) for other, link in row.links.items()} for row in rows}
    return up, [_info(row) for row in rows if not row.up], now, links


def _info(row: NodeRow) -> NodeInfo:
    known: dict[str, Any] = {name: getattr(row, name) for name in NodeInfo.__dataclass_fields__ if name != "jobs"}
    return NodeInfo(**{name: value for name, value in known.items() if value is not None})


async def _visited(loaded: LoadedNetwork) -> Allocation:
    from fission.client.attach.node_files import connected_nodes
    from fission.client.run.engines.listening import client_address

    async with connected_nodes(loaded, measure=True) as found:
        ips = [node.ip for node in found.nodes]
        qualities = await asyncio.to_thread(_qualities, ips)
        nodes = [NodeInfo(CLIENT, client_address(loaded), ("LOCAL",), max_jobs=len(loaded.network.jobs))]
        for node in found.nodes:
            means: dict[str, Any] = {name: node.means[name] for name in ("cpu", "memory", "disk", "swap") if name in node.means}
            info = NodeInfo(str(node.name), node.ip, node.groups, max_jobs=node.max_jobs, **means)
            nodes.append(replace(info, TQ=qualities.get(node.ip, info.TQ)))
        absent = [info for info in found.expected if info.name in found.missing]
        allocation = _placed(loaded.network, _in_order(nodes, found.expected), absent, {})
        allocation.missing = found.missing
        allocation.warnings += found.troubles
        return allocation


def _qualities(ips: Sequence[str]) -> Mapping[str, int]:
    import logging

    return batman.Batman(logging.getLogger("fission.client")).qualities(ips) if batman.available() else {}


def _in_order(nodes: Sequence[NodeInfo], expected: Sequence[NodeInfo]) -> list[NodeInfo]:
    """Return the nodes in the order of a run.

    The client comes first, then NODES as written, then the nodes of patterns in the order of
    arrival.
    """
    order = {info.name: index for index, info in enumerate(expected)}
    return [nodes[0], *sorted(nodes[1:], key=lambda node: order.get(node.name, len(order)))]


def _placed(
    network: Network, nodes: Sequence[NodeInfo], absent: Sequence[NodeInfo], now: Mapping[int, str], links: Links | None = None
) -> Allocation:
    """Place all jobs as supervision does at the start of a run.

    Args:
        network: the network whose jobs are placed.
        nodes: the present nodes.
        absent: expected nodes that are absent.
        now: node on which each job runs now, by id.
        links: links by the measuring node and the other node.
    """
    warnings: list[str] = []
    dry_run = DryRun(network, nodes, warnings.append, absent=absent, links=links)
    launches = {launch.job: launch for launch in dry_run.start()}
    unplaced = dry_run.unplaced()
    found = {}
    for number in network.jobs:
        if number in unplaced:
            found[number] = JobPlacement(None, unplaced[number], now.get(number))
        else:
            found[number] = JobPlacement(launches[number].node, launches[number].reason, now.get(number))
    jobs = {
        node.name: tuple(network.jobs[number]._fission_name for number, place in found.items() if place.node == node.name) for node in nodes
    }
    shown = [replace(node, jobs=jobs[node.name]) for node in nodes]
    return Allocation(False, shown, {info.name: "" for info in absent}, found, warnings)
