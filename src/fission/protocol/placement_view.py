"""What decisions on places need to know of the nodes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol


class Round(Protocol):
    """Places jobs one after the other; each one counts for those after it."""

    def place(self, job: int) -> tuple[str, str]:
        """Return a job's node and the reason for the choice.

        Raises:
            AllocationError: no node can take the job.
        """
        ...


class PlacementView(Protocol):
    """The nodes and links.

    Placing jobs by it changes nothing (see `fission.protocol.placement.ClusterView`).
    """

    def round(self, taken: Mapping[str, Collection[int]], avoided: Mapping[str, str]) -> Round:
        """Begin to place jobs by the present nodes and links.

        Args:
            taken: usable nodes, each with the ids of its jobs.
            avoided: nodes that are avoided for now, each with the cause.
        """
        ...
