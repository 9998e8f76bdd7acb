"""Blocks between two hosts and the client, with everything on, beside a bare chain with CURVE: rates, and the delay at 500 blocks/s.

The source is on the first host, a job that returns its input on the second, the sink with the client; every hop crosses a veth. Both
chains run alternately; benchmarks/bare_hosts.py is the bare one. Needs root: see tests/cluster/hosts.py.

    python -m benchmarks.hosts_throughput [--runs 2] [--seconds 2] [--json FILE]
"""

from __future__ import annotations

import sys
from typing import Any

from benchmarks.bare_hosts import bare_hosts
from benchmarks.chain import arguments, paired, show
from benchmarks.machines import Machines, outcome

#: (name, order, figure, wanted).
CASES: tuple[tuple[str, dict[str, Any], str, str], ...] = (
    ("small blocks", {}, "blocks_per_s", ">= 0.8"),
    ("64 KB blocks", {"size": 65_536}, "blocks_per_s", ">= 0.8"),
    ("64 KB numpy", {"size": 65_536, "kind": "numpy"}, "blocks_per_s", ">= 0.9"),
    ("500 blocks/s", {"rate": 500.0}, "p50_us", "<= 1.3"),
)
HOPS = 2


def fission_hosts(machines: Machines, order: dict[str, Any]) -> dict[str, float]:
    """Run once; return the sink's result."""
    machines.finish(machines.run(hops=HOPS, apart=True, **order))
    return outcome(machines.local / str(HOPS + 1))


def main() -> int:
    """Print the table and write the JSON."""
    parser = arguments(__doc__, runs=2)
    parser.add_argument("--seconds", type=float, default=2.0, help="seconds for which the source of each chain sends")
    options = parser.parse_args()
    rows = []
    with Machines("chain", ["FIRST", "SECOND"]) as machines:
        for name, extra, figure, wanted in CASES:
            order = {"seconds": options.seconds} | extra
            row = paired(
                lambda order=order: fission_hosts(machines, order),
                lambda order=order: bare_hosts(machines, order),
                figure,
                options.runs,
            )
            rows.append({"case": name, **row, "wanted": wanted})
    show(rows, ["case", "figure", "fission", "against", "ratio", "ratios", "wanted"], options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
