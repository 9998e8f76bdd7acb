"""Which node a job is placed on, with the reason in words.

A job that died on a node that is still up, and not avoided, stays there without being asked about
(`fission.protocol.supervision.Supervisor`).

Rules, for any other job without a place
    1. DEFAULT_NODE (its address or its name), if it is up and has room. It need not be in the job's
       GROUPS.
    2. GROUPS in their order; the first one with a node that is up and has room decides. Among those
       nodes:
       a. the node that the job's `preference` returns, if it returns one;
       b. for a job that has neighbours (jobs at the other ends of its pipes) on nodes that are up:
          the best `score`, with TQ of the links from its neighbours' nodes
          (see `PlacementRound.judged`);
       c. otherwise the node with the fewest jobs.
       A tie goes to the first one in NODES.
    3. Otherwise none, with a reason for each node.

The client is one of the nodes, in group "LOCAL". Jobs and nodes are in group "ALL" by default. The
rules treat neither specially.

A decision is pure: the same nodes, links and jobs give the same answer, except for effects of a
job's `preference`. Jobs are placed in rounds (`PlacementRound`): what all decisions at one moment
have in common is computed once, so that a thousand nodes and ten thousand jobs take seconds.

Known gap: jobs are placed one by one, and a job that has a place is never moved. A job that could
run anywhere may take the last place that a later job needs; raise the later job's PRIORITY, or
narrow the GROUPS of the other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from fission.core.nodes import NodeInfo
from fission.errors import AllocationError, DefinitionError, LocalProtocolError, error_text, value_text
from fission.protocol.placement_inputs import NO_LINKS, OWN_QUALITY, CandidateNode, JobNeeds, LinkQualities, NodeView, Preference

__all__ = [
    "Choice",
    "ClusterView",
    "JobNeeds",
    "JobRound",
    "LinkQualities",
    "NodeView",
    "PlacementRound",
    "Preference",
    "Refusal",
    "place",
    "score",
]


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

    def round(self, taken: Mapping[str, Collection[int]], avoided: Mapping[str, str]) -> JobRound:
        """Begin to place jobs; see `fission.protocol.placement_view.PlacementView`."""
        needs, places = self.needs, []
        for node in self.nodes:
            jobs = taken.get(node.name)
            if jobs is not None:
                places.append(CandidateNode(node, tuple([needs[job].name for job in sorted(jobs)])))
            elif node.name in avoided:
                down = f"left out for a while, because a job could not start there: {avoided[node.name]}"
                places.append(CandidateNode(node, (), up=False, down=down))
            else:
                down = "lost" if node.name in self.joined else "not there: no service answers"
                places.append(CandidateNode(node, (), up=False, down=down))
        return JobRound(PlacementRound(places, self.links), needs)


class JobRound:
    """A `PlacementRound` of the jobs of a network, by id."""

    def __init__(self, nodes: PlacementRound, needs: Mapping[int, JobNeeds]) -> None:
        self._round, self._needs = nodes, needs

    def place(self, job: int) -> tuple[str, str]:
        """Choose a node for a job; see `fission.protocol.placement_view.Round`."""
        choice = self._round.place(self._needs[job])
        return choice.node, choice.reason


def place(job: JobNeeds, nodes: Sequence[NodeView], links: LinkQualities = NO_LINKS) -> Choice:
    """Choose the node for a single job, as `PlacementRound.place` does.

    Args:
        job: job that has no place on a node that is up.
        nodes: all nodes, in the order of NODES.
        links: link qualities that the nodes have measured; any of them may be missing.
    """
    return PlacementRound(nodes, links).place(job)


def score(node: NodeView) -> float:
    """Return how good a node is for a job that has neighbours.

    The score is the mean of link, processor and memory in percent, times the node's free places. A
    measurement out of its range counts as the nearest end of the range, and one that is not a
    number as the worst: a single bad measurement must not stop a network.
    """
    return _points(node.info.TQ, *_capacity(node.info), node.free)


def _points(quality: float, processor: float, memory: float, free: int) -> float:
    return (_within(quality / 255 * 100) + processor + memory) / 3 * free


def _capacity(node: NodeInfo) -> tuple[float, float]:
    """Return processor and memory of a node in percent, within their ranges."""
    return _within(node.cpu), _within(100 - node.swap)


def _within(percent: float) -> float:
    if 0.0 <= percent <= 100.0:
        return percent
    return min(max(percent, 0.0), 100.0) if percent == percent else 0.0


class PlacementRound:
    """Places jobs, one after the other, on the nodes of one moment.

    A job that was placed counts for the jobs after it.
    """

    def __init__(self, nodes: Sequence[NodeView | CandidateNode], links: LinkQualities = NO_LINKS) -> None:
        """Begin a round.

        Args:
            nodes: all nodes, in the order of NODES.
            links: link qualities that the nodes have measured; any of them may be missing.

        Raises:
            LocalProtocolError: two nodes have the same name.
        """
        self._nodes = [
            node if isinstance(node, CandidateNode) else CandidateNode(node.info, node.jobs, node.up, node.down) for node in nodes
        ]
        self._names = [node.info.name for node in self._nodes]
        if len(set(self._names)) != len(self._names):
            raise LocalProtocolError(f"each node needs a name of its own; got {', '.join(self._names)}")
        self._place_of = {job: index for index, node in enumerate(self._nodes) if node.up for job in node.jobs}
        self._links = links
        self._usable: dict[str, list[int]] = {}  # by group, when it was first needed: nodes that can take a job
        self._loads = [len(node.jobs) for node in self._nodes]
        self._scores: list[float] = []  # as the client sees the nodes; empty until it is needed
        self._capacities: list[tuple[float, float, int]] = []  # processor, memory, and number of jobs that each takes
        self._percent = _Percentages()
        self._ways: dict[int, _Ways] = {}  # by node

    def place(self, job: JobNeeds) -> Choice:
        """Choose the node for a job; the job has its place there from now on.

        Args:
            job: job that has no place on a node that is up.

        Raises:
            AllocationError: no node can take the job; the text names the job and gives a reason for
                each node.
            DefinitionError: its `preference` raised, or returned something other than one of the
                given NodeInfo or None.
            LocalProtocolError: the job has a place.
        """
        if job.name in self._place_of:
            name = self._names[self._place_of[job.name]]
            raise LocalProtocolError(f"{job.name} has its place on {name}, which is up; only a job without a place can be placed")
        index, reason = self._decide(job)
        self._take(index, job)
        return Choice(job.name, self._names[index], reason)

    def _decide(self, job: JobNeeds) -> tuple[int, str]:
        note = ""
        if job.default_node is not None:
            meant = [index for index, node in enumerate(self._nodes) if job.default_node in (node.info.name, node.info.ip)]
            for index in meant:
                if not self._nodes[index].obstacle:
                    return index, "default node"
            note = f" (default node {job.default_node}: {self._nodes[meant[0]].obstacle if meant else 'none of the nodes'})"
        for group in job.groups:
            usable = self._usable_of(group)
            if usable:
                index, reason = self._best(job, usable)
                return index, f"group {group}: {reason}{note}"
        raise AllocationError(str(Refusal(job.name, tuple((node.info.name, _why_not(job, node)) for node in self._nodes))))

    def _usable_of(self, group: str) -> list[int]:
        found = self._usable.get(group)
        if found is None:
            nodes = enumerate(self._nodes)
            found = self._usable[group] = [index for index, node in nodes if group in node.info.groups and not node.obstacle]
        return found

    def _take(self, index: int, job: JobNeeds) -> None:
        """Give a job its place, and update what depends on the node's jobs."""
        node = self._nodes[index]
        node.jobs = (*node.jobs, job.name)
        self._place_of[job.name] = index
        self._loads[index] += 1
        if self._scores:
            self._scores[index] = score(node.view())
        if node.obstacle:
            for usable in self._usable.values():
                if index in usable:
                    usable.remove(index)

    def _best(self, job: JobNeeds, usable: Sequence[int]) -> tuple[int, str]:
        origins = sorted({self._place_of[name] for name in job.neighbours if name in self._place_of})
        qualities = self._qualities(origins, usable) if origins and self._links else None
        if job.preference is not None:
            preferred = _preferred(job.name, job.preference, self._judged(usable, qualities))
            if preferred is not None:
                return usable[preferred], "preference of the job"
        if len(usable) == 1:
            return usable[0], "the only node with room"
        # the first one wins a tie
        if not origins:
            best = min(usable, key=self._loads.__getitem__)
            return best, f"fewest jobs ({self._loads[best]}) of {len(usable)} nodes"
        scores = self._scored(usable, qualities)
        highest = max(scores)
        return usable[scores.index(highest)], f"best score {highest:.1f} of {len(usable)} nodes"

    def _scored(self, usable: Sequence[int], qualities: Sequence[int] | None) -> list[float]:
        """Return the score of each of the nodes, with the given qualities of their links."""
        if qualities is None:
            if not self._scores:
                self._scores = [score(node.view()) for node in self._nodes]
            return [self._scores[index] for index in usable]
        if not self._capacities:
            self._capacities = [(*_capacity(node.info), node.info.max_jobs) for node in self._nodes]
        capacities, loads, percent = self._capacities, self._loads, self._percent
        there = zip(qualities, [capacities[index] for index in usable], [loads[index] for index in usable], strict=True)
        # `_points`, written out: with many nodes this line takes most of the time
        return [(percent[quality] + processor + memory) / 3 * (limit - load) for quality, (processor, memory, limit), load in there]

    # links

    def judged(self, job: JobNeeds, candidates: Sequence[str]) -> list[NodeView]:
        """Return nodes with the TQ that counts for a job: the mean over its links.

        These are the links from the nodes of its neighbours. The link from a node to itself has the
        best quality. A link that is not measured counts as measured in the opposite direction;
        failing that, it counts as the client sees the candidate. If none of these links is
        measured, the candidates are returned unchanged.

        Args:
            job: job that needs a place.
            candidates: names of some of the nodes.
        """
        origins = sorted({self._place_of[name] for name in job.neighbours if name in self._place_of})
        index = {name: number for number, name in enumerate(self._names)}
        usable = [index[name] for name in candidates]
        return self._judged(usable, self._qualities(origins, usable) if origins else None)

    def _judged(self, usable: Sequence[int], qualities: Sequence[int] | None) -> list[NodeView]:
        nodes = [self._nodes[index] for index in usable]
        if qualities is None:
            return [node.view() for node in nodes]
        return [node.view(quality) for node, quality in zip(nodes, qualities, strict=True)]

    def _qualities(self, origins: Sequence[int], usable: Sequence[int]) -> list[int] | None:
        """Return the mean quality of the links from some nodes to each candidate.

        None if none of these links is measured.
        """
        ways = [self._ways_from(origin) for origin in origins]
        if all(way.unmeasured.issuperset(usable) for way in ways):
            return None
        columns = [[way.qualities[index] for index in usable] for way in ways]
        if len(columns) == 1:
            return columns[0]
        return [round(total / len(columns)) for total in map(sum, zip(*columns, strict=True))]

    def _ways_from(self, origin: int) -> _Ways:
        found = self._ways.get(origin)
        if found is None:
            found = self._ways[origin] = self._measured_ways(origin)
        return found

    def _measured_ways(self, origin: int) -> _Ways:
        name, links = self._names[origin], self._links
        there = links.get(name, {})
        found = list(map(there.get, self._names))
        unmeasured = set()
        for index in [index for index, quality in enumerate(found) if quality is None]:
            found[index] = links.get(self._names[index], {}).get(name)
            if found[index] is None:
                unmeasured.add(index)
                found[index] = self._nodes[index].info.TQ
        found[origin] = OWN_QUALITY
        return _Ways(cast("list[int]", found), frozenset(unmeasured))


@dataclass(frozen=True, slots=True)
class _Ways:
    """The links from one node.

    Attributes:
        qualities: quality of the link to each node, in the order of NODES.
        unmeasured: indices of the nodes to which, and from which, the link is not measured.
    """

    qualities: list[int]
    unmeasured: frozenset[int]


class _Percentages(dict[float, float]):
    """The link part of `score` by quality, each computed once."""

    def __missing__(self, quality: float) -> float:
        self[quality] = percent = _within(quality / 255 * 100)
        return percent


def _preferred(job: str, preference: Preference, usable: Sequence[NodeView]) -> int | None:
    """Return the index of the node that the job's `preference` returns; None for no preference."""
    try:
        answer = preference([node.info for node in usable])
    except BaseException as why:  # any kind: a StopIteration or SystemExit would end more than this decision
        raise DefinitionError(f"{job}: preference failed: {error_text(why)}") from why
    if answer is None:
        return None
    for index, node in enumerate(usable):
        if isinstance(answer, NodeInfo) and (answer is node.info or answer == node.info):
            return index
    given = ", ".join(node.name for node in usable)
    got = f"the one of {answer.name!r}" if isinstance(answer, NodeInfo) else value_text(answer)
    raise DefinitionError(f"{job}: preference must return one of the NodeInfo that it was given ({given}), or None; it returned {got}")


def _why_not(job: JobNeeds, node: CandidateNode) -> str:
    if job.default_node in (node.info.name, node.info.ip) or any(group in node.info.groups for group in job.groups):
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
