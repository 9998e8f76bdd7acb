"""How much memory an idle `fission node` takes, and a job that imports nothing, beside Python with the two libraries that every job needs.

python -m benchmarks.idle_memory [--runs 3] [--json FILE]
"""

from __future__ import annotations

import asyncio
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from benchmarks.chain import MB, PROJECT, arguments, compiled, show, surroundings
from benchmarks.machines import until
from fission.adapters.cluster.scheduler import DaskScheduler
from tests.ports import free_ports

#: What a busy machine may take to start anything here; arbitrary.
START_S = 60.0
#: Seconds that what belongs to the start has before the memory is taken; arbitrary.
SETTLE_S = 2.0
#: Jobs of the network of which the median is taken.
JOBS = 10
HERE = "127.0.0.1"


def node(environment: dict[str, str]) -> tuple[int, int]:
    """Return the resident bytes of a node's service before a client connects, and while one is connected."""
    (port,) = free_ports(1)
    with tempfile.TemporaryDirectory(prefix="fission-bench-") as root:
        command = [sys.executable, "-m", "fission", "node", "--client", HERE, "--port", str(port), "--insecure", "--root", f"{root}/node"]
        with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as service:
            try:
                assert service.stderr is not None
                for line in service.stderr:
                    if "waits for a client" in line:
                        break
                time.sleep(SETTLE_S)
                waiting = psutil.Process(service.pid).memory_info().rss
                asyncio.run(_connected(port))
                connected = psutil.Process(service.pid).memory_info().rss
            finally:
                service.send_signal(signal.SIGTERM)
    return waiting, connected


async def _connected(port: int) -> None:
    """Be a client to which the node connects; return some time after."""
    there = asyncio.Event()
    scheduler = DaskScheduler(HERE, port, None, None)
    await scheduler.open(lambda worker: there.set(), lambda worker: None)
    try:
        await asyncio.wait_for(there.wait(), START_S)
        await asyncio.sleep(SETTLE_S)
    finally:
        await scheduler.close()


def job(environment: dict[str, str]) -> tuple[int, int]:
    """Return the median of the resident bytes of a network's jobs, and of their proportional ones.

    A job's process is a fork: it shares the memory of modules with its fork server and the other jobs. Resident bytes count all of that
    for each of them, proportional bytes (PSS) divide it among them.
    """
    events = PROJECT / "many/simulation/events.jsonl"
    events.unlink(missing_ok=True)
    keywords = surroundings({"pairs": JOBS // 2, "rate": 1})
    keywords["env"] = environment | {"FISSION_BENCH": keywords["env"]["FISSION_BENCH"]}
    client = subprocess.Popen([sys.executable, "manage.py", "many", "simulate"], **keywords)
    try:
        until(lambda: events.exists() and events.read_text().count('"JobReady"') >= JOBS, "all jobs run", START_S)
        time.sleep(SETTLE_S)
        (fork_server,) = psutil.Process(client.pid).children()
        sizes = [process.memory_full_info() for process in fork_server.children()]
        client.send_signal(signal.SIGINT)
        client.wait(START_S)
    finally:
        client.kill()
        client.wait()
    return int(statistics.median(size.rss for size in sizes)), int(statistics.median(size.pss for size in sizes))


def libraries(environment: dict[str, str]) -> int:
    """Return the resident bytes of a Python that has imported what sends and encodes messages, and nothing of FISSION."""
    code = "import msgspec, zmq; print(open('/proc/self/statm').read())"
    pages = subprocess.run([sys.executable, "-I", "-c", code], env=environment, check=True, capture_output=True, text=True).stdout.split()[
        1
    ]
    return int(pages) * resource.getpagesize()


def main() -> int:
    """Print the table and write the JSON."""
    options = arguments(__doc__, runs=3).parse_args()
    with compiled() as environment:
        environment["PYTHONPATH"] = str(Path(__file__).resolve().parent.parent / "src")
        found = [(*node(environment), *job(environment), libraries(environment)) for _ in range(options.runs + 1)][
            1:
        ]  # the first run compiles
    rows: list[dict[str, Any]] = []
    for case, wanted, values in zip(
        (
            "idle node, waiting for a client",
            "idle node, connected",
            "job that imports nothing",
            f"the same, its share with {JOBS} jobs",
            "Python with msgspec and zmq",
        ),
        ("<= 70", "<= 70", "<= 20", "", ""),
        zip(*found, strict=True),
        strict=True,
    ):
        rows.append({"case": case, "figure": "MB", "fission": round(statistics.median(values) / MB, 1), "wanted": wanted})
    show(rows, ["case", "figure", "fission", "wanted"], options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
