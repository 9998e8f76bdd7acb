"""The cost of a tap: a chain with a tap that never reads, and with one that reads, against the same chain alone.

Each alternates with the chain alone, `--runs` times; the medians of the ratios of neighbours count. The rate is what the sink counts while
only the tap changes: `top` measures it twice, with `--seconds` between. On a shared machine the second ratio is more reliable: blocks that
the job with the tap sends per second of its processor time.

    python -m benchmarks.taps [--runs 5] [--seconds 1.5] [--json FILE]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.networks.chain.meter import ENDLESS
from fission.client.attach.follow import WatchedPipes, measure, rates
from fission.errors import UserError

PROJECT = Path(__file__).resolve().parent / "networks"
NETWORK = PROJECT / "chain"
SOURCE, SINK = "Source 1", "Sink 3"
KINDS = ("never reads", "echo reads", "hz reads")


@contextlib.contextmanager
def running() -> Iterator[None]:
    """Run the endless chain."""
    order = {"count": ENDLESS}
    environment = os.environ | {"FISSION_BENCH": json.dumps(order)}
    command = [sys.executable, "manage.py", "chain", "simulate"]
    with subprocess.Popen(command, cwd=PROJECT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as client:
        try:
            deadline = time.monotonic() + 30
            while not _flows():
                if time.monotonic() > deadline:
                    raise RuntimeError("the chain does not start")
                time.sleep(0.05)
            yield
        finally:
            client.send_signal(signal.SIGINT)


def _flows() -> bool:
    try:
        return all(row["measured"] and row["measured"]["blocks"] > 1000 for row in measure(NETWORK)["jobs"])
    except UserError:
        return False


def rate(seconds: float) -> tuple[float, float]:
    """Return the present rates: blocks per second at the sink, blocks that the source sends per second of its processor time."""
    while True:
        before = measure(NETWORK)
        time.sleep(seconds)
        after = measure(NETWORK)
        rows = {row["name"]: row for row in rates(before, after)}
        if rows[SINK]["in_per_s"] is not None and rows[SOURCE]["cpu"]:  # otherwise the machine was too busy to answer
            return float(rows[SINK]["in_per_s"]), float(rows[SOURCE]["out_per_s"] / (rows[SOURCE]["cpu"] / 100))


@contextlib.contextmanager
def looked_at(kind: str) -> Iterator[None]:
    """Tap pipe 1 for the duration of the block."""
    if kind == "never reads":
        with WatchedPipes(NETWORK, [1]):
            yield
        return
    command = [sys.executable, "manage.py", "chain", kind.split()[0], "1"]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as viewer:
        try:
            time.sleep(0.7)  # until it is connected
            yield
        finally:
            viewer.send_signal(signal.SIGINT)


def main() -> int:
    """Print the table and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found: dict[str, list[tuple[tuple[float, float], tuple[float, float]]]] = {kind: [] for kind in KINDS}
    for _ in range(options.runs):
        with running():
            for kind in KINDS:
                alone = rate(options.seconds)
                with looked_at(kind):
                    found[kind].append((rate(options.seconds), alone))
    rows = []
    print(f"{'tap':<12} {'blocks/s':>10} {'alone':>10} {'ratio':>6} {'ratio by CPU':>13}  wanted")
    for kind, pairs in found.items():
        by_time, by_cpu = (statistics.median(tapped[index] / alone[index] for tapped, alone in pairs) for index in (0, 1))
        tapped, alone = (round(statistics.median(one[0] for one in side)) for side in zip(*pairs, strict=True))
        wanted = ">= 0.9" if kind == "never reads" else ""
        rows.append({"tap": kind, "blocks_per_s": tapped, "alone": alone, "ratio": by_time, "ratio_by_cpu": by_cpu, "wanted": wanted})
        print(f"{kind:<12} {tapped:>10} {alone:>10} {by_time:>6.2f} {by_cpu:>13.2f}  {wanted}")
    if options.json:
        options.json.write_text(json.dumps({"runs": options.runs, "rows": rows}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
