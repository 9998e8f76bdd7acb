"""What the client of a network of two jobs on two nodes answers, for tests of its metrics."""

from __future__ import annotations

from typing import Any

from fission.dashboard.metrics import Answers
from fission.protocol.messages.client_to_viewer import (
    CheckpointCounts,
    JobRow,
    JobShape,
    JobsMeasured,
    JobStandstill,
    JobTotals,
    MeasuredJob,
    NetworkDescribed,
    NodeRow,
    PathRow,
    PipeCounts,
    PipeShape,
    RunCounted,
    RunStatus,
)
from fission.protocol.messages.job_to_client import InputMeasures, InputTotals, OutputMeasures

PATH = PathRow(source=1, sink=2, blocks=50, min_s=0.01, p50_s=0.02, p99_s=0.3, uncertainty_s=0.001)


def node(name: str, *, up: bool = True, **values: Any) -> NodeRow:
    known = {"cpu": 25.0, "memory": 1 << 30, "disk": 1 << 33, "swap": 10.0, "TQ": 51, "rtt": 0.002, "max_jobs": 4}
    return NodeRow(**{"name": name, "ip": "10.0.0.1", "groups": (), "jobs": (), "up": up, "links": {}, **known, **values})


def answers(
    *,
    nodes: tuple[NodeRow, ...] | None = None,
    standing: JobStandstill | None = None,
    last: float | None = 90.0,
    paths: tuple[PathRow, ...] = (PATH,),
) -> Answers:
    measured = MeasuredJob(
        incarnation=2,
        at=1.0,
        blocks=7,
        inputs={1: InputMeasures(done=7)},
        outputs={1: OutputMeasures(sent=7, queue=1, dropped=0, way_s=0.0, way_blocks=0)},
        busy_s=0.5,
        idle_s=0.25,
        starved_s=1.5,
        blocked_s=0.5,
        cpu_s=2.5,
        memory=1000,
    )
    rows = tuple(
        JobRow(
            id=number, name=name, state="running", node="n1", restarts=1, pid=7, measured=one, standing=standing, late=late, judged=judged
        )
        for number, name, one, late, judged in ((1, "Source 1", measured, None, None), (2, "Sink 2", None, 3, 20))
    )
    totals = (
        JobTotals(
            id=1,
            state="running",
            compute_blocks=41,
            malformed=1,
            not_shared=2,
            inputs={},
            outputs={1: PipeCounts(sent=42, lost=1, dropped=2, replayed=3, blocked_s=4.5, queue=5)},
            checkpoints=CheckpointCounts(stored=6, failed=1, bytes=600, last=last),
        ),
        JobTotals(
            id=2,
            state="starting",
            compute_blocks=40,
            malformed=0,
            not_shared=0,
            inputs={1: InputTotals(received=40, duplicates=1, lost=2, dropped=3, dummies=4, unmatched=5)},
            outputs={},
            checkpoints=CheckpointCounts(),
        ),
    )
    return Answers(
        description=NetworkDescribed(
            network="net",
            jobs=(JobShape(id=1, name="Source 1", local=False, groups=()), JobShape(id=2, name="Sink 2", local=False, groups=())),
            pipes=(PipeShape(id=1, kind="PicklePipe", source=1, target=2, optional=False),),
        ),
        status=RunStatus(nodes=(node("n1"), node("n2", up=False, rtt=None)) if nodes is None else nodes, failovers=(), run="1", pid=1),
        measured=JobsMeasured(time=100.0, network="net", jobs=rows, paths=paths),
        counted=RunCounted(since=50.0, jobs=totals, failovers=2, failover_s=1.25),
    )
