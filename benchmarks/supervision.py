"""The client of 100 jobs on 20 virtual nodes that pulse every 0.1 s uses at most 15 % of one core.

The jobs do almost nothing. The processor time of the client's own process counts, once all jobs have started.

    python -m benchmarks.supervision [--runs 3] [--seconds 20] [--json FILE]
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import time

import psutil

from benchmarks.chain import MB, PROJECT, arguments, show
from benchmarks.machines import until

JOBS, NODES = 100, 20
#: Seconds for the start and the first blocks; arbitrary.
SETTLE_S = 3.0
#: Seconds that a busy machine may take to start this many jobs; arbitrary.
START_S = 120.0


def supervision(seconds: float) -> tuple[float, float]:
    """Run once; return the client's share of a core and its resident bytes."""
    events = PROJECT / "many/simulation/events.jsonl"
    events.unlink(missing_ok=True)
    environment = os.environ | {"FISSION_BENCH": json.dumps({"pairs": JOBS // 2, "rate": 1})}
    client = subprocess.Popen(
        [sys.executable, "manage.py", "many", "simulate", "--nodes", str(NODES)],
        cwd=PROJECT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until(lambda: events.exists() and events.read_text().count('"JobReady"') == JOBS, "all jobs have started", START_S)
        time.sleep(SETTLE_S)
        process = psutil.Process(client.pid)
        began, before = time.monotonic(), process.cpu_times()
        time.sleep(seconds)
        after, resident = process.cpu_times(), process.memory_info().rss
        share = (after.user + after.system - before.user - before.system) / (time.monotonic() - began)
        client.send_signal(signal.SIGINT)
        client.wait(START_S)
    finally:
        client.kill()
        client.wait()
    return share, resident


def main() -> int:
    """Print the table and write the JSON."""
    parser = arguments(__doc__, runs=3)
    parser.add_argument("--seconds", type=float, default=20)
    options = parser.parse_args()
    found = [supervision(options.seconds) for _ in range(options.runs)]
    case = f"client of {JOBS} jobs on {NODES} nodes"
    rows = [
        {
            "case": case,
            "figure": "% of a core",
            "fission": round(statistics.median(share for share, _ in found) * 100, 1),
            "worst": round(max(share for share, _ in found) * 100, 1),
            "wanted": "<= 15",
        },
        {"case": case, "figure": "MB resident", "fission": round(statistics.median(resident for _, resident in found) / MB, 1)},
    ]
    show(rows, ["case", "figure", "fission", "worst", "wanted"], options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
