"""Other pipes than PicklePipe, over two hops: large `bytes` in a BytesPipe, and pipes with `read` and `write` of a user's own.

Bytes are compared with chains that send them as they are, pickles of a user's own with chains that pickle; ezmsg pickles both.

    python -m benchmarks.pipe_kinds [--runs 1] [--seconds 2] [--json FILE]
"""

from __future__ import annotations

import sys
from typing import Any

from benchmarks.chain import COLUMNS, MB, against_peers, arguments, show
from benchmarks.peers import here

#: (case, order, wanted).
CASES: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("1 MB bytes, BytesPipe", {"size": MB, "kind": "raw", "pipe": "bytes"}, ">= 2 to bare"),
    ("64 KB bytes, own read and write", {"size": 65_536, "kind": "raw", "pipe": "length"}, ">= 0.9 to bare"),
    ("64 KB bytes, own pickles", {"size": 65_536, "pipe": "own_pickle"}, ">= 0.9 to bare"),
)


def main() -> int:
    """Print the table and write the JSON."""
    parser = arguments(__doc__, runs=1)
    parser.add_argument("--seconds", type=float, default=2.0, help="seconds for which the source of each chain sends")
    options = parser.parse_args()
    peers = here(("bare", "careful", "ezmsg"))
    rows: list[dict[str, Any]] = []
    for case, order, wanted in CASES:
        figures = {"blocks_per_s": wanted, "cpu_us": ""}
        rows += against_peers(case, {"seconds": options.seconds} | order, figures, options.runs, peers)
    show(rows, COLUMNS, options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
