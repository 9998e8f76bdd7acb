"""Two hops through a job that returns its input, windows on, against the bare chain in the same run.

Both are run in turn, `--runs` times; the ratios are those of neighbours, and their medians are what counts.

    python -m benchmarks.data_plane [--runs 5] [--small 200000] [--big 1000] [--paced 2000] [--rate 500] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.bare_chain import bare_chain

PROJECT = Path(__file__).resolve().parent / "networks"
MB = 1_000_000


def fission_chain(count: int, size: int, rate: float = 0.0, hops: int = 2, numpy: bool = False) -> dict[str, float]:
    """Run the chain network by the command line, as a user does; return what its sink wrote, and the start in seconds."""
    order = {"count": count, "size": size, "rate": rate, "hops": hops, "numpy": numpy}
    environment = os.environ | {"FISSION_BENCH": json.dumps(order)}
    started = time.time()
    subprocess.run(
        [sys.executable, "manage.py", "chain", "simulate"], cwd=PROJECT, env=environment, check=True, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, timeout=300,
    )  # fmt: skip
    result: dict[str, float] = json.loads((PROJECT / "chain" / "simulation" / str(hops + 1) / "result.json").read_text())
    return result | {"start_s": result["first_block_at"] - started}


def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return one row a case: medians of both sides and of their ratios."""
    cases = [
        ("small burst", options.small, 8, 0.0, "blocks_per_s", ">= 0.6"),
        ("1 MB burst", options.big, MB, 0.0, "blocks_per_s", ""),
        ("small, paced", options.paced, 8, options.rate, "p50_us", "<= 1.6"),
    ]
    rows = []
    for name, count, size, rate, figure, wanted in cases:
        payload = b"12345678" if size == 8 else os.urandom(size)
        pairs = [(fission_chain(count, size, rate), bare_chain(count, payload, rate)) for _ in range(options.runs)]
        ours = statistics.median(mine[figure] for mine, _ in pairs)
        bare = statistics.median(theirs[figure] for _, theirs in pairs)
        ratio = statistics.median(mine[figure] / theirs[figure] for mine, theirs in pairs)
        rows.append(
            {"case": name, "figure": figure, "fission": round(ours), "bare": round(bare), "ratio": round(ratio, 2), "wanted": wanted}
        )
    starts = [fission_chain(10, 8, 0.0, hops=7) for _ in range(options.runs)]
    start = statistics.median(one["start_s"] for one in starts)
    rows.append({"case": "8 jobs: simulate to first block", "figure": "s", "fission": round(start, 2), "wanted": "<= 1.5"})
    resident = statistics.median(one["resident_bytes"] for one in starts)
    rows.append({"case": "job process, no numpy", "figure": "MB resident", "fission": round(resident / MB, 1), "wanted": "<= 40"})
    return rows


def main() -> int:
    """Print the table and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--small", type=int, default=200_000)
    parser.add_argument("--big", type=int, default=1000)
    parser.add_argument("--paced", type=int, default=2000)
    parser.add_argument("--rate", type=float, default=500)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = measure(options)
    print(f"{'case':<32} {'figure':<13} {'fission':>9} {'bare':>9} {'ratio':>6}  wanted")
    for row in rows:
        print(
            f"{row['case']:<32} {row['figure']:<13} {row['fission']:>9} {row.get('bare', ''):>9} {row.get('ratio', ''):>6}  {row['wanted']}"
        )
    if options.json:
        options.json.write_text(json.dumps({"runs": options.runs, "rows": rows}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
