"""The cost of the web page: a chain of small blocks whose page a viewer has open, and one who also looks into a pipe, against less.

"page": the page is open, against the chain alone. "panel": a pipe's panel is open too, against the page alone. Each alternates with what it
is compared with, `--runs` times in the same network; the medians of the ratios of neighbours count, "from" and "to" are their limits at a
level of 95 %. The viewer is a program that reads what a browser would get: a browser elsewhere. On a shared machine "by CPU" is more
reliable: blocks that the job with the tap sends per second of its processor time. The last columns are processor time per second of the
page's server and of the network's client.

    python -m benchmarks.page [--runs 9] [--seconds 1.5] [--json FILE]
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from benchmarks.latency_sampling import limits
from benchmarks.taps import NETWORK, PROJECT, rate, running
from fission.client.folders.run_folders import current
from fission.client.serve.control_server import RUNNING_FILE, run_folders_of

ADDRESS = re.compile(r"http://127\.0\.0\.1:(\d+)/\?token=(\S+)")
#: The least ratio that is wanted.
WANTED = {"page": 0.97, "panel": 0.98}
#: The streams that a viewer has open.
OPEN: dict[str, tuple[str, ...]] = {"alone": (), "page": ("/messages",), "panel": ("/messages", "/tap?pipe=1")}
#: Seconds from the first answer to a page until it is measured; arbitrary: its first answers are over.
SETTLE_S = 0.7
#: Seconds that the first answer may take; arbitrary, far above what a busy machine needs.
FIRST_ANSWER_S = 30.0


@contextlib.contextmanager
def served(network: str = "chain") -> Iterator[tuple[int, dict[str, str], psutil.Process]]:
    """Serve the page of a running network; yield its port, the header of a viewer, and its process."""
    with tempfile.TemporaryDirectory(prefix="fission-bench-") as folder:
        command = [sys.executable, "manage.py", network, "dashboard", "--port", "0", "--no-browser"]
        environment = os.environ | {"FISSION_KEYS": os.path.join(folder, "keys")}
        with subprocess.Popen(command, cwd=PROJECT, env=environment, stdout=subprocess.PIPE, text=True) as server:
            try:
                assert server.stdout is not None
                found = ADDRESS.search(server.stdout.readline())
                assert found is not None
                yield int(found[1]), {"Authorization": f"Bearer {found[2]}"}, psutil.Process(server.pid)
            finally:
                server.send_signal(signal.SIGINT)


class Stream:
    """Reads a stream of the page in a thread, as a browser would. A context manager, entered when the first answer has come.

    Attributes:
        bytes: number of bytes that have come.
        updates: number of updates that have come.
    """

    def __init__(self, port: int, header: dict[str, str], path: str) -> None:
        """Ask for the stream.

        Args:
            port: where the page is served.
            header: the header of a viewer.
            path: path of the stream.
        """
        self.bytes = self.updates = 0
        self._path = path
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self._connection.request("GET", path, headers=header)
        self._answer = self._connection.getresponse()
        assert self._answer.status == 200
        self._socket = self._connection.sock or self._answer.fp.raw._sock  # type: ignore[attr-defined]
        self._begun = threading.Event()
        self._reader = threading.Thread(target=self._read)

    def _read(self) -> None:
        with contextlib.suppress(OSError, ValueError, http.client.HTTPException):
            while chunk := self._answer.read1(1 << 16):
                self.bytes += len(chunk)
                self.updates += chunk.count(b"\nevent:") + chunk.startswith(b"event:")
                self._begun.set()

    def __enter__(self) -> Stream:
        self._reader.start()
        if not self._begun.wait(FIRST_ANSWER_S):
            self._close()
            raise RuntimeError(f"nothing has come from {self._path} within {FIRST_ANSWER_S:g} s")
        return self

    def __exit__(self, *error: object) -> None:
        self._close()

    def _close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._reader.join()
        self._connection.close()


def client_process() -> psutil.Process:
    """Return the process of the chain's client."""
    files = [folder / RUNNING_FILE for folder in (*run_folders_of(NETWORK), current(NETWORK)) if (folder / RUNNING_FILE).exists()]
    newest = max(files, key=lambda file: file.stat().st_mtime)
    return psutil.Process(json.loads(newest.read_text())["pid"])


def measured(seconds: float, processes: list[psutil.Process]) -> dict[str, float]:
    """Return the present rate, the rate by processor time, and the processor time per second of each process, in percent."""
    before, began = [process.cpu_times() for process in processes], time.monotonic()
    by_time, by_cpu = rate(seconds)
    after, took = [process.cpu_times() for process in processes], time.monotonic() - began
    used = [(new.user + new.system - old.user - old.system) / took * 100 for old, new in zip(before, after, strict=True)]
    return {"rate": by_time, "by_cpu": by_cpu, "server": used[0], "client": used[1]}


def main() -> int:
    """Print the table and write the JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    pairs: dict[str, list[tuple[dict[str, float], dict[str, float]]]] = {case: [] for case in WANTED}
    with running(), served() as (port, header, server):
        processes = [server, client_process()]
        for number in range(options.runs):
            found: dict[str, dict[str, float]] = {}
            for case in list(OPEN)[:: -1 if number % 2 else 1]:  # forth and back: what comes later must not look better or worse
                with contextlib.ExitStack() as stack:
                    for path in OPEN[case]:
                        stack.enter_context(Stream(port, header, path))
                    time.sleep(SETTLE_S)
                    found[case] = measured(options.seconds, processes)
            pairs["page"].append((found["page"], found["alone"]))
            pairs["panel"].append((found["panel"], found["page"]))
    rows: list[dict[str, Any]] = []
    print(
        f"{'case':<5} {'blocks/s':>8} {'without':>7} {'ratio':>5} {'from':>5} {'to':>5} {'by CPU':>6} {'server %':>8} {'client %':>8}"
        f" {'without':>7} wanted"
    )
    for case, compared in pairs.items():
        row: dict[str, Any] = {"case": case, "wanted": f">= {WANTED[case]}"}
        for name, index in (("blocks_per_s", 0), ("without", 1)):
            row[name] = round(statistics.median(pair[index]["rate"] for pair in compared))
        for name, key in (("ratio", "rate"), ("ratio_by_cpu", "by_cpu")):
            row[name] = round(statistics.median(with_it[key] / without[key] for with_it, without in compared), 3)
        row["from"], row["to"] = (round(limit, 3) for limit in limits([with_it["rate"] / without["rate"] for with_it, without in compared]))
        for name, key, index in (("server_percent", "server", 0), ("client_percent", "client", 0), ("client_percent_without", "client", 1)):
            row[name] = round(statistics.median(pair[index][key] for pair in compared), 1)
        rows.append(row)
        last = f"{row['client_percent']:>8} {row['client_percent_without']:>7} {row['wanted']}"
        ratios = f"{row['ratio']:>5.3f} {row['from']:>5.3f} {row['to']:>5.3f} {row['ratio_by_cpu']:>6.3f}"
        print(f"{case:<5} {row['blocks_per_s']:>8} {row['without']:>7} {ratios} {row['server_percent']:>8} {last}")
    if options.json:
        options.json.write_text(json.dumps({"runs": options.runs, "rows": rows}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
