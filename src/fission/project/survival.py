"""What a network would do without some of its nodes: whether every job would find a place."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from fission.core.base import BaseJob, BaseNode
from fission.core.groups import LOCAL
from fission.core.network import Network
from fission.core.nodes import MultiNode, NodeInfo
from fission.errors import UserError, error_text
from fission.protocol.placement import JobNeeds, NodeView, place_all

#: The node of local jobs.
CLIENT = "the client"


@dataclass(frozen=True, slots=True)
class Loss:
    """What happens without some nodes.

    Attributes:
        nodes: that are lost; none: the network as it begins.
        moved: job -> node, of the jobs that had no place any more and find another.
        unplaced: job -> why no node can take it, each as a text.
    """

    nodes: tuple[str, ...]
    moved: dict[str, str]
    unplaced: dict[str, str]


def survival(network: Network, *, jobs_per_node: int, pairs: bool = False) -> Iterator[Loss]:
    """Yield the network as it begins and what happens when each single node is lost, and with ``pairs`` each two of them.

    Nodes count as idle and equally well connected. Jobs stay where they are while their node is there; the others are placed by the rules
    of a failover, those of a higher PRIORITY first.

    Args:
        network: with its nodes.
        jobs_per_node: what nodes take that do not say it by max_jobs.
        pairs: whether two nodes at once are lost, too.

    Raises:
        UserError: there are no nodes, or a job's `preference` fails.
    """
    if not network.nodes:
        raise UserError(f"{network.name} has no NODES, so there is nothing that it could lose; list its machines in config.py")
    nodes = [*(_view(node, jobs_per_node) for node in network.nodes), _client(len(network.jobs))]
    needs = {job.name: _needs(job) for job in network.jobs.values()}
    begun, first = _placed(list(needs.values()), nodes)
    yield first
    names = [node.name for node in nodes if node.name != CLIENT]
    for size in (1, 2) if pairs else (1,):
        for lost in combinations(names, size):
            homeless = [needs[job] for node in begun if node.name in lost for job in node.jobs]
            homeless += [needs[job] for job in first.unplaced]
            left = [_gone(node) if node.name in lost else node for node in begun]
            _, loss = _placed(homeless, left)
            yield dataclasses.replace(loss, nodes=lost)


def guessed(network: Network) -> list[str]:
    """What `survival` cannot know of the nodes, as sentences."""
    texts = []
    unsaid = [node.name for node in network.nodes if node.max_jobs is None]
    if unsaid:
        texts.append(f"{', '.join(unsaid)}: how many jobs they take is not said (max_jobs); --jobs-per-node is taken for it")
    several = [node.name for node in network.nodes if isinstance(node, MultiNode)]
    if several:
        texts.append(f"{', '.join(several)}: each may stand for many machines, and counts as one")
    return texts


def _placed(needs: Sequence[JobNeeds], nodes: Sequence[NodeView]) -> tuple[list[NodeView], Loss]:
    try:
        outcome = place_all(needs, nodes)
    except Exception as why:  # preference is the user's
        raise UserError(f"the jobs cannot be placed: {error_text(why)}") from why
    views = list(nodes)
    for choice in outcome.placed:
        views = [node.with_job(choice.job) if node.name == choice.node else node for node in views]
    moved = {choice.job: choice.node for choice in outcome.placed}
    reasons = {refusal.job: "; ".join(f"{node}: {why}" for node, why in refusal.why) for refusal in outcome.unplaced}
    return views, Loss((), moved, reasons)


def _view(node: BaseNode, jobs_per_node: int) -> NodeView:
    room = jobs_per_node if node.max_jobs is None else node.max_jobs
    return NodeView(NodeInfo(node.name, node.ip, node.groups, max_jobs=room), up=True)


def _client(jobs: int) -> NodeView:
    return NodeView(NodeInfo(CLIENT, "", (LOCAL,), max_jobs=jobs), up=True)


def _gone(node: NodeView) -> NodeView:
    return dataclasses.replace(node, up=False, down="lost", info=dataclasses.replace(node.info, jobs=()))


def _needs(job: BaseJob) -> Any:
    return JobNeeds.of(job)
