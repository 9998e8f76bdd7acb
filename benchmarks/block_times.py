"""The cost of `self.block_time`: a chain whose sink asks for the times of its blocks, against the same chain whose sink does not.

Both run alternately. "cpu_us" is the processor time of all jobs for one block: it depends less on what else the machine does than the time
that a run takes. Small blocks come as fast as they go, so that many share a message; or 1000 of them in a second, each in a message of its
own. The sink does not read the times: that costs those who do.

    python -m benchmarks.block_times [--runs 7] [--blocks 300000] [--json FILE]
"""

from __future__ import annotations

import sys

from benchmarks.chain import arguments, fission_chain, paired, show


def main() -> int:
    """Print the table and write the JSON."""
    parser = arguments(__doc__, runs=7)
    parser.add_argument("--blocks", type=int, default=300_000)
    options = parser.parse_args()
    cases = {
        "as fast as they go": ({"count": options.blocks}, "<= 2"),
        "1000 blocks/s": ({"count": max(1000, options.blocks // 100), "rate": 1000.0}, "<= 1.3"),
    }
    rows = []
    for case, (order, wanted) in cases.items():
        timed = order | {"times": True}
        row = paired(lambda: fission_chain(timed), lambda: fission_chain(order), "cpu_us", options.runs, 2)  # noqa: B023
        rows.append({"case": case, **row, "wanted": wanted})
    show(rows, ["case", "figure", "fission", "against", "ratio", "ratios", "wanted"], options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
