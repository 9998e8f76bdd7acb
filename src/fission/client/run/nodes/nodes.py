"""The nodes of a run as the client knows them: identities, measurements, placement view."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from fission.client.run.nodes.preferences import bounded
from fission.core.network import Network
from fission.core.nodes import NodeInfo
from fission.ports import NodeJoined
from fission.protocol import placement
from fission.protocol.link_quality import NodeLink


class Nodes:
    """The nodes of a run, by name.

    Attributes:
        qualities: TQ by address, for nodes whose link from this machine is measured.
    """

    def __init__(
        self, network: Network, nodes: Sequence[NodeInfo], *, several: bool, tq: Callable[[str], int], warn: Callable[[str], None]
    ) -> None:
        """Prepare the nodes.

        Args:
            network: the network whose jobs are placed.
            nodes: the expected nodes.
            several: whether the nodes are separate machines that have yet to join; otherwise they
                are parts of this machine.
            tq: returns the share of a node's pulses that arrive, 0 to 255.
            warn: called with what is wrong with a job's `preference`, which is then ignored.
        """
        self._nodes = {node.name: node for node in nodes}
        self._several, self._tq = several, tq
        self._joined = set[str]() if several else set(self._nodes)
        self._needs = {number: _needs(job, several, warn) for number, job in network.jobs.items()}
        self.qualities: Mapping[str, int] = {}
        self._measured: set[str] = set()
        self._links: dict[str, Mapping[str, NodeLink]] = {}  # by the node that measured them
        self._link_qualities: dict[str, Mapping[str, int]] = {}  # the same, as placement needs them

    def __iter__(self) -> Any:
        return iter(list(self._nodes))

    def __getitem__(self, name: str) -> NodeInfo:
        return self._nodes[name]

    def joined(self, event: NodeJoined) -> bool:
        """Record a node that has joined; return whether it was not expected."""
        new = event.name not in self._nodes
        self._nodes[event.name] = NodeInfo(event.name, event.ip, event.groups, max_jobs=event.max_jobs)
        self._joined.add(event.name)
        self._link_qualities.pop(event.name, None)
        self._links.pop(event.name, None)  # of an earlier incarnation, perhaps at another address
        return new

    def measured(self, name: str, means: Mapping[str, float]) -> None:
        """Record values of `NodeInfo` that a node has reported, by field name."""
        self._measured.add(name)
        known = {field: value for field, value in means.items() if field in ("cpu", "memory", "disk", "swap", "rtt")}
        self._nodes[name] = dataclasses.replace(self._nodes[name], **known)  # type: ignore[arg-type]  # the adapter's are numbers

    def linked(self, name: str, links: Mapping[str, NodeLink]) -> None:
        """Record the links that a node has measured, replacing its earlier ones."""
        self._links[name] = links
        self._link_qualities[name] = {other: link.quality for other, link in links.items()}

    @property
    def all_linked(self) -> bool:
        """Whether every joined node has measured its links to all others.

        The client's own node measures none.
        """
        far = {name for name in self._joined if not self.local(name)}
        return all(far - {name} <= self._links.get(name, {}).keys() for name in far)

    def links(self, name: str) -> Mapping[str, NodeLink]:
        """Return the links that a node has measured, by the names of the other known nodes."""
        return {other: link for other, link in self._links.get(name, {}).items() if other in self._nodes}

    def is_measured(self, name: str) -> bool:
        """Return whether a node has reported measurements."""
        return name in self._measured

    def local(self, name: str) -> bool:
        """Return whether this is the client's own node."""
        return name in self._nodes and "LOCAL" in self._nodes[name].groups

    def infos(self, jobs_of: Callable[[str], Sequence[int]]) -> list[NodeInfo]:
        """Return all nodes with the names of their jobs.

        Args:
            jobs_of: returns the ids of the jobs on a node.
        """
        return [
            dataclasses.replace(node, jobs=tuple(self._needs[job].name for job in jobs_of(name)), TQ=self._quality(node))
            for name, node in self._nodes.items()
        ]

    def view(self) -> placement.ClusterView:
        """Return the current view of the cluster for placement."""
        nodes = tuple([self._viewed(node) for node in self._nodes.values()])
        return placement.ClusterView(self._needs, nodes, frozenset(self._joined), dict(self._link_qualities))

    def _viewed(self, node: NodeInfo) -> NodeInfo:
        quality = self._quality(node)
        return node if quality == node.TQ else dataclasses.replace(node, TQ=quality)

    def round(self, taken: Mapping[str, Collection[int]], avoided: Mapping[str, str]) -> placement.JobRound:
        """Begin to place jobs by the current view; see `fission.protocol.placement_view.PlacementView`.

        Most events place no job, so the view is made here and not for each of them.
        """
        return self.view().round(taken, avoided)

    def _quality(self, node: NodeInfo) -> int:
        if not self._several or self.local(node.name):
            return node.TQ  # no link leads to it whose quality would matter
        pulses = self._tq(node.name) if node.name in self._joined else 0
        return self.qualities.get(node.ip) or pulses or node.TQ


def _needs(job: Any, several: bool, warn: Callable[[str], None]) -> placement.JobNeeds:
    needs = placement.JobNeeds.of(job)
    if needs.preference is not None:
        needs = dataclasses.replace(needs, preference=bounded(needs.name, needs.preference, warn))
    # a simulation has none of the nodes that a job can be bound to
    return needs if needs.groups or several else dataclasses.replace(needs, groups=("ALL",))
