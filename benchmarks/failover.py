"""How long the sink goes without a new block when something is lost, at 200 blocks/s.

Every figure is the gap between two arrivals at the sink around one fault: a job that is killed, a virtual node that is killed, one that
stands still for ever. The last one cannot be known before five pulses are missed. All blocks must have come, each once.

    python -m benchmarks.failover [--faults 20] [--nodes-lost 5] [--rate 200] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent / "networks"
#: Seconds between two faults of one run; the network has long recovered by then.
APART_S = 1.0
#: Seconds after which the first one comes: everything runs by then.
FIRST_S = 1.5
PULSE_INTERVAL_S = 0.1
#: What a job may take to be back (issue "Nothing lost, nothing twice").
JOB_S = 0.150
NODE_S = 5 * PULSE_INTERVAL_S + JOB_S


def gaps(options: list[str], faults: int, rate: float, lost: str) -> list[float]:
    """Run the network with these faults; return the longest gap between two arrivals after each of them, in seconds."""
    count = int((FIRST_S + (faults + 1) * APART_S) * rate)
    environment = os.environ | {"FISSION_BENCH": json.dumps({"count": count, "rate": rate})}
    done = subprocess.run(
        [sys.executable, "manage.py", "failover", "simulate", "--json", *options], cwd=PROJECT, env=environment, check=False,
        capture_output=True, stdin=subprocess.DEVNULL, timeout=300, text=True,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"exit code {done.returncode}\n{done.stderr[-3000:]}")
    lines = (PROJECT / "failover/simulation/3/arrivals.txt").read_text().splitlines()
    arrivals = [float(line.split()[0]) for line in lines]
    blocks = [tuple(map(int, line.split()[1:])) for line in lines]
    if blocks != [(number, number * (number + 1) // 2) for number in range(1, count + 1)]:
        raise RuntimeError(f"{len(blocks)} blocks came instead of 1 to {count}, each once")
    failovers = [one for one in json.loads(done.stdout)["failovers"] if re.search(lost, one["what"]) and one["moves"]]
    if len(failovers) != faults:
        raise RuntimeError(f"{len(failovers)} failovers instead of {faults}: {failovers}")
    found = sorted((after - before for before, after in pairwise(arrivals)), reverse=True)
    # the source's own restart is no part of it: the job that is lost stands behind it, so each fault makes one gap
    return found[:faults]


def job_killed(options: argparse.Namespace) -> list[float]:
    """One run, in which the stateful job is killed again and again."""
    kills = [f"--kill=job:2@{FIRST_S + number * APART_S}" for number in range(options.faults)]
    return gaps(["--nodes", "2", *kills], options.faults, options.rate, "Total 2 died")


def node_killed(options: argparse.Namespace) -> list[float]:
    """One run for each node: it dies with the stateful job on it."""
    found = []
    for _ in range(options.nodes_lost):
        found += gaps(["--nodes", "2", f"--kill=2@{FIRST_S}"], 1, options.rate, "node 2 is lost")
    return found


def node_cut(options: argparse.Namespace) -> list[float]:
    """The same with a node that stands still for ever: only its silence tells."""
    found = []
    for _ in range(options.nodes_lost):
        found += gaps(["--nodes", "2", f"--cut=2@{FIRST_S}+1000"], 1, options.rate, "node 2 is lost")
    return found


def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return one row a case."""
    rows = []
    for name, case, wanted in (
        ("job killed", job_killed, JOB_S),
        ("virtual node killed", node_killed, NODE_S),
        ("virtual node stands still for ever", node_cut, NODE_S),
    ):
        found = sorted(case(options))
        rows.append(
            {
                "case": name,
                "faults": len(found),
                "p50_ms": round(statistics.median(found) * 1e3),
                "worst_ms": round(found[-1] * 1e3),
                "wanted_p50_ms": round(wanted * 1e3),
            }
        )
    return rows


def main() -> int:
    """Print the table and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faults", type=int, default=20, help="kills of the job")
    parser.add_argument("--nodes-lost", type=int, default=5, help="runs in which a node is lost, for each way to lose it")
    parser.add_argument("--rate", type=float, default=200, help="blocks a second")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = measure(options)
    print("last block before the loss to first block after it, at the sink")
    print(f"{'case':<36} {'faults':>6} {'p50 ms':>7} {'worst ms':>9}  wanted p50")
    for row in rows:
        print(f"{row['case']:<36} {row['faults']:>6} {row['p50_ms']:>7} {row['worst_ms']:>9}  <= {row['wanted_p50_ms']}")
    if options.json:
        options.json.write_text(json.dumps({"rate": options.rate, "pulse_interval_s": PULSE_INTERVAL_S, "rows": rows}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
