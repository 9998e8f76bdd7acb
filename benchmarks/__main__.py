"""All benchmarks, one after the other: ``make bench``. Each prints its table and writes JSON into benchmarks/results/."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

#: One program per claim.
PROGRAMS = ("small_blocks", "latency", "big_blocks", "windows", "start", "memory", "failover", "taps", "pipelines")


def main() -> int:
    """Run every program with its defaults."""
    results = Path(__file__).resolve().parent / "results"
    results.mkdir(exist_ok=True)
    for program in PROGRAMS:
        print(f"\n{program}\n")
        sys.argv = [program, "--json", str(results / f"{program}.json")]
        try:
            runpy.run_module(f"benchmarks.{program}", run_name="__main__")
        except SystemExit as end:
            if end.code:
                return int(end.code)
    return 0


if __name__ == "__main__":
    sys.exit(main())
