"""Runs all benchmarks in sequence (``make bench``). Each prints a table and writes JSON into benchmarks/results/.

``--quick`` (``make bench-quick``) runs each once, with few blocks, and leaves out those that take minutes: all within ten minutes.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

#: One program per claim, with its options of a quick run; None: it is left out of it.
PROGRAMS: dict[str, str | None] = {
    "small_blocks": "--runs 1 --seconds 1",
    "latency": "--runs 1",
    "big_blocks": "--runs 1 --seconds 1",
    "checkpoint_large": "--runs 1 --seconds 1",
    "checkpoint_every": "--runs 1 --seconds 1 --blocks 6000",
    "executables": "--runs 1 --seconds 0.5",
    "long_chains": "--runs 1 --seconds 0.5 --hops 2 16",
    "fan_out": "--runs 1 --seconds 1",
    "changed_arrays": "--runs 1 --seconds 1",
    "pipe_kinds": "--runs 1 --seconds 1",
    "placement": "--runs 1",
    "scaling": "--quick --runs 1",
    "many_imports": "--runs 1 --jobs 50 --seconds 5",
    "idle_memory": "--runs 1",
    "windows": "--runs 1",
    "sinks": "--runs 1 --rows 50000 --blocks 1000",
    "start": "--runs 1",
    "memory": None,
    "failover": "--faults 3 --runs 1",
    "taps": "--runs 1 --seconds 1",
    "latency_sampling": "--pairs 8",
    "block_times": "--runs 1 --blocks 100000",
    "page": "--runs 1 --seconds 1",
    "page_viewers": "--jobs 20 --nodes 2 --seconds 2",
    "sound_hour": "--runs 1 --minutes 1",
    "microphone_delay": "--runs 1 --blocks 300",
    "pipelines": None,
    "supervision": "--runs 1 --seconds 5",
}
#: Those over several hosts, which only root can make.
OVER_HOSTS: dict[str, str | None] = {
    "hosts_start": "--runs 1",
    "hosts_failover": None,
    "hosts_throughput": "--runs 1 --seconds 1",
    "hosts_provision": None,
}


def main() -> int:
    """Run every program, with its defaults or quickly."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one run of each, with few blocks")
    quick = parser.parse_args().quick
    results = Path(__file__).resolve().parent / "results"
    results.mkdir(exist_ok=True)
    programs = PROGRAMS | (OVER_HOSTS if os.geteuid() == 0 else {})
    if os.geteuid() != 0:
        print(f"left out, because only root can make hosts: {', '.join(OVER_HOSTS)}")
    failed: list[str] = []
    for program, briefly in programs.items():
        if quick and briefly is None:
            print(f"\n{program}: takes minutes, left out")
            continue
        print(f"\n{program}\n", flush=True)
        options = (briefly or "").split() if quick else []
        command = [sys.executable, "-m", f"benchmarks.{program}", *options, "--json", str(results / f"{program}.json")]
        if subprocess.run(command, cwd=results.parent.parent, check=False).returncode:
            failed.append(program)
    if failed:
        print(f"\nfailed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
