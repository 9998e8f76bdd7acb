"""Measures the start of a network, from the command to the first block at the sink, and what each further job adds.

A chain of eight jobs starts within 1.5 s; a job starts in tens of milliseconds, because its process is forked from one that
has everything loaded. A job's process takes at most 40 MB without numpy.

    python -m benchmarks.start [--runs 5] [--json FILE]
"""

from __future__ import annotations

import statistics
import sys

from benchmarks.chain import MB, arguments, fission_chain, show

FEW, MANY = 3, 8


def main() -> int:
    """Print the table and write the JSON."""
    options = arguments(__doc__).parse_args()
    runs = [[fission_chain({"count": 10, "hops": jobs - 1}) for jobs in (FEW, MANY)] for _ in range(options.runs)]
    few = statistics.median(one["start_s"] for one, _ in runs)
    many = statistics.median(other["start_s"] for _, other in runs)
    further = statistics.median((other["start_s"] - one["start_s"]) / (MANY - FEW) for one, other in runs)
    resident = statistics.median(other["resident_bytes"] for _, other in runs)
    rows = [
        {"case": f"{FEW} jobs: simulate to first block", "figure": "s", "fission": round(few, 3), "wanted": ""},
        {"case": f"{MANY} jobs: simulate to first block", "figure": "s", "fission": round(many, 3), "wanted": "<= 1.5"},
        {"case": "each further job", "figure": "ms", "fission": round(further * 1e3, 1), "wanted": "<= 50"},
        {"case": "job process, no numpy", "figure": "MB resident", "fission": round(resident / MB, 1), "wanted": "<= 40"},
    ]
    show(rows, ["case", "figure", "fission", "wanted"], options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
