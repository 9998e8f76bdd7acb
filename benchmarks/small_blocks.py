"""Small blocks, as fast as they go, over two hops with everything on: at least 0.8 of the bare chain.

The middle job returns its input. Both chains run in turn; see benchmarks/bare_chain.py for what the bare one is.

    python -m benchmarks.small_blocks [--runs 5] [--blocks 500000] [--json FILE]
"""

from __future__ import annotations

import sys

from benchmarks.bare_chain import bare_chain
from benchmarks.chain import SMALL, arguments, fission_chain, paired, show


def main() -> int:
    """Print the table and write the JSON."""
    parser = arguments(__doc__)
    parser.add_argument("--blocks", type=int, default=500_000)
    options = parser.parse_args()
    row = paired(lambda: fission_chain(options.blocks), lambda: bare_chain(options.blocks, SMALL), "blocks_per_s", options.runs)
    show([{"case": "small blocks", **row, "wanted": ">= 0.8"}], ["case", "figure", "fission", "against", "ratio", "wanted"], options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
