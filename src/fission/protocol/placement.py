"""Which node a job is placed on, with the reason in words.

Rules, for a job without a place
    1. DEFAULT_NODE (its address or its name), if it is up and has room. It need not be in the job's
       GROUPS.
    2. GROUPS in their order; the first one with a node that is up and has room decides. Among those
       nodes:
       a. the node that the job's `preference` returns, if it returns one;
       b. for a job that has neighbours (jobs at the other ends of its pipes) on nodes that are up:
          the best `score`, with TQ of the links from its neighbours' nodes (see `judged`);
       c. otherwise the node with the fewest jobs.
       A tie goes to the first one in NODES.
    3. Otherwise none, with a reason for each node.

The client is one of the nodes, in group "LOCAL". Jobs and nodes are in group "ALL" by default. The
rules treat neither specially.

The functions are pure: the same arguments give the same answer, except for effects of a job's
`preference`.

Known gap: jobs are placed one by one, and a job that has a place is never moved. A job that could
run anywhere may take the last place that a later job needs; raise the later job's PRIORITY, or
narrow the GROUPS of the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from fission.core.base_job import BaseJob
from fission.core.base_node import group_names
from fission.core.nodes import NodeInfo
from fission.errors import AllocationError, DefinitionError, LocalProtocolError, error_text, value_text

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


@dataclass(frozen=True, slots=True)
class Choice:
    """A job's place and the reason for it, in one line."""

    job: str
    node: str
    reason: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """A job without a place.

    Attributes:
        job: name of the job.
        why: (node, reason) for each node, in the order of NODES.
    """

    job: str
    why: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        reasons = "; ".join(f"{node}: {reason}" for node, reason in self.why) or "there are no nodes"
        return f"no place for {self.job}: {reasons}"


@dataclass(frozen=True, slots=True)
class ClusterView:
    """Everything that decides on places, at one moment; `Supervisor` gets one of these.

    Attributes:
        needs: needs of each job, by job id.
        nodes: all nodes, in the order of NODES; their ``jobs`` are ignored.
        joined: names of the nodes that have ever joined.
        links: link qualities that the nodes have measured.
    """

    needs: Mapping[int, JobNeeds]
    nodes: tuple[NodeInfo, ...]
    joined: frozenset[str]
    links: LinkQualities = field(default_factory=dict)

    def place(self, job: int, taken: Mapping[str, frozenset[int]], avoided: Mapping[str, str]) -> tuple[str, str]:
        """Choose a node for a job; return its name and the reason.

        See `fission.protocol.supervision.PlacementView`.
        """
        views = []
        for node in self.nodes:
            names = tuple(self.needs[other].name for other in sorted(taken.get(node.name, ())))
            down = "lost" if node.name in self.joined else "not there: no service answers"
            if node.name in avoided:
                down = f"left out for a while, because a job could not start there: {avoided[node.name]}"
            views.append(NodeView(replace(node, jobs=names), up=node.name in taken, down=down))
        choice = place(self.needs[job], views, self.links)
        return choice.node, choice.reason


def place(job: JobNeeds, nodes: Sequence[NodeView], links: LinkQualities = NO_LINKS) -> Choice:
    """Choose the node for a job.

    Args:
        job: job that has no place on a node that is up.
        nodes: all nodes, in the order of NODES.
        links: link qualities that the nodes have measured; any of them may be missing.

    Raises:
        AllocationError: no node can take the job; the text names the job and gives a reason for
            each node.
        DefinitionError: its `preference` returned something other than one of the given NodeInfo or
            None.
        LocalProtocolError: two nodes have the same name, or the job has a place.
        Exception: any exception that its `preference` raises, unchanged.
    """
    outcome = _decide(job, nodes, links)
    if isinstance(outcome, Refusal):
        raise AllocationError(str(outcome))
    return outcome


def judged(job: JobNeeds, candidates: Sequence[NodeView], nodes: Sequence[NodeView], links: LinkQualities) -> list[NodeView]:
    """Return the candidates with the TQ that counts for this job: the mean over its links.

    These are the links from the nodes of its neighbours. The link from a node to itself has the
    best quality. A link that is not measured counts as measured in the opposite direction; failing
    that, it counts as the client sees the candidate. If none of these links is measured, the
    candidates are returned unchanged.

    Args:
        job: job that needs a place.
        candidates: some of ``nodes``.
        nodes: all nodes.
        links: link qualities that the nodes have measured.
    """
    origins = [node.name for node in nodes if node.up and not job.neighbours.isdisjoint(node.jobs)]
    ways = {node.name: [_measured(origin, node.name, links) for origin in origins] for node in candidates}
    if all(quality is None for found in ways.values() for quality in found):
        return list(candidates)
    return [replace(node, info=replace(node.info, TQ=_mean_quality(node, origins, ways[node.name]))) for node in candidates]


def _measured(origin: str, candidate: str, links: LinkQualities) -> int | None:
    there = links.get(origin, {}).get(candidate)
    return links.get(candidate, {}).get(origin) if there is None else there


def _mean_quality(node: NodeView, origins: Sequence[str], ways: Sequence[int | None]) -> int:
    qualities = [
        OWN_QUALITY if origin == node.name else node.info.TQ if way is None else way for origin, way in zip(origins, ways, strict=True)
    ]
    return round(sum(qualities) / len(qualities))


def score(node: NodeView) -> float:
    """Return how good a node is for a job that has neighbours.

    The score is the mean of link, processor and memory in percent, times the node's free places. A
    measurement out of its range counts as the nearest end of the range, and one that is not a
    number as the worst: a single bad measurement must not stop a network.
    """
    info = node.info
    link = _within(info.TQ / 255 * 100)
    return (link + _within(info.cpu) + _within(100 - info.swap)) / 3 * node.free


def _within(percent: float) -> float:
    return min(max(percent, 0.0), 100.0) if percent == percent else 0.0


def _decide(job: JobNeeds, nodes: Sequence[NodeView], links: LinkQualities) -> Choice | Refusal:
    _check(job, nodes)
    note = ""
    if job.default_node is not None:
        meant = [node for node in nodes if _is_default(job, node)]
        for node in meant:
            if not node.obstacle:
                return Choice(job.name, node.name, "default node")
        note = f" (default node {job.default_node}: {meant[0].obstacle if meant else 'none of the nodes'})"
    for group in job.groups:
        usable = [node for node in nodes if group in node.groups and not node.obstacle]
        if usable:
            node, reason = _best(job, judged(job, usable, nodes, links), nodes)
            return Choice(job.name, node.name, f"group {group}: {reason}{note}")
    return Refusal(job.name, tuple((node.name, _why_not(job, node)) for node in nodes))


def _check(job: JobNeeds, nodes: Sequence[NodeView]) -> None:
    names = [node.name for node in nodes]
    if len(set(names)) != len(names):
        raise LocalProtocolError(f"each node needs a name of its own; got {', '.join(names)}")
    for node in nodes:
        if node.up and job.name in node.jobs:
            raise LocalProtocolError(f"{job.name} has its place on {node.name}, which is up; only a job without a place can be placed")


def _is_default(job: JobNeeds, node: NodeView) -> bool:
    return job.default_node is not None and job.default_node in (node.name, node.ip)


def _best(job: JobNeeds, usable: Sequence[NodeView], nodes: Sequence[NodeView]) -> tuple[NodeView, str]:
    if job.preference is not None:
        preferred = _preferred(job.name, job.preference, usable)
        if preferred is not None:
            return preferred, "preference of the job"
    if len(usable) == 1:
        return usable[0], "the only node with room"
    # min and max keep the first one on a tie
    if any(node.up and not job.neighbours.isdisjoint(node.jobs) for node in nodes):
        best = max(usable, key=score)
        return best, f"best score {score(best):.1f} of {len(usable)} nodes"
    best = min(usable, key=lambda node: len(node.jobs))
    return best, f"fewest jobs ({len(best.jobs)}) of {len(usable)} nodes"


def _preferred(job: str, preference: Preference, usable: Sequence[NodeView]) -> NodeView | None:
    try:
        answer = preference([node.info for node in usable])
    except BaseException as why:  # any kind: a StopIteration or SystemExit would end more than this decision
        raise DefinitionError(f"{job}: preference failed: {error_text(why)}") from why
    if answer is None:
        return None
    for node in usable:
        if isinstance(answer, NodeInfo) and (answer is node.info or answer == node.info):
            return node
    given = ", ".join(node.name for node in usable)
    got = f"the one of {answer.name!r}" if isinstance(answer, NodeInfo) else value_text(answer)
    raise DefinitionError(f"{job}: preference must return one of the NodeInfo that it was given ({given}), or None; it returned {got}")


def _why_not(job: JobNeeds, node: NodeView) -> str:
    if _is_default(job, node) or any(group in node.groups for group in job.groups):
        return node.obstacle
    return " and ".join(_misfits(job))


def _misfits(job: JobNeeds) -> Iterator[str]:
    """Yield why the job cannot use a node that is neither in its groups nor its default node."""
    if job.default_node is not None:
        yield f"not its default node {job.default_node}"
    if job.groups:
        yield f"not in {' or '.join(job.groups)}"
    elif job.default_node is None:
        yield "it has neither GROUPS nor DEFAULT_NODE"
