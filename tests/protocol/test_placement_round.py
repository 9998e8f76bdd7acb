"""A round of placements against single placements, each on the nodes as they are then."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from fission.core.nodes import NodeInfo
from fission.errors import AllocationError
from fission.protocol.placement import ClusterView, JobNeeds, LinkQualities, NodeView, PlacementRound, place
from tests.protocol.seeds import expect_caught, run_seeds
from tests.protocol.test_placement import any_job, cluster


def any_links(rng: Random, nodes: Sequence[NodeView]) -> LinkQualities:
    """Some of the links between nodes; often none."""
    share = rng.choice([0.0, 0.2, 0.8])
    return {one.name: {other.name: rng.choice([10, 200, rng.randint(0, 255)]) for other in nodes if rng.random() < share} for one in nodes}


def one_by_one(jobs: Sequence[JobNeeds], nodes: Sequence[NodeView], links: LinkQualities) -> list[str]:
    """Place each job on nodes that have the jobs before it, and return the outcomes as text."""
    views, found = list(nodes), []
    for job in jobs:
        try:
            choice = place(job, views, links)
        except AllocationError as why:
            found.append(str(why))
            continue
        found.append(f"{choice.node}: {choice.reason}")
        views = [
            replace(view, info=replace(view.info, jobs=(*view.jobs, job.name))) if view.name == choice.node else view for view in views
        ]
    return found


def in_a_round(jobs: Sequence[JobNeeds], nodes: Sequence[NodeView], links: LinkQualities, kind: type[PlacementRound]) -> list[str]:
    places, found = kind(nodes, links), []
    for job in jobs:
        try:
            choice = places.place(job)
        except AllocationError as why:
            found.append(str(why))
            continue
        found.append(f"{choice.node}: {choice.reason}")
    return found


def check(rng: Random, kind: type[PlacementRound] = PlacementRound) -> None:
    nodes = cluster(rng)
    links = any_links(rng, nodes)
    jobs = [any_job(rng, number) for number in range(1, rng.randint(2, 8))]
    jobs = [replace(job, neighbours=job.neighbours | {f"Job {rng.randint(1, 8)}"} - {job.name}) for job in jobs]
    assert in_a_round(jobs, nodes, links, kind) == one_by_one(jobs, nodes, links)


def test_a_round_places_like_single_placements() -> None:
    run_seeds(check, 3000)


class ForgetsTheLoad(PlacementRound):
    def _take(self, index: int, job: JobNeeds) -> None:
        super()._take(index, job)
        self._loads[index] -= 1


class ForgetsTheScore(PlacementRound):
    def _take(self, index: int, job: JobNeeds) -> None:
        kept = list(self._scores)
        super()._take(index, job)
        self._scores = kept


class ForgetsFullNodes(PlacementRound):
    def _take(self, index: int, job: JobNeeds) -> None:
        kept = {group: list(usable) for group, usable in self._usable.items()}
        super()._take(index, job)
        self._usable = kept


class ForgetsNeighbours(PlacementRound):
    def _take(self, index: int, job: JobNeeds) -> None:
        super()._take(index, job)
        del self._place_of[job.name]


class IgnoresLinks(PlacementRound):
    def _qualities(self, origins: Any, usable: Any) -> None:
        return None


@pytest.mark.parametrize("broken", [ForgetsTheLoad, ForgetsTheScore, ForgetsFullNodes, ForgetsNeighbours, IgnoresLinks])
def test_a_broken_round_is_caught(broken: type[PlacementRound]) -> None:
    expect_caught(lambda rng: check(rng, broken) if broken is not IgnoresLinks else check_against_all_links(rng), within=5000)


def check_against_all_links(rng: Random) -> None:
    """As `check`, where the placement one by one knows the links and the round does not."""
    nodes = cluster(rng)
    jobs = [replace(any_job(rng, number), default_node=None) for number in (1, 2)]
    jobs[1] = replace(jobs[1], neighbours=frozenset({"Job 1"}))
    links = any_links(rng, nodes)
    assert in_a_round(jobs, nodes, links, IgnoresLinks) == one_by_one(jobs, nodes, links)


def check_candidates(rng: Random, kind: type[ClusterView] = ClusterView) -> None:
    """The `preference` of a job gets every candidate, with the names of its jobs and the mean quality of its links."""
    nodes = [replace(view.info, jobs=(), max_jobs=3, groups=("ALL",), TQ=100) for view in cluster(rng)]
    links = any_links(rng, [NodeView(node) for node in nodes])
    taken: dict[str, list[int]] = {node.name: [] for node in nodes if rng.random() < 0.8}
    for job in range(1, 6):
        if taken:
            taken[rng.choice(list(taken))].append(job)
    seen: list[list[NodeInfo]] = []
    chooser = JobNeeds("Job 9", 9, preference=lambda infos: seen.append(infos), neighbours=frozenset({"Job 1", "Job 2"}))
    needs = {**{job: JobNeeds(f"Job {job}", job) for job in range(1, 6)}, 9: chooser}
    places = kind(needs, tuple(nodes), frozenset(taken), links).round(taken, {})
    views = [NodeView(replace(node, jobs=tuple(f"Job {job}" for job in sorted(taken[node.name])))) for node in nodes if node.name in taken]
    candidates = [view.name for view in views if view.free]
    with contextlib.suppress(AllocationError):
        places.place(9)
    assert seen == [[view.info for view in PlacementRound(views, links).judged(chooser, candidates)] for _ in candidates[:1]]


def test_a_preference_sees_every_candidate() -> None:
    run_seeds(check_candidates, 1000)


class ShowsNoJobs(ClusterView):
    def round(self, taken: Any, avoided: Any) -> Any:
        return super().round({node: [] for node in taken}, avoided)


class ShowsOneNode(ClusterView):
    def round(self, taken: Any, avoided: Any) -> Any:
        return super().round(dict(list(taken.items())[:1]), avoided)


@pytest.mark.parametrize("broken", [ShowsNoJobs, ShowsOneNode])
def test_a_view_that_hides_something_is_caught(broken: type[ClusterView]) -> None:
    expect_caught(lambda rng: check_candidates(rng, broken), within=500)
