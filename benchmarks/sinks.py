"""The cost of fsync before each acknowledgement: a sink reaches at least 0.8 of its speed with SYNC = False.

The same network runs alternately with both, for sinks that write rows of a CSV file, and blocks of 64 KB. The result depends on the disk.

    python -m benchmarks.sinks [--runs 5] [--rows 200000] [--blocks 5000] [--json FILE]
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from benchmarks.chain import PROJECT, arguments, paired, show, surroundings


def sink(count: int, **order: Any) -> dict[str, float]:
    """Run the network; return its sink's result."""
    with subprocess.Popen([sys.executable, "manage.py", "sink", "simulate"], **surroundings({"count": count} | order)) as process:
        if process.wait(timeout=600):
            raise RuntimeError(f"the network ended with exit code {process.returncode}")
    result: dict[str, float] = json.loads((PROJECT / "sink/simulation/2/result.json").read_text())
    return result


def main() -> int:
    """Print the table and write the JSON."""
    parser = arguments(__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--blocks", type=int, default=5_000)
    options = parser.parse_args()
    cases = []
    for case, count, order in (
        ("rows of a CSV file", options.rows, {"kind": "csv"}),
        ("blocks of 64 KB", options.blocks, {"kind": "bytes", "size": 64_000}),
    ):
        row = paired(lambda: sink(count, sync=True, **order), lambda: sink(count, sync=False, **order), "blocks_per_s", options.runs)  # noqa: B023
        cases.append({"case": f"{case}, synced, against SYNC = False", **row, "wanted": ">= 0.8"})
    show(cases, ["case", "figure", "fission", "against", "ratio", "wanted"], options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
