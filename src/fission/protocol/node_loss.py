"""What would happen if a node were lost now: where its jobs would be placed.

This is what `fission.protocol.supervision.Supervisor` would do at the loss, without doing it. It
does not see what changes meanwhile: another node that is lost, or a job that ends.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from fission.errors import AllocationError, DefinitionError
from fission.protocol.placement_view import PlacementView


@dataclass(frozen=True, slots=True)
class ForeseenPlacement:
    """What would happen to one job.

    Attributes:
        job: its id.
        node: where it would be placed; empty: nowhere.
        reason: why there, or why nowhere.
    """

    job: int
    node: str
    reason: str


def foresee(
    lost: str, jobs: Sequence[int], view: PlacementView, taken: Mapping[str, Collection[int]], avoided: Mapping[str, str]
) -> list[ForeseenPlacement]:
    """Return what would happen to the jobs of a lost node, in the order in which they would be placed.

    Args:
        lost: name of the node.
        jobs: ids of its jobs that have not ended, in that order.
        view: of the cluster.
        taken: usable nodes, each with the ids of its jobs.
        avoided: nodes that are left out for a while, with the reason.
    """
    places = view.round({node: there for node, there in taken.items() if node != lost}, avoided)
    found = []
    for job in jobs:
        try:
            node, reason = places.place(job)
        except (AllocationError, DefinitionError) as why:
            node, reason = "", str(why)
        found.append(ForeseenPlacement(job, node, reason))
    return found
