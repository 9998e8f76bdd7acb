"""What CHECKPOINT costs where blocks are large: a job with 1 KB of state, which returns its input, has at least 0.9 of the speed without.

A window holds 32 blocks of 1 MB, fewer than there are between two snapshots; of 64 KB it holds 512.

    python -m benchmarks.checkpoint_large [--runs 2] [--seconds 2] [--json FILE]
"""

from __future__ import annotations

import sys
from typing import Any

from benchmarks.chain import MB, arguments, fission_chain, paired, show

STATE = 1000
#: (case, bytes of a block, CHECKPOINT).
CASES = (("1 MB numpy, CHECKPOINT = 100, 1 KB of state", MB, 100), ("64 KB numpy, CHECKPOINT = 1000, 1 KB of state", 65_536, 1000))


def main() -> int:
    """Print the table and write the JSON."""
    parser = arguments(__doc__, runs=2)
    parser.add_argument("--seconds", type=float, default=2.0, help="seconds for which the source sends")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for case, size, every in CASES:
        plain = {"seconds": options.seconds, "size": size, "kind": "numpy"}
        kept = plain | {"checkpoint": every, "state": STATE}
        row = paired(
            lambda kept=kept: fission_chain(kept),
            lambda plain=plain: fission_chain(plain),
            "blocks_per_s",
            options.runs,
        )
        rows.append({"case": case, **row, "wanted": ">= 0.9"})
    print("against: the same chain without CHECKPOINT")
    show(rows, ["case", "figure", "fission", "against", "ratio", "ratios", "wanted"], options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
