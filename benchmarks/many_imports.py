"""200 jobs that import numpy, in one `simulate`: seconds until all run, their memory, and their processor time while they are idle.

With the setting PRELOAD = ["numpy"], the process that jobs are forked from imports it once. Where FISSION has no such setting, its rows
say so. The memory is the proportional share (PSS) of the client and of all processes below it.

    python -m benchmarks.many_imports [--runs 1] [--jobs 200] [--seconds 10] [--json FILE]
"""

from __future__ import annotations

import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil

from benchmarks.chain import MB, PROJECT, arguments, compiled, show, surroundings
from benchmarks.machines import until
from fission.project.settings import SETTINGS

#: What a busy machine may take to start so many jobs; arbitrary.
START_S = 180.0
#: Seconds that what belongs to the start has before the processor time is taken; arbitrary.
SETTLE_S = 3.0
WANTED = {
    "all run": ("s", "<= 3"),
    "memory, proportional": ("MB", "<= 1000"),
    "memory, resident": ("MB", ""),
    "idle": ("% of a core", "<= 8"),
}


def _proportional(pid: int) -> int:
    """The proportional set size of a process in bytes; 0 if it has ended."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Pss:"))


def _cpu_s(processes: list[psutil.Process]) -> float:
    return sum(times.user + times.system for times in (process.cpu_times() for process in processes))


def run(jobs: int, seconds: float, order: dict[str, Any], environment: dict[str, str]) -> dict[str, float]:
    """One run, with additional variables of the environment; return a value for each of WANTED."""
    events = PROJECT / "many/simulation/events.jsonl"
    events.unlink(missing_ok=True)
    began = time.monotonic()
    keywords = surroundings({"pairs": jobs // 2, "rate": 1, "numpy": True} | order)
    keywords["env"] = environment | {"FISSION_BENCH": keywords["env"]["FISSION_BENCH"]}
    client = subprocess.Popen([sys.executable, "manage.py", "many", "simulate"], **keywords)

    def all_run() -> bool:
        if client.poll() is not None:
            raise RuntimeError(f"the network ended with exit code {client.returncode}")
        return events.exists() and events.read_text().count('"JobReady"') >= jobs

    try:
        until(all_run, "all jobs run", START_S)
        start_s = time.monotonic() - began
        time.sleep(SETTLE_S)
        processes = [psutil.Process(client.pid), *psutil.Process(client.pid).children(recursive=True)]
        before, since = _cpu_s(processes), time.monotonic()
        time.sleep(seconds)
        share = (_cpu_s(processes) - before) / (time.monotonic() - since)
        proportional = sum(_proportional(process.pid) for process in processes)
        resident = sum(process.memory_info().rss for process in processes)
        client.send_signal(signal.SIGINT)
        client.wait(START_S)
    finally:
        client.kill()
        client.wait()
    return dict(zip(WANTED, (start_s, proportional / MB, resident / MB, share * 100), strict=True))


def main() -> int:
    """Print the table and write the JSON."""
    parser = arguments(__doc__, runs=1)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=10.0, help="seconds over which the processor time is taken")
    options = parser.parse_args()
    with compiled() as environment:
        run(2, 0.1, {}, environment)  # compiles
        rows = table(options, environment)
    show(rows, ["case", "figure", "fission", "wanted"], options)
    return 0


def table(options: Any, environment: dict[str, str]) -> list[dict[str, Any]]:
    """Return the rows; arguments as `main` and `run` have them."""
    rows: list[dict[str, Any]] = []
    for name, order in (("each imports", {}), ('PRELOAD = ["numpy"]', {"preload": ["numpy"]})):
        there = not order or "PRELOAD" in SETTINGS
        found = [run(options.jobs, options.seconds, order, environment) for _ in range(options.runs)] if there else []
        for what, (figure, wanted) in WANTED.items():
            value = round(statistics.median(one[what] for one in found), 1) if there else "no PRELOAD"
            row = {"case": f"{options.jobs} jobs, {name}: {what}", "figure": figure, "fission": value}
            rows.append(row | {"wanted": wanted if order else ""})
    return rows


if __name__ == "__main__":
    sys.exit(main())
