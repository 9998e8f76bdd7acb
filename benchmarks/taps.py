"""What a look at a pipe costs the network: a chain with a tap that never reads, and with one that reads, against the same chain alone.

Each is run in turn with the chain alone, `--runs` times; the ratios are those of neighbours, and their medians are what counts. The rate
is what the sink counts while nothing but the tap changes: `top` measures it twice, with `--seconds` between.

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

from fission.client.watching import Watch, measure, rates
from fission.errors import UserError

PROJECT = Path(__file__).resolve().parent / "networks"
NETWORK = PROJECT / "chain"
SINK = "Sink 3"
KINDS = ("never reads", "echo reads", "hz reads")


@contextlib.contextmanager
def running() -> Iterator[None]:
    """The chain, without an end."""
    order = {"count": 10**9, "size": 8, "rate": 0, "hops": 2, "numpy": False}
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


def blocks_per_s(seconds: float) -> float:
    """What the sink gets now."""
    before = measure(NETWORK)
    time.sleep(seconds)
    rows = rates(before, measure(NETWORK))
    return float(next(row["in_per_s"] for row in rows if row["name"] == SINK))


@contextlib.contextmanager
def looked_at(kind: str) -> Iterator[None]:
    """Somebody looks at pipe 1."""
    if kind == "never reads":
        with Watch(NETWORK, [1]):
            yield
        return
    command = [sys.executable, "manage.py", "chain", kind.split()[0], "1"]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as looker:
        try:
            time.sleep(0.7)  # until it looks
            yield
        finally:
            looker.send_signal(signal.SIGINT)


def main() -> int:
    """Print the table and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found: dict[str, list[tuple[float, float]]] = {kind: [] for kind in KINDS}
    for _ in range(options.runs):
        with running():
            for kind in KINDS:
                alone = blocks_per_s(options.seconds)
                with looked_at(kind):
                    found[kind].append((blocks_per_s(options.seconds), alone))
    rows = []
    print(f"{'tap':<12} {'blocks/s':>10} {'alone':>10} {'ratio':>6}  wanted")
    for kind, pairs in found.items():
        ratio = statistics.median(with_tap / alone for with_tap, alone in pairs)
        with_tap, alone = (statistics.median(one) for one in zip(*pairs, strict=True))
        row = {"tap": kind, "blocks_per_s": round(with_tap), "alone": round(alone), "ratio": round(ratio, 3)}
        rows.append(row | {"wanted": ">= 0.9" if kind == "never reads" else ""})
        print(f"{kind:<12} {row['blocks_per_s']:>10} {row['alone']:>10} {row['ratio']:>6}  {rows[-1]['wanted']}")
    if options.json:
        options.json.write_text(json.dumps({"runs": options.runs, "rows": rows}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
