"""What the programs here share: the chain network, runs in pairs, tables."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent / "networks"
MB = 1_000_000
#: Payload of a small block.
SMALL = b"12345678"


def fission_chain(count: int, **order: Any) -> dict[str, float]:
    """Run the chain network by the command line, as a user does; return what its sink wrote, and the start in seconds.

    Args:
        count: blocks.
        order: further entries of FISSION_BENCH; see networks/chain/config.py.
    """
    started = time.time()
    with subprocess.Popen(command(), **surroundings(count, **order)) as process:
        if process.wait(timeout=600):
            raise RuntimeError(f"the chain network ended with exit code {process.returncode}")
    result = outcome(order.get("hops", 2))
    return result | {"start_s": result["first_block_at"] - started}


def command() -> list[str]:
    """The command that runs the chain network."""
    return [sys.executable, "manage.py", "chain", "simulate"]


def surroundings(count: int, **order: Any) -> dict[str, Any]:
    """Keywords for `subprocess.Popen` to run it with such an order."""
    quiet: Any = subprocess.DEVNULL
    environment = os.environ | {"FISSION_BENCH": json.dumps({"count": count, **order})}
    return {"cwd": PROJECT, "env": environment, "stdin": quiet, "stdout": quiet, "stderr": quiet}


def outcome(hops: int) -> dict[str, float]:
    """What the sink of the last run wrote."""
    result: dict[str, float] = json.loads((PROJECT / "chain" / "simulation" / str(hops + 1) / "result.json").read_text())
    return result


def paired(
    mine: Callable[[], dict[str, float]], theirs: Callable[[], dict[str, float]], figure: str, runs: int, digits: int = 0
) -> dict[str, Any]:
    """Run both in turn; return the medians of a figure, and the median of the ratios of neighbours, with all ratios.

    Neighbours share what else the machine does at the time: their ratios say more than the ratio of the medians.
    """
    pairs = [(mine()[figure], theirs()[figure]) for _ in range(runs)]
    ratios = [ours / other for ours, other in pairs]
    return {
        "figure": figure,
        "fission": round(statistics.median(ours for ours, _ in pairs), digits or None),
        "against": round(statistics.median(other for _, other in pairs), digits or None),
        "ratio": round(statistics.median(ratios), 2),
        "ratios": [round(ratio, 2) for ratio in sorted(ratios)],
    }


def arguments(description: str | None, runs: int = 5) -> argparse.ArgumentParser:
    """A parser with what every program takes."""
    parser = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=runs)
    parser.add_argument("--json", type=Path, help="write the rows there too")
    return parser


def show(rows: Sequence[dict[str, Any]], columns: Sequence[str], options: argparse.Namespace) -> None:
    """Print the table and write the JSON."""
    lines = [list(columns)] + [[str(row.get(column, "")) for column in columns] for row in rows]
    widths = [max(len(line[index]) for line in lines) for index in range(len(columns))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    if options.json:
        options.json.write_text(json.dumps({"runs": options.runs, "rows": list(rows)}, indent=2) + "\n")
