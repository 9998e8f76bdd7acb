"""Small blocks from one source to 4 and to 8 sinks, each of which gets every block: at least 0.9 of the bare chain.

The rate is that of the slowest sink. The processor time is that of all jobs together.

    python -m benchmarks.fan_out [--runs 1] [--seconds 2] [--json FILE]
"""

from __future__ import annotations

import sys
from typing import Any

from benchmarks.chain import COLUMNS, against_peers, arguments, show
from benchmarks.peers import here

SINKS = (4, 8)


def main() -> int:
    """Print the table and write the JSON."""
    parser = arguments(__doc__, runs=1)
    parser.add_argument("--seconds", type=float, default=2.0, help="seconds for which the source of each chain sends")
    options = parser.parse_args()
    peers = here(("bare", "careful", "ezmsg"))
    rows: list[dict[str, Any]] = []
    for sinks in SINKS:
        order = {"seconds": options.seconds, "hops": 1, "sinks": sinks}
        figures = {"blocks_per_s": ">= 0.9 to bare", "cpu_us": "<= 1.1 to bare"}
        rows += against_peers(f"{sinks} sinks", order, figures, options.runs, peers)
    show(rows, COLUMNS, options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
