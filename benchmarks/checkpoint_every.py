"""What CHECKPOINT costs where blocks are small: after each block, and every 100 with little and with much state.

The job between source and sink has the state and returns its input.

    python -m benchmarks.checkpoint_every [--runs 1] [--seconds 2] [--blocks 10000] [--json FILE]
"""

from __future__ import annotations

import sys
from typing import Any

from benchmarks.chain import MB, arguments, fission_chain, paired, show

#: (case, CHECKPOINT, bytes of state, wanted).
CASES = (
    ("CHECKPOINT = 1, 1 KB of state", 1, 1000, ">= 5000 blocks/s"),
    ("CHECKPOINT = 100, 1 KB of state", 100, 1000, ">= 0.85"),
    ("CHECKPOINT = 100, 1 MB of state", 100, MB, ">= 0.5"),
)


def main() -> int:
    """Print the table and write the JSON."""
    parser = arguments(__doc__, runs=1)
    parser.add_argument("--seconds", type=float, default=2.0, help="seconds for which the source sends")
    parser.add_argument("--blocks", type=int, default=10_000, help="blocks with a snapshot after each; more than a window holds")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for case, every, state, wanted in CASES:
        # a snapshot a block: the source may be a window ahead, so seconds of it could take minutes
        plain = {"count": options.blocks} if every == 1 else {"seconds": options.seconds}
        kept = plain | {"checkpoint": every, "state": state}
        row = paired(lambda kept=kept: fission_chain(kept), lambda plain=plain: fission_chain(plain), "blocks_per_s", options.runs)
        rows.append({"case": case, **row, "wanted": wanted})
    print("against: the same chain without CHECKPOINT")
    show(rows, ["case", "figure", "fission", "against", "ratio", "ratios", "wanted"], options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
