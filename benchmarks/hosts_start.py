"""Measures the start of eight jobs on three hosts, from the command to the first block at the sink, and the memory of an idle node.

The services wait for their client before the command starts. The parts of the time, from the run's event log: the command's imports,
until all nodes have joined, until the last job's process has reported, until the first block. Needs root: see tests/cluster/hosts.py.

    python -m benchmarks.hosts_start [--runs 5] [--json FILE]
"""

from __future__ import annotations

import statistics
import sys
import time

import psutil

from benchmarks.chain import MB, arguments, show
from benchmarks.machines import Machines, outcome, until

JOBS, HOSTS = 8, 3
PARTS = ("imports, config", "nodes gathered", "jobs launched", "first block", "all")


def start(machines: Machines) -> list[float]:
    """Run once; return the seconds of each of PARTS."""
    began = time.time()
    client = machines.run(count=10, hops=JOBS - 1)
    machines.finish(client)
    events = machines.events()
    marks = [
        events[0]["at"] - events[0]["s"],
        min(event["at"] for event in events if event["what"] == "Launch"),
        max(event["at"] for event in events if event["what"] == "JobReady"),
        outcome(machines.local / str(JOBS))["first_block_at"],
    ]
    return [after - before for before, after in zip([began, *marks], marks, strict=False)] + [marks[-1] - began]


def resident(machines: Machines) -> tuple[float, float]:
    """Return the resident bytes of an idle service and of its fork server, the largest of all hosts."""
    services = [psutil.Process(node.process.pid) for node in machines.nodes.values()]
    fork_servers = [child for service in services for child in service.children(recursive=True)]
    return max(one.memory_info().rss for one in services), max(one.memory_info().rss for one in fork_servers)


def main() -> int:
    """Print the table and write the JSON."""
    options = arguments(__doc__).parse_args()
    with Machines("chain", ["HOST"] * HOSTS) as machines:
        start(machines)  # the first run writes byte code
        found = []
        for _ in range(options.runs):
            found.append(start(machines))
            for node in machines.nodes.values():
                until(lambda node=node: not node.jobs("chain"), "all jobs are gone")
        service, fork_server = resident(machines)
    rows = [
        {
            "case": f"{JOBS} jobs, {HOSTS} hosts: {part}",
            "figure": "s",
            "fission": round(statistics.median(times), 2),
            "worst": round(max(times), 2),
            "wanted": "<= 3" if part == "all" else "",
        }
        for part, times in zip(PARTS, zip(*found, strict=True), strict=True)
    ]
    rows += [
        {"case": "idle fission node: service", "figure": "MB resident", "fission": round(service / MB, 1), "wanted": "<= 90"},
        {"case": "idle fission node: its fork server", "figure": "MB resident", "fission": round(fork_server / MB, 1), "wanted": ""},
    ]
    show(rows, ["case", "figure", "fission", "worst", "wanted"], options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
