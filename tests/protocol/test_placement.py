"""Placement against a plain reading of its rules, with broken variants, which the same checks must catch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fission.core.jobs import PythonJob
from fission.core.network import Network
from fission.core.nodes import NodeInfo
from fission.core.pipes import PicklePipe
from fission.core.registry import collecting
from fission.errors import AllocationError, DefinitionError, LocalProtocolError
from fission.protocol import placement
from fission.protocol.placement import Choice, JobNeeds, NodeView, place, score
from tests.protocol.seeds import expect_caught, run_seeds

Place = Callable[[JobNeeds, Sequence[NodeView]], Choice]


def node(name: str, *jobs: str, up: bool = True, down: str = "down", max_jobs: int = 2, ip: str = "", **info: Any) -> NodeView:
    return NodeView(NodeInfo(name, ip or f"10.0.0.{name}", jobs=jobs, max_jobs=max_jobs, **info), up, down)


def job(number: int = 1, **needs: Any) -> JobNeeds:
    return JobNeeds(f"Job {number}", number, **needs)


def chosen(needs: JobNeeds, *nodes: NodeView) -> tuple[str, str]:
    choice = place(needs, nodes)
    assert choice.job == needs.name
    assert "\n" not in choice.reason
    return choice.node, choice.reason


# -- one job ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("default", ["10.0.0.2", "2"])
def test_the_default_node_comes_first_whatever_its_groups(default: str) -> None:
    nodes = [node("1"), node("2", "Job 7", groups=("ELSE",))]
    assert chosen(job(default_node=default), *nodes) == ("2", "default node")
    assert chosen(job(default_node=default, groups=()), *nodes) == ("2", "default node")


def test_of_several_nodes_at_the_default_address_the_first_with_room() -> None:
    nodes = [node("1", ip="h", up=False), node("2", "Job 7", ip="h", max_jobs=1), node("3", ip="h"), node("4", ip="h")]
    assert chosen(job(default_node="h"), *nodes) == ("3", "default node")


def test_without_its_default_node_a_job_is_placed_by_its_groups_and_the_reason_says_so() -> None:
    one = node("1")
    for default, why in [
        (node("2", up=False, down="lost"), "lost"),
        (node("2", "Job 7", "Job 8"), "full (2/2 jobs)"),
        (node("3"), "none of the nodes"),
    ]:
        needs = job(default_node="2", groups=("MIC", "ALL"))
        reason = "fewest jobs (0) of 2 nodes" if default.name == "3" else "the only node with room"
        assert chosen(needs, one, default) == ("1", f"group ALL: {reason} (default node 2: {why})")


def test_groups_count_in_the_order_of_the_job() -> None:
    nodes = [node("1"), node("2", "Job 7", groups=("ALL", "MIC")), node("3", "Job 8", "Job 9", groups=("FAST",))]
    assert chosen(job(groups=("MIC", "ALL")), *nodes) == ("2", "group MIC: the only node with room")
    assert chosen(job(groups=("FAST", "ALL")), *nodes) == ("1", "group ALL: fewest jobs (0) of 2 nodes")


def test_the_client_takes_local_jobs_only() -> None:
    client, other = node("client", groups=("LOCAL",)), node("1", "Job 7")
    assert chosen(job(groups=("LOCAL",)), other, client)[0] == "client"
    assert chosen(job(), client, other)[0] == "1"


def test_score_as_documented() -> None:
    busy = node("1", "Job 7", max_jobs=3, cpu=80.0, swap=10.0, TQ=255)
    assert score(busy) == (100 + 80 + 90) / 3 * 2
    assert score(node("1", "Job 7", "Job 8")) == 0
    assert score(node("1", max_jobs=1, cpu=math.nan, swap=math.inf, TQ=999)) == 100 / 3
    assert score(node("1", max_jobs=1, cpu=-1.0, swap=-3.0, TQ=0)) == 100 / 3


def test_a_job_with_placed_neighbours_goes_to_the_best_score() -> None:
    nodes = [node("1", cpu=10.0), node("2", "Job 2", cpu=50.0, max_jobs=4), node("3", cpu=90.0)]
    beside = job(neighbours=frozenset({"Job 2"}))
    assert chosen(beside, *nodes) == ("2", "group ALL: best score 250.0 of 3 nodes")
    # a neighbour on a node that is down has no place itself
    assert chosen(beside, nodes[0], replace(nodes[1], up=False), nodes[2]) == ("1", "group ALL: fewest jobs (0) of 2 nodes")


def test_a_tie_goes_to_the_first() -> None:
    nodes = [node("1", "Job 8"), node("2", "Job 7"), node("3", "Job 9")]
    for neighbours in (frozenset[str](), frozenset({"Job 9"})):
        assert chosen(job(neighbours=neighbours), *nodes)[0] == "1"
        assert chosen(job(neighbours=neighbours), *reversed(nodes))[0] == "3"


def test_no_place_names_the_job_and_for_each_node_why_not() -> None:
    nodes = [
        node("1", up=False, down="lost"),
        node("2", "Job 7", "Job 8"),
        node("3", groups=("ELSE",)),
        node("client", groups=("LOCAL",), max_jobs=0),
    ]
    with pytest.raises(AllocationError) as error:
        place(job(groups=("MIC", "ALL")), nodes)
    no = "not in MIC or ALL"
    assert str(error.value) == f"no place for Job 1: 1: lost; 2: full (2/2 jobs); 3: {no}; client: {no}"
    with pytest.raises(AllocationError, match=r"Job 1: 1: lost; 2: not its default node 1; 3: not its default node 1; client: not its de"):
        place(job(groups=(), default_node="1"), nodes)
    with pytest.raises(AllocationError, match=r"2: not its default node 9 and not in MIC; 3"):
        place(job(groups=("MIC",), default_node="9"), nodes)
    with pytest.raises(AllocationError, match="3: it has neither GROUPS nor DEFAULT_NODE;"):
        place(job(groups=()), nodes)
    with pytest.raises(AllocationError, match="no place for Job 1: there are no nodes"):
        place(job(), [])


# -- preference -------------------------------------------------------------------------------------------------------


def test_preference_chooses_among_the_nodes_of_the_group_with_room() -> None:
    seen: list[list[str]] = []

    def preference(infos: list[NodeInfo]) -> NodeInfo:
        seen.append([info.name for info in infos])
        infos.reverse()  # the list is the job's own
        return infos.pop(0)

    nodes = [node("1"), node("2", up=False), node("3", "Job 7", "Job 8"), node("4", groups=("MIC",)), node("5")]
    assert chosen(job(preference=preference), *nodes) == ("5", "group ALL: preference of the job")
    assert chosen(job(preference=preference, groups=("MIC", "ALL")), *nodes) == ("4", "group MIC: preference of the job")
    assert chosen(job(preference=preference, default_node="1"), *nodes) == ("1", "default node")
    assert seen == [["1", "5"], ["4"]]


def test_preference_may_have_none_and_may_return_a_copy() -> None:
    nodes = [node("1", "Job 7"), node("2")]
    assert chosen(job(preference=lambda infos: None), *nodes) == ("2", "group ALL: fewest jobs (0) of 2 nodes")
    assert chosen(job(preference=lambda infos: replace(infos[0])), *nodes) == ("1", "group ALL: preference of the job")


class _Hostile:
    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        raise ValueError


@pytest.mark.parametrize(
    ("answer", "got"),
    [("2", "'2'"), (False, "False"), (node("3").info, "the one of '3'"), ("x" * 999, "'xxxxxxxxxxxx"), (_Hostile(), "<_Hostile")],
    ids=lambda value: type(value).__name__,
)
def test_anything_else_is_a_fault_of_the_job(answer: object, got: str) -> None:
    with pytest.raises(DefinitionError) as error:
        place(job(preference=lambda infos: answer), [node("1"), node("2"), node("3", up=False)])
    text = "Job 1: preference must return one of the NodeInfo that it was given (1, 2), or None; it returned "
    assert str(error.value).startswith(text + got)
    assert len(str(error.value)) < 200


def test_an_exception_of_preference_is_a_fault_of_the_job() -> None:
    def preference(infos: list[NodeInfo]) -> None:
        raise ZeroDivisionError(infos[0].name)

    with pytest.raises(DefinitionError, match=r"^Job 1: preference failed: ZeroDivisionError: 1$"):
        place(job(preference=preference), [node("1")])


def test_misuse_is_reported() -> None:
    with pytest.raises(LocalProtocolError, match=r"name of its own; got 1, 1"):
        place(job(), [node("1"), node("1", ip="h")])
    with pytest.raises(LocalProtocolError, match="Job 1 has its place on 1, which is up"):
        place(job(), [node("1", "Job 1")])
    assert place(job(), [node("1", "Job 1", up=False), node("2")]).node == "2"


def test_needs_of_a_job_of_a_network() -> None:
    class Plain(PythonJob):
        def run(self, *blocks: object) -> object:
            return blocks

    class Picky(Plain):
        GROUPS = ["MIC", "ALL"]
        DEFAULT_NODE = "10.0.0.2"
        PRIORITY = 3

        def preference(self, node_infos: list[NodeInfo]) -> NodeInfo:
            return node_infos[-1]

    class Wrong(Plain):
        preference = "10.0.0.2"

    with collecting() as registry:
        Plain(outputs=[PicklePipe(1)])
        Picky(inputs=[PicklePipe(1)], outputs=[PicklePipe(2)])
        Wrong(inputs=[PicklePipe(2)])
    network = Network.from_registry("n", registry)
    source, picky = JobNeeds.of(network.jobs[1]), JobNeeds.of(network.jobs[2])
    assert source == JobNeeds("Plain 1", 1, neighbours=frozenset({"Picky 2"}))
    expected = JobNeeds("Picky 2", 2, ("MIC", "ALL"), "10.0.0.2", 3, neighbours=frozenset({"Plain 1", "Wrong 3"}))
    assert replace(picky, preference=None) == expected
    assert place(replace(picky, default_node=None), [node("1"), node("2"), node("3", up=False)]).node == "2"
    with pytest.raises(DefinitionError, match="Wrong 3: preference must be a method"):
        JobNeeds.of(network.jobs[3])


# -- any job and any nodes --------------------------------------------------------------------------------------------

GROUPS = ("ALL", "MIC", "LOCAL")
NAMES = [f"Other {number}" for number in range(9)]
PREFERENCES: list[placement.Preference | None] = [
    None,
    None,
    lambda infos: None,
    lambda infos: infos[-1],
    lambda infos: max(infos, key=str),
]


def cluster(rng: Random) -> list[NodeView]:
    others = list(NAMES)
    nodes = []
    for name in rng.sample("abcde", rng.randint(0, 5)):
        count = rng.randint(0, 3)
        jobs, others = others[:count], others[count:]
        # few values, so that ties are common
        nodes.append(
            node(
                name,
                *jobs,
                up=rng.randint(0, 3) > 0,
                max_jobs=rng.randint(0, 4),
                ip=rng.choice(["h1", "h2"]),
                groups=tuple(rng.sample(GROUPS, rng.randint(0, 3))),
                cpu=rng.choice([0.0, 50.0, 100.0, rng.uniform(0, 100)]),
                swap=rng.choice([0.0, 50.0]),
                TQ=rng.choice([0, 128, 255]),
            )
        )
    return nodes


def any_job(rng: Random, number: int = 1) -> JobNeeds:
    return JobNeeds(
        name=f"Job {number}",
        id=number,
        groups=tuple(rng.sample(GROUPS, rng.randint(0, 3))),
        default_node=rng.choice([None, None, "a", "b", "h1", "nowhere"]),
        priority=rng.randint(-1, 1),
        preference=rng.choice(PREFERENCES),
        neighbours=frozenset(rng.sample([*NAMES, "Job 1", "Job 2"], rng.randint(0, 3))),
    )


def spec(needs: JobNeeds, nodes: Sequence[NodeView]) -> str | None:
    """The rules, word by word: the node's name."""
    can_take = [one for one in nodes if one.up and len(one.info.jobs) < one.info.max_jobs]
    for one in can_take:
        if needs.default_node in (one.info.ip, one.info.name):
            return one.info.name
    for group in needs.groups:
        of_group = [one for one in can_take if group in one.info.groups]
        if not of_group:
            continue
        if needs.preference:
            preferred = needs.preference([one.info for one in of_group])
            if isinstance(preferred, NodeInfo):
                return preferred.name
        placed = {name for one in nodes if one.up for name in one.info.jobs}
        ranked = []
        for position, one in enumerate(of_group):
            info = one.info
            points = ((info.TQ / 255) * 100 + info.cpu + (100 - info.swap)) / 3 * (info.max_jobs - len(info.jobs))
            ranked.append((-points if placed & needs.neighbours else len(info.jobs), position, info.name))
        return sorted(ranked)[0][2]
    return None


def check_place(function: Place, needs: JobNeeds, nodes: Sequence[NodeView]) -> None:
    """Everything that holds for one job."""
    expected = spec(needs, nodes)
    choice, refusal = None, ""
    try:
        choice = function(needs, tuple(nodes))
    except AllocationError as error:
        refusal = str(error)
    assert (choice and choice.node) == expected
    if choice is None:
        assert all(text in refusal for text in [needs.name, *(f"{one.name}: " for one in nodes)])
        return
    taken = next(one for one in nodes if one.name == choice.node)
    assert taken.up
    assert len(taken.jobs) < taken.max_jobs
    assert needs.default_node in (taken.ip, taken.name) or set(needs.groups) & set(taken.groups)
    assert function(needs, list(nodes)) == choice  # deterministic, and nothing was changed


@given(st.randoms(use_true_random=False))
def test_one_job_anywhere(rng: Random) -> None:
    check_place(place, any_job(rng), cluster(rng))


def test_many_jobs_anywhere() -> None:
    run_seeds(lambda rng: check_place(place, any_job(rng), cluster(rng)), 1000)


# -- the tests themselves ---------------------------------------------------------------------------------------------


def everyone(nodes: Sequence[NodeView], **info: Any) -> list[NodeView]:
    return [replace(one, info=replace(one.info, **info)) for one in nodes]


BROKEN: dict[str, Place] = {
    "places on nodes that are down": lambda needs, nodes: place(needs, [replace(one, up=True) for one in nodes]),
    "places on full nodes": lambda needs, nodes: place(needs, everyone(nodes, max_jobs=99)),
    "takes one job too many": lambda needs, nodes: place(
        needs, [one for view in nodes for one in everyone([view], max_jobs=view.max_jobs + 1)]
    ),
    "has no groups": lambda needs, nodes: place(needs, everyone(nodes, groups=GROUPS)),
    "reads groups backwards": lambda needs, nodes: place(replace(needs, groups=needs.groups[::-1]), nodes),
    "forgets the default node": lambda needs, nodes: place(replace(needs, default_node=None), nodes),
    "default node in its groups only": lambda needs, nodes: place(
        needs, [replace(one, up=one.up and not set(needs.groups).isdisjoint(one.groups)) for one in nodes]
    ),
    "forgets preference": lambda needs, nodes: place(replace(needs, preference=None), nodes),
    "always by score": lambda needs, nodes: place(replace(needs, neighbours=frozenset(NAMES)), nodes),
    "never by score": lambda needs, nodes: place(replace(needs, neighbours=frozenset()), nodes),
    "neighbours on dead nodes": lambda needs, nodes: place(
        replace(needs, neighbours=frozenset(NAMES) if any(needs.neighbours & set(one.jobs) for one in nodes) else frozenset()), nodes
    ),
    "the last on a tie": lambda needs, nodes: place(needs, list(reversed(nodes))),
    "no link in the score": lambda needs, nodes: place(needs, everyone(nodes, TQ=255)),
    "no swap in the score": lambda needs, nodes: place(needs, everyone(nodes, swap=0.0)),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_placement_is_caught(fault: str) -> None:
    expect_caught(lambda rng: check_place(BROKEN[fault], any_job(rng), cluster(rng)), within=5000)


def test_a_score_without_free_places_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "score", lambda one: score(one) / max(1, one.free))
    expect_caught(lambda rng: check_place(place, any_job(rng), cluster(rng)), within=5000)
