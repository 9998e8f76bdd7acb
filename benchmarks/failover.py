"""Measures how long the sink waits for a new block after a job or node is lost, at 200 blocks/s.

Every fault makes one gap between two arrivals at the sink. The faults: a job is killed, a virtual node is killed, a virtual node is
frozen forever. The last one cannot be detected before five pulses are missed. Every block must arrive exactly once. The parts of a gap
are taken from the run's event log, to a few milliseconds: until the loss is detected, until the job is placed, until its new incarnation
has sent its first message, until its first new block is at the sink. For several hosts see hosts_failover.

    python -m benchmarks.failover [--faults 20] [--runs 5] [--rate 200] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.chain import arguments, show
from benchmarks.fault_times import PARTS, TOTAL, timed_events, times

PROJECT = Path(__file__).resolve().parent / "networks"
#: Seconds between two faults of one run; the network has long recovered by then.
APART_S = 1.0
#: Seconds until the first fault; everything runs by then.
FIRST_S = 1.5
PULSE_INTERVAL_S = 0.1
#: Seconds after a launch in which the gap may begin; arbitrary.
LAUNCH_S = 0.05
#: Longest allowed time until a job is back, in seconds.
JOB_S = 0.150
NODE_S = 5 * PULSE_INTERVAL_S + JOB_S


def gaps(options: list[str], faults: int, rate: float, lost: str) -> list[dict[str, float]]:
    """Run the network with these faults; return the seconds of PARTS for each fault; "all" is the gap between two arrivals."""
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
        raise RuntimeError(f"{len(blocks)} blocks arrived; expected 1 to {count}, each once")
    failovers = [one for one in json.loads(done.stdout)["failovers"] if re.search(lost, one["what"]) and one["moves"]]
    if len(failovers) != faults:
        raise RuntimeError(f"{len(failovers)} failovers instead of {faults}: {failovers}")
    events = timed_events(PROJECT / "failover/simulation/events.jsonl")
    # the first launch is the start; the lost job is downstream of the source, so each fault makes one gap
    launches = [event["at"] for event in events if event["what"] == "Launch" and event["job"] == TOTAL][1:]
    found = [gap_at(launch, arrivals) for launch in launches]
    if len(found) != faults:
        raise RuntimeError(f"{len(found)} launches after a fault instead of {faults}")
    following = [before for before, _ in found[1:]] + [float("inf")]
    rows = []
    for launch, (before, after), end in zip(launches, found, following, strict=True):
        known = max(event["at"] for event in events if event["what"] in ("NodeLost", "JobEnded") and event["at"] <= launch)
        # blocks in flight may still have arrived when the loss was known
        rows.append({**times(min(before, known), end, events, arrivals), "all": after - before})
    return rows


def gap_at(launch: float, arrivals: Sequence[float]) -> tuple[float, float]:
    """Return the longest gap between two arrivals that the launch of the lost job is in, or shortly before.

    On a busy machine there are as long gaps elsewhere, and blocks that are in flight still arrive after the launch.
    """
    return max((gap for gap in pairwise(arrivals) if gap[1] > launch and gap[0] < launch + LAUNCH_S), key=lambda gap: gap[1] - gap[0])


def job_killed(options: argparse.Namespace) -> list[dict[str, float]]:
    """Return the gaps of one run in which the stateful job is killed repeatedly."""
    kills = [f"--kill=job:2@{FIRST_S + number * APART_S}" for number in range(options.faults)]
    return gaps(["--nodes", "2", *kills], options.faults, options.rate, "Total 2 died")


def node_killed(options: argparse.Namespace) -> list[dict[str, float]]:
    """Return the gaps of several runs; in each, the stateful job's node dies."""
    found = []
    for _ in range(options.runs):
        found += gaps(["--nodes", "2", f"--kill=2@{FIRST_S}"], 1, options.rate, "node 2 is lost")
    return found


def node_cut(options: argparse.Namespace) -> list[dict[str, float]]:
    """Return the gaps after a node is frozen forever: only its silence shows the loss."""
    found = []
    for _ in range(options.runs):
        found += gaps(["--nodes", "2", f"--cut=2@{FIRST_S}+1000"], 1, options.rate, "node 2 is lost")
    return found


def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return one row for each case."""
    rows = []
    for name, case, wanted in (
        ("job killed", job_killed, JOB_S),
        ("virtual node killed", node_killed, NODE_S),
        ("virtual node frozen forever", node_cut, NODE_S),
    ):
        found = case(options)
        medians = {part: round(statistics.median(one[part] for one in found) * 1e3) for part in PARTS}
        worst = round(max(one["all"] for one in found) * 1e3)
        rows.append({"case": f"{name}, ms", "faults": len(found), **medians, "worst": worst, "wanted": f"<= {wanted * 1e3:.0f}"})
    return rows


def main() -> int:
    """Print the table and write the JSON."""
    parser = arguments(__doc__, runs=5)
    parser.add_argument("--faults", type=int, default=20, help="kills of the job")
    parser.add_argument("--rate", type=float, default=200, help="blocks a second")
    options = parser.parse_args()
    print("p50 of the faults; 'all' is from the last block before the loss to the first block after it, at the sink")
    show(measure(options), ["case", "faults", *PARTS, "worst", "wanted"], options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
