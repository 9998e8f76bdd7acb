"""How long the client takes to place the jobs of large networks: all of them at the start, and the ten of a node that is lost.

Ten jobs a node, in chains, on nodes that have all measured the links to each other. Decisions only: no process is started.

    python -m benchmarks.placement [--runs 2] [--nodes 100 300 1000] [--json FILE]
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from typing import Any

from benchmarks.chain import arguments, show
from fission.core.nodes import NodeInfo
from fission.protocol.placement import ClusterView, JobNeeds
from fission.protocol.supervision import JobPlan, JobReady, Launch, NodeLost, NodeUp, Supervisor

JOBS_A_NODE = 10
#: Room for the jobs of lost nodes.
MAX_JOBS = 2 * JOBS_A_NODE
#: What is wanted of the largest network, seconds.
ALL_S, LOST_S = 5.0, 0.020


def networks(nodes: int) -> tuple[list[JobPlan], ClusterView]:
    """Chains of ten jobs, as many as nodes, and what decides on their places."""
    rng = random.Random(nodes)
    names = [f"n{number}" for number in range(1, nodes + 1)]
    links = {one: {other: rng.randint(100, 255) for other in names if other != one} for one in names}
    infos = tuple(
        NodeInfo(name, f"10.0.{number // 256}.{number % 256}", cpu=rng.uniform(10, 100), memory=8 << 30, max_jobs=MAX_JOBS)
        for number, name in enumerate(names)
    )
    plans, needs = [], {}
    for job in range(1, nodes * JOBS_A_NODE + 1):
        place = (job - 1) % JOBS_A_NODE
        before, after = place > 0, place < JOBS_A_NODE - 1
        inputs, outputs = ({job - 1: job - 1} if before else {}), ({job: job + 1} if after else {})
        part = (job - 1) // JOBS_A_NODE + 1
        plans.append(
            JobPlan(job, f"Job {job}", inputs, outputs, source=not before, resumable=True, part=part, required=True, restarts=None)
        )
        neighbours = frozenset(f"Job {other}" for other in [*inputs.values(), *outputs.values()])
        needs[job] = JobNeeds(f"Job {job}", job, neighbours=neighbours)
    return plans, ClusterView(needs, infos, frozenset(names), links)


def placed(nodes: int) -> tuple[float, float]:
    """Return the seconds in which all jobs are placed, and those of a lost node, as the median of five nodes."""
    plans, view = networks(nodes)
    supervisor = Supervisor(plans, view, restart_window_s=60.0, allocation_timeout_s=60.0)
    for node in view.nodes:
        supervisor.handle(NodeUp(node=node.name), 0.0)
    began = time.perf_counter()
    launched = [one for one in supervisor.start(0.0) if isinstance(one, Launch)]
    all_s = time.perf_counter() - began
    if len(launched) != len(plans):
        raise RuntimeError(f"{len(launched)} of {len(plans)} jobs were placed")
    for plan in plans:
        supervisor.handle(JobReady(job=plan.job, incarnation=1), 0.0)
    lost_s = []
    for number, node in enumerate(view.nodes[:5], 1):
        began = time.perf_counter()
        instructions = supervisor.handle(NodeLost(node=node.name, reason="benchmark"), float(number))
        lost_s.append(time.perf_counter() - began)
        if not any(isinstance(one, Launch) for one in instructions):
            raise RuntimeError(f"no job of {node.name} was placed again")
    return all_s, statistics.median(lost_s)


def main() -> int:
    """Print the table and write the JSON."""
    parser = arguments(__doc__, runs=2)
    parser.add_argument("--nodes", type=int, nargs="+", default=[100, 300, 1000])
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for nodes in options.nodes:
        found = [placed(nodes) for _ in range(options.runs)]
        largest = nodes == 1000
        for case, index, scale, figure, wanted in (
            ("all jobs are placed", 0, 1.0, "s", f"<= {ALL_S:g}"),
            ("a lost node's jobs are placed", 1, 1e3, "ms", f"<= {LOST_S * 1e3:g}"),
        ):
            values = [one[index] * scale for one in found]
            row = {"case": f"{nodes} nodes, {nodes * JOBS_A_NODE} jobs: {case}", "figure": figure}
            rows.append(
                row | {"fission": round(statistics.median(values), 2), "worst": round(max(values), 2), "wanted": wanted if largest else ""}
            )
    show(rows, ["case", "figure", "fission", "worst", "wanted"], options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
