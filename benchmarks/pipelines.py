"""Compares pipelines with bare Dask on the same workers, and checks that many of them stay cheap.

- rate: jobs per second of pipelines of three jobs that do nothing, against `Client.map` of as many calls that do nothing on the same
  worker processes, alternately; the median of the rounds' ratios. FISSION stores every pipeline and job in its database, Dask nothing.
- latency: from `start` to finished, one pipeline of three jobs at a time.
- many: seconds for the first and the last 1,000 calls of `PipelineManager.start`; memory of that process after a third and at the end.
- ready: seconds until `fission pipelines up` reports that it is ready.

    python -m benchmarks.pipelines [--pipelines 1500] [--rounds 5] [--many 30000] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
from distributed import Client, wait

import fission
from fission.adapters.zmq_api import ApiClient
from fission.pipelines import Job, Pipeline, PipelineManager
from fission.pipelines.daemon import ask
from fission.protocol.messages.pipelines.client_to_router import GetRouterStatus
from fission.protocol.messages.pipelines.router_to_client import RouterStatus

JOBS = Path(__file__).resolve().parent / "pipeline_jobs"
GRAPH = {Job("First"): Job("Second"), Job("Second"): Job("Third")}
WORKERS = 2
#: The goals.
RATIO, LATENCY_S, READY_S, GROWTH = 0.7, 0.060, 3.0, 1.25


def nothing(number: int) -> None:
    """Do nothing: the bare call."""


class Up:
    """`fission pipelines up` on free ports. A context manager."""

    def __init__(self, folder: Path) -> None:
        import socket

        with socket.socket() as one, socket.socket() as two:
            one.bind(("127.0.0.1", 0))
            two.bind(("127.0.0.1", 0))
            self.api, self.broadcast = (f"tcp://127.0.0.1:{socket.getsockname()[1]}" for socket in (one, two))
        self._folder = folder

    def __enter__(self) -> Up:
        words = ["up", "--workers", "nothing", "--store", "nothing.NoStore", "--number-of-workers", str(WORKERS)]
        words += ["--api", self.api, "--broadcast", self.broadcast, "--state", str(self._folder / "state.sqlite")]
        log = self._folder / "up.log"
        source = str(Path(fission.__path__[0]).parent)
        begin = time.perf_counter()
        with open(log, "wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "fission", "pipelines", *words],
                cwd=JOBS, stderr=output, env=os.environ | {"PYTHONPATH": source},
            )  # fmt: skip
        while not re.search("^Ready at", log.read_text(), re.MULTILINE):
            if self._process.poll() is not None:
                raise RuntimeError(f"`fission pipelines up` ended\n{log.read_text()}")
            time.sleep(0.01)
        self.ready_s = time.perf_counter() - begin
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(20)

    def scheduler(self) -> str:
        client = ApiClient(self.api)
        try:
            return f"tcp://127.0.0.1:{ask(client, self.api, GetRouterStatus(), RouterStatus, 5).scheduler_port}"
        finally:
            client.close()

    def manager(self) -> PipelineManager:
        return PipelineManager(self.api, self.broadcast)


def bare(client: Client, calls: int) -> float:
    """Return calls per second."""
    begin = time.perf_counter()
    futures = client.map(nothing, range(calls), pure=False)
    wait(futures)
    rate = calls / (time.perf_counter() - begin)
    client.cancel(futures)
    return rate


def ours(manager: PipelineManager, number: int) -> float:
    """Return jobs per second."""
    pipelines = [Pipeline(GRAPH, data={"number": one}) for one in range(number)]
    begin = time.perf_counter()
    manager.start_all(pipelines)
    if not manager.wait(300) or manager.failed_pipelines:
        raise RuntimeError("not all pipelines were finished")
    return 3 * number / (time.perf_counter() - begin)


def rates(up: Up, number: int, rounds: int) -> dict[str, Any]:
    """Measure both alternately."""
    with Client(up.scheduler()) as client, up.manager() as manager:
        bare(client, 300)
        ours(manager, 100)
        found = [(bare(client, 3 * number), ours(manager, number)) for _ in range(rounds)]
    return {
        "bare_per_s": statistics.median(one for one, _ in found),
        "ours_per_s": statistics.median(two for _, two in found),
        "ratio": statistics.median(two / one for one, two in found),
        "rounds": found,
    }


def latency(up: Up, number: int = 60) -> float:
    """Return the median in seconds."""
    with up.manager() as manager:
        found = []
        for one in range(number):
            pipeline = Pipeline(GRAPH, data={"number": one})
            begin = time.perf_counter()
            manager.start(pipeline)
            while not manager.finished(pipeline):
                pass
            found.append(time.perf_counter() - begin)
    return statistics.median(found)


def many(up: Up, number: int) -> dict[str, Any]:
    """Return the seconds for 1,000 submissions each, and the bytes of this process."""
    process = psutil.Process()
    seconds, sizes = [], []
    with up.manager() as manager:
        for first in range(0, number, 1000):
            pipelines = [Pipeline(GRAPH, data={"number": one}) for one in range(first, first + 1000)]
            begin = time.perf_counter()
            for pipeline in pipelines:
                manager.start(pipeline)
            seconds.append(time.perf_counter() - begin)
            del pipelines, pipeline
            if (first // 1000 + 1) % max(1, number // 3000) == 0:  # at each third
                if not manager.wait(600) or manager.failed_pipelines:
                    raise RuntimeError("not all pipelines were finished")
                sizes.append(process.memory_info().rss)
    third = max(1, len(seconds) // 3)
    return {
        "first_s": statistics.median(seconds[:third]),
        "last_s": statistics.median(seconds[-third:]),
        "memory": sizes,
        "seconds": seconds,
    }


def main() -> int:
    """Measure, print the table, and report missed goals."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pipelines", type=int, default=1500)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--many", type=int, default=30_000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, Up(Path(folder)) as up:
        result: dict[str, Any] = {"ready_s": up.ready_s, "latency_s": latency(up)}
        result |= rates(up, options.pipelines, options.rounds)
        if options.many:
            result["many"] = many(up, options.many)
    print(f"{'what':44} {'is':>12} {'wanted':>12}")
    lines = [
        ("bare Dask, calls a second", f"{result['bare_per_s']:.0f}", "", True),
        ("pipelines, jobs a second", f"{result['ours_per_s']:.0f}", "", True),
        ("ratio", f"{result['ratio']:.2f}", f">= {RATIO}", result["ratio"] >= RATIO),
        (
            "one idle pipeline of 3 jobs, p50",
            f"{result['latency_s'] * 1000:.0f} ms",
            f"<= {LATENCY_S * 1000:.0f} ms",
            result["latency_s"] <= LATENCY_S,
        ),
        ("`up` ready", f"{result['ready_s']:.1f} s", f"<= {READY_S:.0f} s", result["ready_s"] <= READY_S),
    ]
    if options.many:
        times, sizes = result["many"], result["many"]["memory"]
        slower, grown = times["last_s"] / times["first_s"], sizes[-1] / sizes[0]
        lines += [
            ("1,000 submissions, the first third", f"{times['first_s']:.2f} s", "", True),
            ("1,000 submissions, the last third", f"{times['last_s']:.2f} s", f"<= {GROWTH} x", slower <= GROWTH),
            ("PipelineManager's process, at a third", f"{sizes[0] / 1e6:.0f} MB", "", True),
            ("PipelineManager's process, at the end", f"{sizes[-1] / 1e6:.0f} MB", f"<= {GROWTH} x", grown <= GROWTH),
        ]
    for what, value, wanted, right in lines:
        print(f"{what:44} {value:>12} {wanted:>12}{'' if right else '   MISSED'}")
    if options.json:
        options.json.write_text(json.dumps(result, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
