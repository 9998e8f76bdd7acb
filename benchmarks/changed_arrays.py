"""Arrays of 1 MB that a job changes (`x * 2.0`) and the sink adds up: at least as fast as ezmsg, and with `self.new_array` 1.5 times.

`self.new_array(shape, dtype)` lets a job compute straight into shared memory.

    python -m benchmarks.changed_arrays [--runs 2] [--seconds 2] [--json FILE]
"""

from __future__ import annotations

import sys

from benchmarks.chain import COLUMNS, MB, against_peers, arguments, show
from benchmarks.peers import here


def main() -> int:
    """Print the table and write the JSON."""
    parser = arguments(__doc__, runs=2)
    parser.add_argument("--seconds", type=float, default=2.0, help="seconds for which the source of each chain sends")
    options = parser.parse_args()
    peers = here(("bare", "careful", "ezmsg"))
    order = {"seconds": options.seconds, "size": MB, "kind": "float", "work": "double", "read": "sum"}
    rows = against_peers("x * 2.0", order, {"blocks_per_s": ">= 1.0 to ezmsg", "cpu_us": ""}, options.runs, peers)
    case, wanted = "x * 2.0 into new_array", ">= 1.5 to ezmsg, >= 3 to careful"
    rows += against_peers(case, order | {"in_place": True}, {"blocks_per_s": wanted, "cpu_us": ""}, options.runs, peers)
    show(rows, COLUMNS, options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
