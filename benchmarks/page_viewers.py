"""What viewers of the page cost a large network, and whether the page stays fluid: 200 jobs on 20 nodes, with 0, 1 and 4 viewers.

The network is benchmarks/networks/many: pairs of a source, ten blocks per second, and a sink. `client` and `server` are processor time
per second of the network's client and of the page's server, in percent of a core; what a viewer adds is the difference to the row without.
The row of 0 viewers has what the server costs that only keeps the rates of the last minutes.
`updates/s` and `bytes/s` are what each viewer is sent. The last row is of a real Chromium that shows the graph: how many of its tasks
take more than 50 ms, the longest of them (0: none), and the processor time of its renderers.

    python -m benchmarks.page_viewers [--jobs 200] [--nodes 20] [--seconds 10] [--viewers 0 1 4] [--no-browser] [--json FILE]
"""

from __future__ import annotations

import contextlib
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import psutil

from benchmarks.chain import PROJECT, arguments, show, surroundings
from benchmarks.machines import until
from benchmarks.page import Stream, served
from fission.client.attach.follow import measure
from fission.errors import UserError

NETWORK = PROJECT / "many"
#: Blocks per second of each source. Arbitrary: what a sensor sends.
RATE = 10
#: Seconds that a busy machine may take to start all jobs; arbitrary.
START_S = 300.0
#: Seconds from the opening of a page until it is measured; arbitrary: its first answers are over.
SETTLE_S = 3.0
#: Most processor time that a viewer may cost the client, in percent of a core.
WANTED_PERCENT = 5.0
#: A task that takes longer than this makes a browser drop frames (W3C Long Tasks API), in milliseconds.
LONG_TASKS = """() => {
    window.longTasks = [];
    new PerformanceObserver((list) => list.getEntries().forEach((entry) => window.longTasks.push(entry.duration)))
        .observe({ type: "longtask" });
}"""


@contextlib.contextmanager
def running(jobs: int, nodes: int) -> Iterator[psutil.Process]:
    """Run the network until all its jobs have got blocks; yield its client."""
    program = [sys.executable, "manage.py", "many", "simulate", "--nodes", str(nodes)]
    client = subprocess.Popen(program, **surroundings({"pairs": jobs // 2, "rate": RATE}))
    try:
        until(_flows, "all jobs get blocks", START_S)
        yield psutil.Process(client.pid)
        client.send_signal(signal.SIGINT)
        client.wait(START_S)
    finally:
        client.kill()
        client.wait()


def _flows() -> bool:
    try:
        return all(row["measured"] and row["measured"]["blocks"] > 0 for row in measure(NETWORK)["jobs"])
    except UserError:
        return False


def cpu_s(processes: list[psutil.Process]) -> list[float]:
    """Return the processor time of each process, in seconds."""
    return [times.user + times.system for times in (process.cpu_times() for process in processes)]


def without_page(client: psutil.Process, seconds: float) -> dict[str, Any]:
    """Return what the client has to do while no server of a page runs."""
    time.sleep(SETTLE_S)
    (before,), began = cpu_s([client]), time.monotonic()
    time.sleep(seconds)
    return {"case": "no page", "client %": round((cpu_s([client])[0] - before) / (time.monotonic() - began) * 100, 2)}


def with_viewers(count: int, port: int, header: dict[str, str], processes: list[psutil.Process], seconds: float) -> dict[str, Any]:
    """Return what the client, the server and a viewer have to do while so many viewers look."""
    with contextlib.ExitStack() as stack:
        streams = [stack.enter_context(Stream(port, header, "/messages")) for _ in range(count)]
        time.sleep(SETTLE_S)
        before, sent, began = cpu_s(processes), [(one.updates, one.bytes) for one in streams], time.monotonic()
        time.sleep(seconds)
        took_s = time.monotonic() - began
        used = [(new - old) / took_s * 100 for old, new in zip(before, cpu_s(processes), strict=True)]
        updates, size = (
            [(getattr(one, name) - old[place]) / took_s for one, old in zip(streams, sent, strict=True)]
            for place, name in enumerate(("updates", "bytes"))
        )
    found = {"case": f"{count} viewers", "client %": round(used[0], 2), "server %": round(used[1], 2)}
    if count:
        found |= {"updates/s": round(statistics.median(updates), 2), "bytes/s": round(statistics.median(size))}
    return found


def in_chromium(port: int, header: dict[str, str], processes: list[psutil.Process], seconds: float) -> dict[str, Any]:
    """Return what a real browser has to do that shows the graph."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        program = os.environ.get("CHROMIUM", "/usr/bin/chromium")
        before = set(psutil.Process().children(recursive=True))
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        tab = browser.new_page(viewport={"width": 2000, "height": 1200}, extra_http_headers=header)
        tab.goto(f"http://127.0.0.1:{port}/")
        tab.locator("[data-job]").first.wait_for(timeout=60_000)
        time.sleep(SETTLE_S)
        tab.evaluate(LONG_TASKS)
        renderers = [
            one for one in psutil.Process().children(recursive=True) if one not in before and "renderer" in " ".join(one.cmdline())
        ]
        used, began = [sum(cpu_s(renderers)), *cpu_s(processes)], time.monotonic()
        tab.wait_for_timeout(seconds * 1000)
        tasks = sorted(tab.evaluate("() => window.longTasks"))
        took_s = time.monotonic() - began
        spent = [(new - old) / took_s * 100 for old, new in zip(used, [sum(cpu_s(renderers)), *cpu_s(processes)], strict=True)]
        browser.close()
    return {
        "case": "Chromium",
        "client %": round(spent[1], 2),
        "server %": round(spent[2], 2),
        "renderer %": round(spent[0], 1),
        "long tasks/s": round(len(tasks) / took_s, 2),
        "longest ms": round(tasks[-1]) if tasks else 0,
    }


def main() -> int:
    """Print the table and write the JSON."""
    parser = arguments(__doc__, runs=1)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--nodes", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--viewers", type=int, nargs="+", default=[0, 1, 4])
    parser.add_argument("--no-browser", action="store_true", help="leave the real Chromium out")
    options = parser.parse_args()
    with running(options.jobs, options.nodes) as client:
        alone = without_page(client, options.seconds)
        with served("many") as (port, header, server):
            processes = [client, server]
            found = [
                [with_viewers(count, port, header, processes, options.seconds) for count in options.viewers] for _ in range(options.runs)
            ]
            rows = [_median([one[place] for one in found]) for place in range(len(options.viewers))]
            if not options.no_browser:
                rows.append(in_chromium(port, header, processes, options.seconds))
    least = rows[0]["client %"]
    rows.insert(0, alone)
    for row in rows:
        if row["case"].endswith("viewers") and (count := int(row["case"].split()[0])):
            row["client % a viewer"] = round((row["client %"] - least) / count, 2)
            row["wanted"] = f"<= {WANTED_PERCENT:g}"
    show(rows, list(dict.fromkeys(key for row in rows for key in row)), options)
    return 0


def _median(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {key: value if isinstance(value, str) else statistics.median(row[key] for row in rows) for key, value in rows[0].items()}


if __name__ == "__main__":
    sys.exit(main())
