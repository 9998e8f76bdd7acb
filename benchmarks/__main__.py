"""Runs all benchmarks in sequence (``make bench``). Each prints a table and writes JSON into benchmarks/results/."""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path

#: One program per claim.
PROGRAMS = ("small_blocks", "latency", "big_blocks", "windows", "sinks", "start", "memory", "failover", "taps", "pipelines", "supervision")
#: Programs over several hosts, which only root can create.
OVER_HOSTS = ("hosts_start", "hosts_failover", "hosts_throughput")


def main() -> int:
    """Run every program with its defaults."""
    results = Path(__file__).resolve().parent / "results"
    results.mkdir(exist_ok=True)
    if os.geteuid() != 0:
        print(f"left out, because only root can make hosts: {', '.join(OVER_HOSTS)}")
    for program in PROGRAMS + (OVER_HOSTS if os.geteuid() == 0 else ()):
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
