"""Long chains of jobs that return small blocks: the rate, the processor time of a job, and the delay at 500 blocks/s.

At 16 hops the rate is at least 0.85 of the bare chain's, and the 99th percentile of the delay at most 1.5 times its; the processor time
of a job does not grow with the length of the chain.

    python -m benchmarks.long_chains [--runs 1] [--seconds 1] [--hops 2 8 16] [--json FILE]
"""

from __future__ import annotations

import sys
from typing import Any

from benchmarks.chain import COLUMNS, against_peers, arguments, show
from benchmarks.peers import here

#: Blocks a second where the delay is measured.
RATE = 500.0


def main() -> int:
    """Print the table and write the JSON."""
    parser = arguments(__doc__, runs=1)
    parser.add_argument("--seconds", type=float, default=1.0, help="seconds for which the source of each chain sends")
    parser.add_argument("--hops", type=int, nargs="+", default=[2, 8, 16])
    options = parser.parse_args()
    peers = here(("bare", "careful", "ezmsg"))
    rows: list[dict[str, Any]] = []
    for hops in options.hops:
        order = {"seconds": options.seconds, "hops": hops}
        fast = {"blocks_per_s": ">= 0.85 to bare", "hop_cpu_us": f"as with {options.hops[0]} hops"}
        rows += against_peers(f"{hops} hops", order, fast, options.runs, peers)
        paced = {"p50_us": "", "p99_us": "<= 1.5 to bare"}
        rows += against_peers(f"{hops} hops, {RATE:g} blocks/s", order | {"rate": RATE}, paced, options.runs, peers)
    show(rows, COLUMNS, options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
