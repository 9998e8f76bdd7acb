"""Small blocks, as fast as they go, over two hops with everything on: at least 1.6 of the bare chain.

The middle job returns its input. All chains run in turn; see benchmarks/peers.py for what the others are. Raw blocks of 64 bytes, through
a BytesPipe, are compared with chains that do not pickle at all.

    python -m benchmarks.small_blocks [--runs 3] [--seconds 1] [--json FILE]
"""

from __future__ import annotations

import sys

from benchmarks.chain import COLUMNS, against_peers, arguments, show
from benchmarks.peers import here


def main() -> int:
    """Print the table and write the JSON."""
    parser = arguments(__doc__, runs=3)
    parser.add_argument("--seconds", type=float, default=1.0, help="seconds for which the source of each chain sends")
    options = parser.parse_args()
    peers = here(("bare", "careful", "ezmsg"))
    small = {"seconds": options.seconds}
    raw = small | {"size": 64, "kind": "raw", "pipe": "bytes"}
    rows = against_peers("small blocks", small, {"blocks_per_s": ">= 1.6 to bare"}, options.runs, peers)
    rows += against_peers("64 raw bytes", raw, {"blocks_per_s": ">= 1.0 to bare"}, options.runs, peers)
    show(rows, COLUMNS, options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
