"""The inputs of placement: the needs of a job, the nodes at one moment, the links between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from fission.core.base_job import BaseJob
from fission.core.base_node import group_names
from fission.core.nodes import NodeInfo
from fission.errors import DefinitionError, value_text

Preference = Callable[[list[NodeInfo]], object]
#: Measured link qualities: name of a node -> name of another node -> quality of the link from the
#: first to the second, 0 to 255.
LinkQualities = Mapping[str, Mapping[str, int]]
NO_LINKS: LinkQualities = MappingProxyType({})
#: Quality of the link from a node to itself.
OWN_QUALITY = 255


@dataclass(frozen=True, slots=True)
class NodeView:
    """A node at the moment of a decision.

    Attributes:
        info: name, address, groups, jobs, limit and measurements. ``info.jobs`` must be the
            client's own record of what it has placed there, not what the node has reported: places
            are counted by it.
        up: whether the node can be used.
        down: why it cannot, in words (``lost``, ``not there yet``), as AllocationError shows it.
    """

    info: NodeInfo
    up: bool = True
    down: str = "down"

    @property
    def name(self) -> str:
        """Name of the node in messages; unique."""
        return self.info.name

    @property
    def ip(self) -> str:
        """Address of the node; virtual nodes may share one."""
        return self.info.ip

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the node's groups."""
        return self.info.groups

    @property
    def jobs(self) -> tuple[str, ...]:
        """Names of the jobs that have their place there."""
        return self.info.jobs

    @property
    def max_jobs(self) -> int:
        """Maximum number of jobs."""
        return self.info.max_jobs

    @property
    def free(self) -> int:
        """Number of further jobs that the node can take; never below 0."""
        return max(0, self.max_jobs - len(self.jobs))

    @property
    def obstacle(self) -> str:
        """Why no job can be placed there now; empty if one can."""
        if not self.up:
            return self.down
        return "" if self.free else f"full ({len(self.jobs)}/{self.max_jobs} jobs)"


@dataclass(slots=True)
class CandidateNode:
    """A node of a round. Few are looked at in full, so that views are made when they are needed.

    Attributes:
        info: as in `NodeView`, with any ``jobs``.
        jobs: names of the jobs that have their place there.
        up: as in `NodeView`.
        down: as in `NodeView`.
    """

    info: NodeInfo
    jobs: tuple[str, ...]
    up: bool = True
    down: str = "down"

    def view(self, quality: int | None = None) -> NodeView:
        """Return the node as `NodeView`, with this TQ unless it is None."""
        info = self.info
        if info.jobs != self.jobs or quality not in (None, info.TQ):
            info = replace(info, jobs=self.jobs, TQ=info.TQ if quality is None else quality)
        return NodeView(info, self.up, self.down)

    @property
    def obstacle(self) -> str:
        """As `NodeView.obstacle`."""
        if not self.up:
            return self.down
        return "" if len(self.jobs) < self.info.max_jobs else f"full ({len(self.jobs)}/{self.info.max_jobs} jobs)"


@dataclass(frozen=True, slots=True)
class JobNeeds:
    """What a job requires of its place.

    Attributes:
        name: name such as ``JoinJob 5``; unique.
        id: tie-breaker between jobs of the same priority; the lower one goes first.
        groups: names of groups, most preferred first; empty: ``default_node`` or nothing.
        default_node: address or name of the node that is tried first.
        priority: precedence; higher goes first.
        preference: user code. It is passed a new list of the NodeInfo of the eligible nodes (at
            least one, in the order of NODES) and returns one of them, or None for no preference.
        neighbours: names of the jobs at the other ends of the job's pipes.
    """

    name: str
    id: int
    groups: tuple[str, ...] = ("ALL",)
    default_node: str | None = None
    priority: int = 0
    preference: Preference | None = None
    neighbours: frozenset[str] = field(default=frozenset())

    @classmethod
    def of(cls, job: BaseJob) -> JobNeeds:
        """Return the needs of a job of a network.

        Raises:
            DefinitionError: its `preference` is not a method.
        """
        preference = getattr(job, "preference", None)
        if preference is not None and not callable(preference):
            raise DefinitionError(
                f"{job._fission_name}: preference must be a method, preference(self, node_infos), not {value_text(preference)}"
            )
        ends = [*(pipe.source for pipe in job.inputs), *(pipe.destination for pipe in job.outputs)]
        return cls(
            name=job._fission_name,
            id=job._fission_id,
            groups=group_names(job.GROUPS),
            default_node=job.DEFAULT_NODE,
            priority=job.PRIORITY,
            preference=preference,
            neighbours=frozenset(end._fission_name for end in ends if end is not None and end is not job),
        )
