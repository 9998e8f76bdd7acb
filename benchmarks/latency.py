"""The delay of small blocks at 500 a second over two hops: its median is at most 1.4 of the bare chain's.

python -m benchmarks.latency [--runs 15] [--blocks 1000] [--rate 500] [--json FILE]
"""

from __future__ import annotations

import sys

from benchmarks.bare_chain import bare_chain
from benchmarks.chain import SMALL, arguments, fission_chain, paired, show


def main() -> int:
    """Print the table and write the JSON."""
    parser = arguments(__doc__, runs=15)
    parser.add_argument("--blocks", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=500, help="blocks a second")
    options = parser.parse_args()
    row = paired(
        lambda: fission_chain(options.blocks, rate=options.rate),
        lambda: bare_chain(options.blocks, SMALL, options.rate),
        "p50_us",
        options.runs,
    )
    case = {"case": f"{options.rate:g} blocks/s", **row, "wanted": "<= 1.4"}
    show([case], ["case", "figure", "fission", "against", "ratio", "wanted"], options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
