"""Which jobs have a DEADLINE: their own, or that of config.py."""

from __future__ import annotations

import re
from typing import Any

import pytest

from fission.client.run.jobs.path_latencies import PathLatencies
from fission.core.attribute_checks import attribute_faults
from fission.core.base import collecting
from fission.core.jobs import PythonJob
from fission.core.network import Network
from fission.core.pipes import PicklePipe
from fission.protocol.messages.job_to_client import LatencySample


class Processes:
    """In place of the processes of jobs: all are on this machine."""

    def node_of(self, job: int, incarnation: int) -> str:
        return "n1"


def network() -> Network:
    """Return a network of a source, a job between, and two sinks, of which one has a DEADLINE."""
    with collecting() as registry:
        PythonJob(outputs=[PicklePipe(1), PicklePipe(2)])
        PythonJob(inputs=[PicklePipe(1)], outputs=[PicklePipe(3)])
        PythonJob(inputs=[PicklePipe(2)], deadline=2.0)
        PythonJob(inputs=[PicklePipe(3)])
    return Network("net", registry.jobs, (), registry.pipes)


def heard(deadline_s: float | None, seconds: float) -> dict[int, tuple[Any, Any]]:
    """Return the late and judged blocks of each job, after each has reported one block of this latency."""
    found = PathLatencies(network(), Processes(), lambda node: "", lambda: 0.0, deadline_s=deadline_s)  # type: ignore[arg-type]
    for job in (2, 3, 4):
        found.heard(job, "n1", (LatencySample(source=1, incarnation=1, seconds=seconds),))
    return {job: found.late(job) for job in (1, 2, 3, 4)}


@pytest.mark.parametrize(
    ("deadline_s", "seconds", "late"),
    [
        (None, 1.0, {3: (0, 1)}),
        (None, 3.0, {3: (1, 1)}),
        (0.5, 1.0, {3: (0, 1), 4: (1, 1)}),
        (0.5, 3.0, {3: (1, 1), 4: (1, 1)}),
    ],
)
def test_the_setting_is_for_sinks_without_one(deadline_s: float | None, seconds: float, late: dict[int, tuple[int, int]]) -> None:
    assert heard(deadline_s, seconds) == {**dict.fromkeys((1, 2, 3, 4), (None, None)), **late}


def test_jobs_between_have_rows_of_their_own() -> None:
    found = PathLatencies(network(), Processes(), lambda node: "", lambda: 0.0)  # type: ignore[arg-type]
    for job in (2, 3, 4):
        found.heard(job, "n1", (LatencySample(source=1, incarnation=1, seconds=0.5),))
    paths, inner = found.rows()
    assert [(row.source, row.sink) for row in paths] == [(1, 3), (1, 4)]
    assert [(row.source, row.sink, row.p50_s) for row in inner] == [(1, 2, 0.5)]


@pytest.mark.parametrize("wrong", [0, -1.0, "1 s", True, float("nan")])
def test_a_wrong_deadline_of_a_job_is_one_fault_that_names_it(wrong: Any) -> None:
    with collecting() as registry:
        PythonJob(outputs=[PicklePipe(1)])
        PythonJob(inputs=[PicklePipe(1)], deadline=wrong)
    (fault,) = attribute_faults(Network("net", registry.jobs, (), registry.pipes))
    assert re.search(r"test_path_latencies\.py:\d+: ", str(fault))
    assert f"PythonJob 2: DEADLINE must be a number of seconds above 0, or None, but is {wrong!r}" in str(fault)
