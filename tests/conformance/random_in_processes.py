"""Random networks under `fission NETWORK simulate`: one process for each job, some are killed."""

from __future__ import annotations

import asyncio
import json
import random
import tempfile
from pathlib import Path
from typing import Any

from fission.client import simulate
from fission.client.run.coordinator import Coordinator
from fission.client.run.plan import Companion
from fission.project.config import load
from tests.conformance import random_jobs
from tests.conformance.random_networks import PROGRAM_SINK, PROGRAMS, Node, Plan, calculated, judge

#: Limit in seconds of a network; far more than any needs, even if nine share two CPUs.
DEADLINE_S = 90.0
#: Pause in seconds of a source between two blocks, so that kills find the network at work.
PACE_S = 0.002

CONFIG = """
import json
from fractions import Fraction
from types import SimpleNamespace
from net.random_jobs import FileEnd, build

RESTARTS = 1000
RESTART_WINDOW = 0.001
PULSE_INTERVAL = 2


def node(values):
    return SimpleNamespace(**{{**values, "scale": Fraction(values["scale"])}}, is_program=values["kind"] in (*PROGRAMS, "seq", "keeps"))


PROGRAMS = {{name: (script, ratio and Fraction(ratio)) for name, (script, ratio) in json.loads({programs!r}).items()}}
JOBS = build([node(values) for values in json.loads({nodes!r})], PROGRAMS, FileEnd, {pace})
"""


def write(plan: Plan, root: Path) -> None:
    """Write the files of a project with this network."""
    nodes = json.dumps([{**vars(node), "scale": str(node.scale)} for node in plan.nodes])
    programs = json.dumps({name: (script, ratio and str(ratio)) for name, (script, ratio) in PROGRAMS.items()})
    folder = root / "net"
    folder.mkdir()
    (root / "manage.py").write_text("")
    (folder / "__init__.py").write_text("")
    (folder / "random_jobs.py").write_text(Path(random_jobs.__file__).read_text())
    (folder / "config.py").write_text(CONFIG.format(programs=programs, nodes=nodes, pace=PACE_S))


def killer(plan: Plan) -> Companion:
    """Return a companion that kills jobs of a network, and programs of executables, at random times."""

    async def kill(coordinator: Coordinator) -> None:
        rng = random.Random(f"kills {plan.seed}")
        engine: Any = coordinator.engine
        for _ in range(rng.randint(2, 5)):
            await asyncio.sleep(rng.uniform(0.1, 0.6))
            for index in rng.sample(range(len(plan.nodes)), min(rng.choice([1, 1, 2]), len(plan.nodes))):
                engine.kill_job(index + 1)

    return kill


def run(plan: Plan, *, kills: bool = False) -> str:
    """Run a plan; return what is wrong, empty if nothing is."""
    with tempfile.TemporaryDirectory(prefix="random-") as name:
        root = Path(name)
        write(plan, root)
        companions = [killer(plan)] if kills else []
        summary = simulate(load(root, "net", simulation=True), stdin=False, duration=DEADLINE_S, companions=companions)
        lines = "\n".join(summary.lines())
        if (summary.exit_code, summary.reason) != (0, "finished"):
            return f"{summary.reason} (exit code {summary.exit_code})\n{lines}\n" + "\n".join(str(one) for one in summary.failures)
        wanted = calculated(plan.nodes)
        for index, node in enumerate(plan.nodes):
            if node.kind == PROGRAM_SINK:
                path = root / f"net/simulation/{index + 1}/rows.txt"
                got = [json.loads(f"[{line}]") for line in path.read_text().splitlines()]
                values = [[value for value, _ in line] if len(line) > 1 else line[0][0] for line in got]
                if wrong := judge(node, values, json.loads(json.dumps(wanted[index]))):
                    return f"job {index + 1}: {wrong}\n{lines}"
            if node.kind == "sink" and (wrong := judged(node, root / f"net/simulation/{index + 1}/rows.jsonl", wanted[index])):
                return f"job {index + 1}: {wrong}\n{lines}"
        return ""


def judged(node: Node, path: Path, wanted: list[Any]) -> str:
    """Return what is wrong with a sink's file.

    A new incarnation may receive rows again that an earlier one had written, unchanged.
    """
    text = path.read_text() if path.exists() else ""
    rows = [json.loads(line) for line in text.split("\n")[:-1]]
    wanted = json.loads(json.dumps(wanted))
    if node.max_queue:
        return judge(node, rows, wanted)
    following = 0
    for row in rows:
        if following < len(wanted) and row == wanted[following]:
            following += 1
        elif row in wanted[:following]:
            following = wanted.index(row) + 1  # a new incarnation begins with unreleased rows
        else:
            return f"row {row} does not follow row {following} of {len(wanted)}"
    return "" if following == len(wanted) else f"{following} rows instead of {len(wanted)}"
