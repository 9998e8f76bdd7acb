"""Blocks between two hosts and the client, as fast as they go, with everything on: at least 0.8 of a bare chain with CURVE.

The source is on the first host, a job that returns its input on the second, the sink with the client; every hop crosses a veth. Both
chains run in turn; see benchmarks/bare_hosts.py for what the bare one is. Needs root: see tests/cluster/hosts.py.

    python -m benchmarks.hosts_throughput [--runs 5] [--json FILE]
"""

from __future__ import annotations

import sys

from benchmarks.bare_hosts import bare_hosts
from benchmarks.chain import SMALL, arguments, paired, show
from benchmarks.machines import Machines, outcome

#: (name, bytes of a payload, blocks).
CASES = (("small blocks", len(SMALL), 500_000), ("64 KB blocks", 65_536, 30_000))
HOPS = 2


def fission_hosts(machines: Machines, count: int, size: int) -> dict[str, float]:
    """One run; what its sink wrote."""
    machines.finish(machines.run(count=count, size=size, hops=HOPS, apart=True))
    return outcome(machines.local / str(HOPS + 1))


def main() -> int:
    """Print the table and write the JSON."""
    options = arguments(__doc__).parse_args()
    rows = []
    with Machines("chain", ["FIRST", "SECOND"]) as machines:
        for name, size, count in CASES:
            row = paired(
                lambda size=size, count=count: fission_hosts(machines, count, size),
                lambda size=size, count=count: bare_hosts(machines, count, size),
                "blocks_per_s",
                options.runs,
            )
            rows.append({"case": name, **row, "wanted": ">= 0.8"})
    show(rows, ["case", "figure", "fission", "against", "ratio", "ratios", "wanted"], options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
