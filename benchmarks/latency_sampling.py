"""The cost of measuring latencies: a chain of small blocks whose source stamps some of them, against the same chain a second later or
earlier, when it stamps none.

Slots of `--slot` seconds are with, without, without, with stamps, and so on, in the same processes. Each pair of neighbours that differ
gives two ratios: blocks per second, and blocks per second of processor time of all jobs. The medians count; "from" and "to" are their
limits at a level of 95 %. Neighbours that do not differ are the control: their ratio is 1, as far as the machine allows.

Ten stamps per second, as a source makes them, cost less than a busy machine shows. So it makes `--stamps` of them here, at most one for
each message, and the last line is the share of that cost which ten have. That a job compares for each message whether a stamp is due is in
both.

    python -m benchmarks.latency_sampling [--pairs 60] [--slot 0.6] [--stamps 1000] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.networks.chain.unstamped import COUNT_FILE, stamps_at
from benchmarks.taps import NETWORK, SINK, running
from fission.client.attach.follow import measure
from fission.protocol.stamps import EVERY_S

#: The most that ten stamps per second may cost, in percent of processor time.
WANTED = 1.0
#: Seconds at both ends of a slot that are not measured: stamps of the slot before are still under way. Arbitrary.
MARGIN_S = 0.1


def counted() -> tuple[float, float, float]:
    """Return the time, the blocks that the sink has done so far, and the processor seconds of all jobs."""
    rows = [row for row in measure(NETWORK)["jobs"] if row["measured"]]
    blocks = next(row["measured"]["blocks"] for row in rows if row["name"] == SINK)
    return time.monotonic(), blocks, sum(row["measured"]["cpu_s"] for row in rows)


def slot(slot_s: float) -> tuple[bool, list[float]]:
    """Measure in the next slot; return whether blocks were stamped, and [blocks by time, blocks by processor time]."""
    now = time.time()
    time.sleep(slot_s - now % slot_s + MARGIN_S)
    stamped = stamps_at(time.time(), slot_s)
    began, before, cpu_before = counted()
    time.sleep(slot_s - 2 * MARGIN_S)
    ended, after, cpu_after = counted()
    return stamped, [(after - before) / (ended - began), (after - before) / (cpu_after - cpu_before)]


def limits(ratios: list[float]) -> tuple[float, float]:
    """Return the limits of the median at a level of 95 %: order statistics, by the normal approximation of the binomial."""
    ordered, number = sorted(ratios), len(ratios)
    away = 1.96 * math.sqrt(number) / 2
    return ordered[max(0, math.floor(number / 2 - away))], ordered[min(number - 1, math.ceil(number / 2 + away))]


def main() -> int:
    """Print the table and write the JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pairs", type=int, default=60)
    parser.add_argument("--slot", type=float, default=0.6)
    parser.add_argument("--stamps", type=float, default=1000.0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    os.environ["FISSION_BENCH_STAMPS"] = f"{options.slot} {1 / options.stamps}"
    pairs: dict[str, list[tuple[list[float], list[float]]]] = {"measured": [], "control": []}
    with running():
        slot(options.slot)  # it settles
        began = time.monotonic()
        before = slot(options.slot)
        while len(pairs["measured"]) < options.pairs:
            after = slot(options.slot)
            if before[0] == after[0]:
                pairs["control"].append((after[1], before[1]))
            else:
                pairs["measured"].append((before[1], after[1]) if before[0] else (after[1], before[1]))
            before = after
        stamps = int((NETWORK / "simulation" / "1" / COUNT_FILE).read_text()) / ((time.monotonic() - began) / 2)
    print(f"{stamps:.0f} stamps per second while there are any")
    rows: list[dict[str, Any]] = []
    print(f"{'pairs':<9} {'ratio':<7} {'with':>9} {'without':>9} {'median':>7} {'from':>6} {'to':>6}")
    for case, found in pairs.items():
        for index, name in enumerate(("by time", "by CPU")):
            ratios = [on[index] / off[index] for on, off in found]
            low, high = limits(ratios)
            rates = [round(statistics.median(side[index] for side in sides)) for sides in zip(*found, strict=True)]
            row = {"pairs": case, "ratio": name, "with": rates[0], "without": rates[1], "median": round(statistics.median(ratios), 4)}
            rows.append({**row, "from": round(low, 4), "to": round(high, 4)})
            print(f"{case:<9} {name:<7} {rates[0]:>9} {rates[1]:>9} {row['median']:>7.4f} {low:>6.3f} {high:>6.3f}")
    by_cpu = rows[1]
    cost, most = ((1 - by_cpu[name]) * 100 / (stamps * EVERY_S) for name in ("median", "from"))
    print(f"{1 / EVERY_S:.0f} stamps per second cost {cost:.2f} % of processor time, at most {most:.2f} %; wanted: <= {WANTED} %")
    rows.append({"pairs": "as in a network", "cost_percent": round(cost, 3), "at_most_percent": round(most, 3), "wanted": f"<= {WANTED}"})
    if options.json:
        options.json.write_text(json.dumps({"pairs": options.pairs, "stamps_per_s": round(stamps), "rows": rows}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
