"""What is foreseen of a node's loss is what happens at it."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any
from unittest import mock

import pytest

from fission.client.dry_run.dry_run import DryRun
from fission.client.run.nodes.loss import answer_losses
from fission.core.jobs import PythonJob
from fission.core.network import Network
from fission.core.nodes import NodeInfo
from fission.core.pipes import PicklePipe
from fission.core.registry import collecting
from fission.errors import UnknownNameError, UserError
from fission.protocol import node_loss, supervision
from fission.protocol.messages.client_to_viewer import ForeseenJob, LossForeseen
from fission.protocol.messages.viewer_to_client import ForeseeLoss
from fission.protocol.node_loss import ForeseenPlacement


def network(rng: Random, jobs: int) -> Network:
    """Return a chain whose jobs have groups and priorities by chance."""
    with collecting():
        pipes = [PicklePipe(number) for number in range(1, jobs)]
        made = []
        for index in range(jobs):
            job = PythonJob(inputs=pipes[index - 1 : index] if index else [], outputs=pipes[index : index + 1])
            job.GROUPS = rng.choice((["ALL"], ["A"], ["B", "A"]))  # type: ignore[misc]
            job.PRIORITY = rng.randrange(3)  # type: ignore[misc]
            made.append(job)
        return Network("net", dict(enumerate(made, 1)))


def dry_run(rng: Random) -> tuple[DryRun, list[NodeInfo]]:
    nodes = [
        NodeInfo(str(number), f"10.0.0.{number}", ("ALL", *rng.sample(["A", "B"], rng.randrange(1, 3))), max_jobs=rng.randrange(1, 5))
        for number in range(1, 5)
    ]
    run = DryRun(network(rng, 8), nodes, lambda text: None)
    run.start()
    return run, nodes


def check(seed: int) -> bool:
    """Return whether what was foreseen has happened."""
    rng = Random(seed)
    run, nodes = dry_run(rng)
    waiting = set(run.unplaced())
    lost = rng.choice(nodes).name
    foreseen = run._supervisor.foresee_loss(lost, 0.0)
    assert foreseen == run._supervisor.foresee_loss(lost, 0.0), "foreseeing has changed something"
    happened = {launch.job: (launch.node, launch.reason) for launch in run.lose([lost])}
    unplaced = set(run.unplaced()) - waiting
    return (
        {one.job: (one.node, one.reason) for one in foreseen if one.node} == {job: to for job, to in happened.items() if job not in waiting}
        and {one.job for one in foreseen if not one.node} == unplaced
        and [one.job for one in foreseen if one.node] == [job for job in happened if job not in waiting]
    )


def test_what_is_foreseen_is_what_happens() -> None:
    assert all(check(seed) for seed in range(100))


def keeps_the_lost_node(lost: str, jobs: Any, view: Any, taken: Any, avoided: Any) -> list[ForeseenPlacement]:
    """A broken variant: the jobs may stay where they are."""
    return node_loss.foresee("", jobs, view, {name: () if name == lost else there for name, there in taken.items()}, avoided)


def forgets_the_order(lost: str, jobs: Any, view: Any, taken: Any, avoided: Any) -> list[ForeseenPlacement]:
    """A broken variant: places the last job first."""
    return node_loss.foresee(lost, list(reversed(jobs)), view, taken, avoided)


@pytest.mark.parametrize("broken", [keeps_the_lost_node, forgets_the_order])
def test_a_wrong_forecast_is_caught(broken: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervision, "foresee", broken)
    assert not all(check(seed) for seed in range(100))


def test_a_viewer_is_answered() -> None:
    run, _ = dry_run(Random(5))
    names = network(Random(5), 8)
    requests: Any = mock.Mock()
    answer_losses(names, run._nodes, run._supervisor, requests, lambda: 0.0)
    kind, answer = requests.answer.call_args.args
    assert kind is ForeseeLoss
    found = asyncio.run(answer(ForeseeLoss(node="1"), None))
    assert isinstance(found, LossForeseen)
    assert found.node == "1"
    assert found.jobs
    assert all(isinstance(job, ForeseenJob) and job.reason and job.job.startswith("PythonJob ") and job.node != "1" for job in found.jobs)
    with pytest.raises(UnknownNameError, match=r"there is no node '9'\. Nodes: 1, 2, 3, 4"):
        asyncio.run(answer(ForeseeLoss(node="9"), None))
    with mock.patch.object(run._nodes, "local", return_value=True), pytest.raises(UserError, match="the client's own node"):
        asyncio.run(answer(ForeseeLoss(node="1"), None))
