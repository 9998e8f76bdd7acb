"""Checks that memory stays flat over 10 million blocks.

While the chain runs, every job's process is sampled. The medians of the resident memory in the second and in the last quarter of the time
are compared: both include what is allocated once at the start (windows, buffers, caches).

    python -m benchmarks.memory [--blocks 10000000] [--every 0.2] [--json FILE]
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from typing import Any

import psutil

from benchmarks.chain import MB, arguments, command, outcome, show, surroundings

#: Bytes by which a process may grow in half of the run. Arbitrary: pages of the allocator; a leak of one byte per block is ten times that.
FLAT_BYTES = 1 * MB
#: Number of samples below which quarters are meaningless.
LEAST_SAMPLES = 20


def samples(blocks: int, every: float) -> dict[str, list[int]]:
    """Run the chain; return the resident bytes of each of its processes over time, from the first block on."""
    found: dict[int, list[int]] = {}
    with subprocess.Popen(command(), **surroundings({"count": blocks, "keep": False})) as process:
        client = psutil.Process(process.pid)
        while process.poll() is None:
            for one in [client, *client.children(recursive=True)]:
                try:
                    found.setdefault(one.pid, []).append(one.memory_info().rss)
                except psutil.NoSuchProcess:
                    continue
            time.sleep(every)
    if process.returncode:
        raise RuntimeError(f"the chain network ended with exit code {process.returncode}")
    if outcome({})["count"] != blocks:
        raise RuntimeError(f"{outcome({})['count']} blocks came instead of {blocks}")
    lasting = {pid: taken for pid, taken in found.items() if len(taken) >= LEAST_SAMPLES}
    if len(lasting) < 4:
        raise RuntimeError("the run was too short to say anything: give it more --blocks")
    return {f"process {number}": taken for number, taken in enumerate(lasting.values(), 1)}


def main() -> int:
    """Print the table and write the JSON; 1 if memory grows."""
    parser = arguments(__doc__, runs=1)
    parser.add_argument("--blocks", type=int, default=10_000_000)
    parser.add_argument("--every", type=float, default=0.2, help="seconds between two looks")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for name, taken in samples(options.blocks, options.every).items():
        quarter = len(taken) // 4
        early, late = statistics.median(taken[quarter : 2 * quarter]), statistics.median(taken[-quarter:])
        rows.append(
            {
                "case": f"{name} of client, fork server and jobs",
                "samples": len(taken),
                "early MB": round(early / MB, 2),
                "late MB": round(late / MB, 2),
                "growth MB": round((late - early) / MB, 2),
                "wanted": f"<= {FLAT_BYTES / MB:g}",
            }
        )
    show(rows, ["case", "samples", "early MB", "late MB", "growth MB", "wanted"], options)
    return 0 if all(row["growth MB"] <= FLAT_BYTES / MB for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
