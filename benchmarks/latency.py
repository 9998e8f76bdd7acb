"""The delay of small blocks at 500 a second over two hops: its median is at most 1.2 of the bare chain's, the processor time 1.3.

python -m benchmarks.latency [--runs 3] [--blocks 1000] [--rate 500] [--json FILE]
"""

from __future__ import annotations

import sys

from benchmarks.chain import COLUMNS, against_peers, arguments, show
from benchmarks.peers import here


def main() -> int:
    """Print the table and write the JSON."""
    parser = arguments(__doc__, runs=3)
    parser.add_argument("--blocks", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=500, help="blocks a second")
    options = parser.parse_args()
    figures = {"p50_us": "<= 1.2 to bare", "p99_us": "", "cpu_us": "<= 1.3 to bare"}
    order = {"count": options.blocks, "rate": options.rate}
    peers = here(("bare", "careful", "ezmsg"))
    show(against_peers(f"{options.rate:g} blocks/s", order, figures, options.runs, peers), COLUMNS, options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
