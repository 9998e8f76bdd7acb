"""Blocks between two hosts and the client, with everything on, beside a bare chain with CURVE: rates, and the delay at 500 blocks/s.

The source is on the first host, a job that returns its input on the second, the sink with the client; every hop crosses a veth. Both
chains run alternately; benchmarks/bare_hosts.py is the bare one. Needs root: see tests/cluster/hosts.py.

    python -m benchmarks.hosts_throughput [--runs 2] [--seconds 2] [--cases NAME...] [--json FILE]
"""

from __future__ import annotations

import json
import sys
from typing import Any

from benchmarks.bare_hosts import bare_hosts
from benchmarks.chain import arguments, compared, show
from benchmarks.machines import Machines, outcome
from benchmarks.peers import merged

#: By name: the order, and what is wanted of each figure.
CASES: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "small": ({}, {"blocks_per_s": ">= 0.8", "cpu_us": ""}),
    "bytes": ({"size": 65_536}, {"blocks_per_s": ">= 0.8", "cpu_us": ""}),
    "numpy": ({"size": 65_536, "kind": "numpy"}, {"blocks_per_s": ">= 0.9", "cpu_us": ""}),
    "paced": ({"rate": 500.0}, {"p50_us": "<= 1.3", "p99_us": "", "cpu_us": ""}),
}
TITLES = {"small": "small blocks", "bytes": "64 KB bytes", "numpy": "64 KB numpy", "paced": "500 blocks/s"}
HOPS = 2


def fission_hosts(machines: Machines, order: dict[str, Any]) -> dict[str, float]:
    """Run once; return what `benchmarks.peers.merged` returns."""
    machines.finish(machines.run(hops=HOPS, apart=True, **order))
    cpu = [float(json.loads((machines.job_folder(job) / "cpu.json").read_text())) for job in range(1, HOPS + 2)]
    return merged([outcome(machines.local / str(HOPS + 1))], cpu, order)


def main() -> int:
    """Print the table and write the JSON."""
    parser = arguments(__doc__, runs=2)
    parser.add_argument("--seconds", type=float, default=2.0, help="seconds for which the source of each chain sends")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES), help="the cases to run")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with Machines("chain", ["FIRST", "SECOND"]) as machines:
        for name in options.cases:
            extra, figures = CASES[name]
            order = {"seconds": options.seconds} | extra
            rounds = [{"fission": fission_hosts(machines, order), "bare": bare_hosts(machines, order)} for _ in range(options.runs)]
            rows += compared(TITLES[name], rounds, figures, ("bare",))
    show(rows, ["case", "figure", "fission", "bare", "to bare", "wanted"], options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
