"""What grows with nodes and jobs: the client's processor time, memory and files (simulated), and the processes of jobs (real); what
grows with pipes and bytes (real).

The client is the real one, of benchmarks/simulated_client.py: one process for each size. `exponent` is the slope of a line through the
logarithms: 0 does not grow, 1 is linear, 2 is quadratic. Times are processor times.

    python -m benchmarks.scaling [--runs 3] [--quick] [--json FILE]
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil

from benchmarks.chain import PROJECT, arguments, command, fission_chain, show, surroundings
from benchmarks.machines import until
from benchmarks.simulated_client import MEANS, SimulatedClient, many_jobs, resident_bytes
from fission.adapters.datagrams import Datagrams
from fission.adapters.file_checkpoints import FileCheckpoints
from fission.adapters.keys import load_keys, make_keys
from fission.adapters.sealing import Seals
from fission.client.run.storage.checkpoint_service import CheckpointService
from fission.client.run.storage.disk_threads import DiskThreads
from fission.protocol.messages.client_to_job import CheckpointStored, ClientToJob
from fission.protocol.messages.client_to_node import ECHOES, PulseEcho
from fission.protocol.messages.job_to_client import SaveSnapshot
from fission.protocol.messages.node_to_client import PULSES, LeasePulse

#: (nodes, jobs) of each series; together they are the sizes that are simulated.
SERIES = {
    "nodes and jobs": [(10, 100), (100, 1000), (1000, 10000)],
    "jobs, 10 nodes": [(10, 100), (10, 1000), (10, 10000)],
    "nodes, 1,000 jobs": [(10, 1000), (100, 1000), (1000, 1000)],
}
QUICK = {"nodes and jobs": [(5, 50), (20, 200), (80, 800)]}
#: What a simulated client gives, with the growth that is wanted in the first series: the largest exponent.
FIGURES = {
    "a pulse": ("us", 0.15),
    "a report of counts": ("us", 0.15),
    "start, a job": ("us", 0.35),
    "loading config.py, a job": ("us", 0.35),
    "a job of a lost node": ("us", 1.1),
    "messages to jobs at the loss, a job": ("", 0.15),
    "bundle": ("bytes", 0.15),
    "event log of the start, a job": ("bytes", 0.15),
    "an event of the log": ("bytes", 0.15),
    "status": ("ms", 1.3),
    "memory of the client": ("MB", 2.0),
}
#: Numbers of real jobs in one `simulate`.
PROCESSES, QUICK_PROCESSES = (10, 50, 100, 200), (10, 40)
#: Numbers of virtual nodes that pulse every 0.1 s, with ten jobs.
NODES, QUICK_NODES = (5, 20, 50), (5, 10)
#: What a busy machine may take to start or stop so many jobs; arbitrary.
START_S = 180.0
#: Seconds that what belongs to the start has before the processor time is taken; arbitrary.
SETTLE_S = 3.0


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Return the slope of the line of least squares through the logarithms."""
    return slope([math.log(size) for size in sizes], [math.log(max(value, 1e-9)) for value in values])


def slope(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Return the slope of the line of least squares."""
    middle, mean = statistics.fmean(sizes), statistics.fmean(values)
    above = sum((size - middle) * (value - mean) for size, value in zip(sizes, values, strict=True))
    return above / sum((size - middle) ** 2 for size in sizes)


# the simulated client


async def point(nodes: int, jobs: int) -> dict[str, float]:
    """Run a client of this size in this process; return its FIGURES."""
    before, began = resident_bytes(), time.process_time()
    loaded = many_jobs(jobs)
    loading = time.process_time() - began
    rounds = max(2, 2000 // nodes)
    with tempfile.TemporaryDirectory(prefix="fission-benchmark-") as folder:
        client = SimulatedClient(loaded, nodes, Path(folder))
        async with client.running():
            memory = resident_bytes() - before
            lines = (Path(folder) / "events.jsonl").read_bytes().count(b"\n")
            found = {
                "loading config.py, a job": loading / jobs * 1e6,
                "start, a job": client.started_cpu_s / jobs * 1e6,
                "bundle": statistics.fmean(client.engine.bundle_bytes),
                "event log of the start, a job": client.events_bytes / jobs,
                "an event of the log": client.events_bytes / lines,
                "memory of the client": memory / 1e6,
            }
            found["a pulse"] = await cpu_us_each(lambda: client.pulses(rounds))
            found["a report of counts"] = await cpu_us_each(lambda: client.reports(jobs))
            began = time.process_time()
            client.coordinator.nodes()
            client.coordinator.summaries()
            found["status"] = (time.process_time() - began) * 1e3
            sent, began = client.transport.sent, time.process_time()
            await client.lose(nodes // 2)
            moved = len(client.engine.launched)
            await client.report_ready()
            found["a job of a lost node"] = (time.process_time() - began) / moved * 1e6
            found["messages to jobs at the loss, a job"] = (client.transport.sent - sent) / moved
    return found


async def cpu_us_each(work: Callable[[], Any]) -> float:
    """Return the microseconds of processor time of each thing that is handed in; the median of three times."""
    return statistics.median([await _timed(work) for _ in range(3)])


async def _timed(work: Callable[[], Any]) -> float:
    began = time.process_time()
    count = await work()
    return float((time.process_time() - began) / count * 1e6)


def simulated(series: dict[str, list[tuple[int, int]]], runs: int) -> list[dict[str, Any]]:
    """Return a row for each figure of each series."""
    sizes = dict.fromkeys(size for sizes in series.values() for size in sizes)
    known = {}
    for nodes, jobs in sizes:
        program = [sys.executable, "-m", "benchmarks.scaling", "--point", str(nodes), str(jobs)]
        found = [json.loads(subprocess.run(program, check=True, capture_output=True).stdout) for _ in range(runs if jobs < 5000 else 1)]
        known[nodes, jobs] = {figure: statistics.median(one[figure] for one in found) for figure in FIGURES}
    rows = []
    for number, (name, points) in enumerate(series.items()):
        for figure, (unit, most) in FIGURES.items():
            values = [known[size][figure] for size in points]
            grows = [max(nodes if "nodes," in name else jobs, 1) for nodes, jobs in points]
            row = {"case": f"{name}: {figure}", "figure": unit, "sizes": " ".join(f"{nodes}/{jobs}" for nodes, jobs in points)}
            row |= {"fission": " ".join(_short(value) for value in values), "exponent": round(exponent(grows, values), 2)}
            rows.append(row | {"wanted": f"exponent <= {most}" if number == 0 else ""})
    return rows


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


# single costs


class _Wire(asyncio.DatagramTransport):
    """Keeps the datagrams that are sent."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[bytes] = []

    def sendto(self, data: Any, addr: Any = None) -> None:
        self.kept.append(bytes(data))

    def is_closing(self) -> bool:
        return False


def sealed_pulses(count: int) -> list[dict[str, Any]]:
    """Open sealed pulses and seal their echoes, as the client does; return the rows."""
    with tempfile.TemporaryDirectory(prefix="fission-benchmark-") as folder:
        make_keys(Path(folder) / "keys")
        keys = load_keys(Path(folder) / "keys")
    node_wire, client_wire = _Wire(), _Wire()
    node = Datagrams(Seals(keys), ECHOES, PULSES, lambda *message: None, b"n" * 8, lambda: b"")

    def answer(pulse: LeasePulse, source: tuple[str, int], sender: bytes) -> None:
        client.send(PulseEcho(number=pulse.number, acknowledged=0, connected=True), source, b"to node")

    client = Datagrams(Seals(keys), PULSES, ECHOES, answer, b"c" * 8, lambda: b"to client")
    node.connection_made(node_wire)
    client.connection_made(client_wire)
    for number in range(1, count + 1):
        node.send(LeasePulse(lease=f"{'ab' * 8}.1", number=number, echoed=number - 1, means=MEANS), ("10.0.0.1", 8788), b"to client")
    began = time.process_time()
    for datagram in node_wire.kept:
        client.datagram_received(datagram, ("10.0.0.2", 8788))
    cpu_us = (time.process_time() - began) / count * 1e6
    if len(client_wire.kept) != count:
        raise RuntimeError(f"{len(client_wire.kept)} of {count} pulses were answered")
    case = "a sealed pulse with its echo"
    return [
        {"case": case, "figure": "us", "fission": _short(cpu_us)},
        {"case": case, "figure": "bytes of UDP", "fission": f"{len(node_wire.kept[-1])} + {len(client_wire.kept[-1])}"},
    ]


async def snapshots(jobs: int, state_bytes: int, seconds: float) -> list[dict[str, Any]]:
    """Store snapshots of several jobs, each of which sends the next one when the last is stored; return the rows."""
    stored = 0
    until_s = time.monotonic() + seconds
    with tempfile.TemporaryDirectory(prefix="fission-benchmark-", dir=PROJECT.parent / "results") as folder:

        def answer(job: int, message: ClientToJob) -> None:
            nonlocal stored
            if isinstance(message, CheckpointStored):
                stored += 1
                if time.monotonic() < until_s:
                    service.take(job, SaveSnapshot(generation=0, block=message.block + 1), bytes(state_bytes))

        store = FileCheckpoints(Path(folder))
        service = CheckpointService(store, answer, lambda kind, text: None, disk=DiskThreads())
        began, began_s = time.process_time(), time.monotonic()
        for job in range(1, jobs + 1):
            service.take(job, SaveSnapshot(generation=0, block=1), bytes(state_bytes))
        while time.monotonic() < until_s:
            await asyncio.sleep(0.05)
        took_s, cpu_s = time.monotonic() - began_s, time.process_time() - began
        service.close()
    case = f"snapshots of {jobs} jobs, {state_bytes} bytes"
    return [
        {"case": case, "figure": "a second (disk)", "fission": _short(stored / took_s)},
        {"case": case, "figure": "us", "fission": _short(cpu_s / max(1, stored) * 1e6)},
    ]


# real processes


def _sum(process: psutil.Process) -> dict[str, float]:
    rollup = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
    sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in rollup.splitlines()[1:]}
    return {
        "private memory": (sizes["Private_Clean"] + sizes["Private_Dirty"]) / 1e6,
        "proportional memory": sizes["Pss"] / 1e6,
        "threads": process.num_threads(),
        "file descriptors": process.num_fds(),
        "sockets": sum("socket:" in str(link.readlink()) for link in Path(f"/proc/{process.pid}/fd").iterdir() if link.is_symlink()),
    }


def processes(jobs: int, seconds: float, nodes: int = 0) -> tuple[dict[str, float], dict[str, float]]:
    """Run so many idle jobs; return the sums over their processes and fork server, and the figures of the client."""
    events = PROJECT / "many/simulation/events.jsonl"
    events.unlink(missing_ok=True)
    began = time.monotonic()
    many = [sys.executable, "manage.py", "many", "simulate", *(["--nodes", str(nodes)] if nodes else [])]
    client = subprocess.Popen(many, **surroundings({"pairs": jobs // 2, "rate": 1}))
    try:
        until(lambda: events.exists() and events.read_text().count('"JobReady"') >= jobs, "all jobs run", START_S)
        start_s = time.monotonic() - began
        time.sleep(SETTLE_S)
        own = psutil.Process(client.pid)
        below = own.children(recursive=True)
        before, since = [_cpu_s([own]), _cpu_s(below)], time.monotonic()
        time.sleep(seconds)
        passed_s = time.monotonic() - since
        shares = [(_cpu_s(which) - first) / passed_s * 100 for which, first in zip(([own], below), before, strict=True)]
        sums = [_sum(process) for process in below]
        total = {figure: sum(one[figure] for one in sums) for figure in sums[0]} | {"idle": shares[1]}
        mine = _sum(own) | {"idle": shares[0], "start": start_s}
        client.send_signal(signal.SIGINT)
        client.wait(START_S)
    finally:
        client.kill()
        client.wait()
    return total, mine


def _cpu_s(which: list[psutil.Process]) -> float:
    return sum(times.user + times.system for times in (process.cpu_times() for process in which))


UNITS = {"private memory": "MB", "proportional memory": "MB", "idle": "% of a core", "start": "s (wall)"}


def real(sizes: Sequence[int], seconds: float) -> list[dict[str, Any]]:
    """Return a row for each figure of the processes of jobs, and of their client."""
    found = [processes(jobs, seconds) for jobs in sizes]
    rows = []
    for whose, index in (("processes", 0), ("client of", 1)):
        for figure in found[0][index]:
            values = [one[index][figure] for one in found]
            row = {"case": f"{whose} {' '.join(map(str, sizes))} jobs: {figure}", "figure": UNITS.get(figure, "")}
            row |= {"fission": " ".join(_short(value) for value in values), "slope": f"{slope(sizes, values):.3g} a job"}
            rows.append(row | {"exponent": round(exponent(sizes, values), 2)})
    return rows


def pulsing(sizes: Sequence[int], seconds: float) -> dict[str, Any]:
    """Return the row of a real client whose nodes pulse."""
    values = [processes(10, seconds, nodes)[1]["idle"] for nodes in sizes]
    row = {"case": f"client of {' '.join(map(str, sizes))} nodes, 10 jobs: idle", "figure": UNITS["idle"]}
    row |= {"fission": " ".join(_short(value) for value in values), "slope": f"{slope(sizes, values):.3g} a node"}
    return row | {"exponent": round(exponent(sizes, values), 2)}


def shared_memory(sizes: Sequence[int], seconds: float) -> dict[str, Any]:
    """Return the row of the shared memory of chains whose jobs all make new arrays of 1 MB."""

    def used() -> float:
        found = os.statvfs("/dev/shm")
        return (found.f_blocks - found.f_bfree) * found.f_frsize / 1e6

    values = []
    for hops in sizes:
        before = most = used()
        order = {"size": 1_000_000, "kind": "numpy", "work": "double", "seconds": seconds, "hops": hops}
        with subprocess.Popen(command(), **surroundings(order)) as chain:
            while chain.poll() is None:
                most = max(most, used())
                time.sleep(0.02)
        if chain.returncode:
            raise RuntimeError(f"the chain network ended with exit code {chain.returncode}")
        values.append(most - before)
    row = {"case": f"chain with {' '.join(map(str, sizes))} pipes of 1 MB arrays: shared memory", "figure": "MB"}
    row |= {"fission": " ".join(_short(value) for value in values), "slope": f"{slope(sizes, values):.3g} a pipe"}
    return row | {"exponent": round(exponent(sizes, values), 2)}


#: Chains over two hops whose blocks grow: their order, and the sizes of a block in bytes.
GROWING: dict[str, tuple[dict[str, Any], tuple[int, ...]]] = {
    "arrays, handed on": ({"kind": "numpy"}, (65_536, 250_000, 1_000_000, 4_000_000)),
    "arrays, changed and read": ({"kind": "float", "work": "double", "read": "sum"}, (65_536, 250_000, 1_000_000, 4_000_000)),
    "bytes of a user's own pipe": ({"kind": "raw", "pipe": "length"}, (1_000, 8_000, 64_000)),
}


def growing_blocks(seconds: float) -> list[dict[str, Any]]:
    """Return a row for each of GROWING: the processor time of a block, of all three processes, and what a megabyte more costs."""
    rows = []
    for case, (order, sizes) in GROWING.items():
        values = [fission_chain({"seconds": seconds, "size": size} | order)["cpu_us"] for size in sizes]
        row = {"case": f"{case}: a block of {' '.join(f'{size / 1000:g}' for size in sizes)} KB", "figure": "us"}
        row |= {"fission": " ".join(map(_short, values)), "slope": f"{slope(sizes, values) * 1e6:.3g} a MB"}
        rows.append(row | {"exponent": round(exponent(sizes, values), 2)})
    return rows


def main() -> int:
    """Print the table and write the JSON."""
    parser = arguments(__doc__, runs=3)
    parser.add_argument("--quick", action="store_true", help="small networks, and few processes")
    parser.add_argument("--seconds", type=float, default=20.0, help="seconds over which idle processes are watched")
    parser.add_argument("--point", type=int, nargs=2, metavar=("NODES", "JOBS"), help="one simulated size, as JSON")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    if options.point:
        print(json.dumps(asyncio.run(point(*options.point))))
        return 0
    (PROJECT.parent / "results").mkdir(exist_ok=True)
    seconds = 1.0 if options.quick else 5.0
    rows = simulated(QUICK if options.quick else SERIES, options.runs)
    rows += sealed_pulses(1000 if options.quick else 20000)
    for jobs, state_bytes in ((1, 1000), (20, 1000), (20, 1_000_000)):
        rows += asyncio.run(snapshots(jobs, state_bytes, seconds))
    rows += real(QUICK_PROCESSES if options.quick else PROCESSES, 3.0 if options.quick else options.seconds)
    rows += growing_blocks(0.2 if options.quick else 1.0)
    rows.append(shared_memory((1, 2) if options.quick else (1, 2, 4), min(2.0, seconds)))
    rows.append(pulsing(QUICK_NODES if options.quick else NODES, 3.0 if options.quick else options.seconds))
    show(rows, ["case", "figure", "sizes", "fission", "slope", "exponent", "wanted"], options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
