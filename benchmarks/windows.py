"""The cost of windows and releases: at most 10 % of the speed of the same links without them.

The same network runs alternately unchanged, and with windows that keep nothing and inputs that release nothing
(benchmarks/networks/chain/windowless.py): then nothing can be replayed, and nothing stops a producer that runs ahead.

    python -m benchmarks.windows [--runs 5] [--blocks 500000] [--json FILE]
"""

from __future__ import annotations

import sys

from benchmarks.chain import arguments, fission_chain, paired, show


def main() -> int:
    """Print the table and write the JSON."""
    parser = arguments(__doc__)
    parser.add_argument("--blocks", type=int, default=500_000)
    options = parser.parse_args()
    order = {"count": options.blocks}
    row = paired(lambda: fission_chain(order), lambda: fission_chain(order | {"windows": False}), "blocks_per_s", options.runs)
    case = {"case": "small blocks, against no windows", **row, "wanted": ">= 0.9"}
    show([case], ["case", "figure", "fission", "against", "ratio", "wanted"], options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
