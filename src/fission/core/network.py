"""A network: its jobs, the pipes that join them, and its faults."""

from __future__ import annotations

from collections.abc import Mapping

from fission.core.checks import check_network, place_warnings
from fission.core.job_graph import JobGraph
from fission.core.rates import needed_blocks, rate_warnings
from fission.core.registry import Registry
from fission.errors import Fault

__all__ = ["Network"]


class Network(JobGraph):
    """A network, which can be checked before it starts. The arguments are those of `JobGraph`."""

    @classmethod
    def from_registry(cls, name: str, registry: Registry) -> Network:
        """Return the network of everything in a registry.

        Faults that the registry collected stay there.
        """
        return cls(name, registry.jobs, registry.nodes.values(), registry.pipes)

    def check(self) -> list[Fault]:
        """Return all faults that can be found before anything starts; empty if the network can
        start.

        Excludes faults that a `Registry` collected while the network was defined.
        """
        return check_network(self)

    def warnings(self) -> list[str]:
        """Return warnings: jobs whose inputs have mismatched rates, and jobs that no node in NODES
        can take.
        """
        return [*rate_warnings(self), *place_warnings(self)]

    @property
    def needed(self) -> Mapping[int, int]:
        """Blocks of each pipe that its consumer may have to hold before it can release any; see
        `core.rates`.
        """
        return needed_blocks(self)
