"""Measures how long the sink waits for a new block on three hosts: a killed job, a killed service, a pulled cable.

The source is on the first host and sends 200 blocks/s. The stateful job is on one of the other two and is lost repeatedly; the sink is
on the client's host. Each fault gives one row of times: until the loss is detected, until the job is placed, until its new incarnation
has sent its first message, until its first new block is at the sink. The first three come from the run's event log, the last one from
the sink. Every block must arrive exactly once. Needs root: see tests/cluster/hosts.py.

    python -m benchmarks.hosts_failover [--runs 10] [--rate 200] [--json FILE]
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from itertools import pairwise

from benchmarks.chain import arguments, show
from benchmarks.fault_times import PARTS, TOTAL, times
from benchmarks.machines import Machines, until

SILENCE_S = 0.5  # five pulses must be missed before a cut can be detected
#: The sink.
SINK = 3
#: Number of blocks that must arrive before the network counts as steady.
STEADY_ROWS = 100


def killed_job(machines: Machines, name: str) -> None:
    """Kill the job's process with SIGKILL."""
    node = machines.nodes[name]
    until(lambda: node.job(TOTAL, machines.network), "the process of the job").kill()


def killed_service(machines: Machines, name: str) -> None:
    """Kill the service with SIGKILL; its fork server and jobs die with it."""
    machines.nodes[name].process.kill()


def restarted_service(machines: Machines, name: str) -> None:
    """Restart the service, as a service manager would."""
    machines.nodes[name].process.wait()
    machines.start(name)


def cut(machines: Machines, name: str) -> None:
    """Pull the cable."""
    machines.nodes[name].host.link(False)


def plugged(machines: Machines, name: str) -> None:
    """Plug the cable in again."""
    machines.nodes[name].host.link(True)


class Run:
    """One run of the network, with its faults and their results."""

    def __init__(self, machines: Machines, rate: float) -> None:
        """Args: machines: hosts with services. rate: blocks per second."""
        self._machines = machines
        self._client = machines.run(count=10**9, rate=rate)
        self._moments: list[float] = []

    def arrivals(self) -> list[list[str]]:
        """Return the arrivals that the sink has recorded."""
        path = self._machines.local / str(SINK) / "arrivals.txt"
        return [line.split() for line in path.read_text().split("\n")[:-1]] if path.exists() else []

    def steady(self) -> None:
        """Wait for blocks to flow, with both nodes there."""
        before = len(self.arrivals())
        until(lambda: len(self.arrivals()) > before + STEADY_ROWS, "blocks flow")

    def fault(self, do: Callable[[Machines, str], None], undo: Callable[[Machines, str], None] | None) -> None:
        """Cause a fault on the host of the stateful job, and undo it."""
        self.steady()
        machines = self._machines
        launches = [event for event in machines.events() if event["what"] == "Launch" and event["job"] == TOTAL]
        name = launches[-1]["node"]
        self._moments.append(time.time())
        do(machines, name)
        until(lambda: self._launches() > len(launches), f"a new incarnation after {do.__name__}")
        self.steady()
        if undo is not None:
            ups = self._ups(name)
            undo(machines, name)
            until(lambda: self._ups(name) > ups, f"{name} is back")

    def _launches(self) -> int:
        return sum(event["what"] == "Launch" and event["job"] == TOTAL for event in self._machines.events())

    def _ups(self, name: str) -> int:
        return sum(event["what"] == "NodeUp" and event["node"] == name for event in self._machines.events())

    def end(self) -> list[dict[str, float]]:
        """Stop the run with Ctrl-C; return the times of each fault, in seconds."""
        self._machines.stop(self._client)
        lines = self.arrivals()
        blocks = [(int(number), int(total)) for _, number, total in lines]
        if blocks != [(number, number * (number + 1) // 2) for number in range(1, len(blocks) + 1)]:
            raise RuntimeError(f"{len(blocks)} blocks came, and not each of them once")
        events = self._machines.events()
        return [
            times(moment, following, events, [float(line[0]) for line in lines])
            for moment, following in pairwise([*self._moments, float("inf")])
        ]


CASES = (
    ("job killed", killed_job, None, 0.25),
    ("service killed", killed_service, restarted_service, 0.4),
    ("cable cut", cut, plugged, SILENCE_S + 0.3),
)


def main() -> int:
    """Print the table and write the JSON."""
    parser = arguments(__doc__, runs=10)
    parser.add_argument("--rate", type=float, default=200, help="blocks a second")
    options = parser.parse_args()
    rows = []
    for name, do, undo, wanted in CASES:
        with Machines("failover", ["FIRST", "OTHERS", "OTHERS"]) as machines:
            run = Run(machines, options.rate)
            for _ in range(options.runs):
                run.fault(do, undo)
            found = run.end()
        medians = {part: round(statistics.median(one[part] for one in found) * 1e3) for part in PARTS}
        worst = round(max(one["all"] for one in found) * 1e3)
        rows.append({"case": f"{name}, ms", **medians, "worst": worst, "wanted": f"<= {wanted * 1e3:.0f}"})
    print(f"p50 of {options.runs} faults, one after the other; 'all' is from the fault to the first new block at the sink")
    show(rows, ["case", *PARTS, "worst", "wanted"], options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
