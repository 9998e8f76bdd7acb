"""What a network does without some of its nodes: whether every job still has a place.

It uses the `Supervisor` of a run, through a `DryRun`, so that both place jobs in the same way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from fission.client.dry_run.dry_run import DryRun
from fission.core.base import BaseNode
from fission.core.groups import LOCAL
from fission.core.network import Network
from fission.core.nodes import MultiNode, NodeInfo
from fission.errors import UserError

#: The node of local jobs.
CLIENT = "the client"


@dataclass(frozen=True, slots=True)
class Loss:
    """What happens without some nodes.

    Attributes:
        nodes: names of the lost nodes; empty: the network as it begins.
        moved: job -> new node, for jobs that lost their place.
        unplaced: job -> why no node can take it, as text.
    """

    nodes: tuple[str, ...]
    moved: dict[str, str]
    unplaced: dict[str, str]


def survival(network: Network, *, jobs_per_node: int, pairs: bool = False) -> Iterator[Loss]:
    """Yield what happens to the network without some of its nodes.

    The first result is the network as it begins. One result follows for each lost node, and with
    ``pairs`` one for each two. Nodes count as idle and equally well connected.

    Args:
        network: the network with its nodes.
        jobs_per_node: number of jobs that a node without max_jobs takes.
        pairs: whether two nodes are also lost at once.

    Raises:
        UserError: there are no nodes, or a job's `preference` fails.
    """
    if not network.nodes:
        raise UserError(f"{network.name} has no NODES, so it has no node to lose; list its machines in config.py")
    yield _loss(network, jobs_per_node, ())
    names = [node.name for node in network.nodes]
    for size in (1, 2) if pairs else (1,):
        for lost in combinations(names, size):
            yield _loss(network, jobs_per_node, lost)


def planned(network: Network) -> dict[int, str]:
    """Return where jobs go when all NODES are present, idle and equally well connected.

    The result is job -> node; empty without NODES.
    """
    if not network.nodes:
        return {}
    moved = next(survival(network, jobs_per_node=len(network.jobs))).moved
    return {number: moved[job._fission_name] for number, job in network.jobs.items() if job._fission_name in moved}


def guessed(network: Network) -> list[str]:
    """Return what `survival` cannot know of the nodes, as sentences."""
    texts = []
    unsaid = [node.name for node in network.nodes if node.max_jobs is None]
    if unsaid:
        texts.append(f"{', '.join(unsaid)}: how many jobs they take is not said (max_jobs); --jobs-per-node is taken for it")
    several = [node.name for node in network.nodes if isinstance(node, MultiNode)]
    if several:
        texts.append(f"{', '.join(several)}: each may stand for many machines, and counts as one")
    return texts


def _loss(network: Network, jobs_per_node: int, lost: Sequence[str]) -> Loss:
    """Start the network with all its nodes, then lose some."""
    client = NodeInfo(CLIENT, "", (LOCAL,), max_jobs=len(network.jobs))
    dry_run = DryRun(network, [*(_info(node, jobs_per_node) for node in network.nodes), client], _refuse)
    launches = dry_run.start()
    if lost:
        launches = dry_run.lose(lost)
    names = {number: job._fission_name for number, job in network.jobs.items()}
    unplaced = dry_run.unplaced()
    moved = {names[launch.job]: launch.node for launch in launches if launch.job not in unplaced}
    return Loss(tuple(lost), moved, {names[job]: why for job, why in unplaced.items()})


def _info(node: BaseNode, jobs_per_node: int) -> NodeInfo:
    return NodeInfo(node.name, node.ip, node.groups, max_jobs=jobs_per_node if node.max_jobs is None else node.max_jobs)


def _refuse(text: str) -> None:
    raise UserError(f"the jobs cannot be placed: {text.partition(';')[0]}")
