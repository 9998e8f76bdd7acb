"""Shared by the benchmarks: the chain network, runs in pairs, tables."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.networks.chain.meter import DEFAULTS
from benchmarks.peers import PEERS, merged

PROJECT = Path(__file__).resolve().parent / "networks"
MB = 1_000_000


def fission_chain(order: dict[str, Any]) -> dict[str, float]:
    """Run the chain network by the command line, as a user does.

    Args:
        order: what networks/chain/meter.py and networks/chain/config.py list.

    Returns:
        what `benchmarks.peers.merged` returns, and `start_s`, seconds to the first block.

    Raises:
        RuntimeError: the network failed, or lost blocks.
    """
    started = time.time()
    with subprocess.Popen(command(), **surroundings(order)) as process:
        if process.wait(timeout=600):
            raise RuntimeError(f"the chain network ended with exit code {process.returncode}")
    result = outcome(order)
    return result | {"start_s": result["first_block_at"] - started}


def command() -> list[str]:
    """Return the command that runs the chain network."""
    return [sys.executable, "manage.py", "chain", "simulate"]


def surroundings(order: dict[str, Any]) -> dict[str, Any]:
    """Keywords for `subprocess.Popen` to run a network with such an order."""
    quiet: Any = subprocess.DEVNULL
    environment = os.environ | {"FISSION_BENCH": json.dumps(order)}
    return {"cwd": PROJECT, "env": environment, "stdin": quiet, "stdout": quiet, "stderr": quiet}


@contextlib.contextmanager
def compiled() -> Iterator[dict[str, str]]:
    """Yield variables of the environment with which Python keeps what it has compiled, as it does for users.

    Where the environment forbids it, each process compiles FISSION first. The files are removed at the end.
    """
    with tempfile.TemporaryDirectory(prefix="fission-bench-") as folder:
        variables = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        yield variables | {"PYTHONPYCACHEPREFIX": folder}


def outcome(order: dict[str, Any], folder: Path = PROJECT / "chain" / "simulation") -> dict[str, float]:
    """What the jobs of the last run of the chain wrote."""
    hops, sinks = order.get("hops", 2), order.get("sinks", 1)
    results = [json.loads((folder / str(hops + 1 + number) / "result.json").read_text()) for number in range(sinks)]
    cpu_files = [folder / str(job) / "cpu.json" for job in range(1, hops + sinks + 1)]
    cpu = [json.loads(file.read_text()) if file.exists() else 0.0 for file in cpu_files]  # a program writes none
    return merged(results, cpu, order)


def against_peers(
    case: str, order: dict[str, Any], figures: dict[str, str], runs: int, peers: tuple[str, ...] = ("bare", "careful", "ezmsg")
) -> list[dict[str, Any]]:
    """Run the chain network and its peers in turn; return a row for each figure.

    Args:
        case: the name of the rows.
        order: of the chain network; the peers get what networks/chain/meter.py lists.
        figures: what is compared, with what is wanted of it.
        runs: how often each runs.
        peers: names of PEERS.

    Returns:
        rows with the medians of the network and of each peer, and as "to PEER" the medians of the ratios of neighbours.
    """
    common = {key: value for key, value in order.items() if key in DEFAULTS}
    rounds = [{"fission": fission_chain(order)} | {peer: PEERS[peer](common) for peer in peers} for _ in range(runs)]
    return compared(case, rounds, figures, peers)


def compared(
    case: str, rounds: Sequence[dict[str, dict[str, float]]], figures: dict[str, str], peers: Sequence[str]
) -> list[dict[str, Any]]:
    """Return the rows of `against_peers`.

    Args:
        case: as there.
        rounds: of each round, the results of "fission" and of the peers, by name. All of a round share the machine's other load, so the
            ratios within it are more reliable than the ratio of the medians.
        figures: as there.
        peers: as there.
    """
    rows = []
    for figure, wanted in figures.items():
        row: dict[str, Any] = {"case": case, "figure": figure}
        for name in ("fission", *peers):
            row[name] = _rounded(statistics.median(one[name][figure] for one in rounds))
        for peer in peers:
            row[f"to {peer}"] = round(statistics.median(one["fission"][figure] / one[peer][figure] for one in rounds), 2)
        rows.append(row | {"wanted": wanted})
    return rows


#: The columns of `against_peers`.
COLUMNS = ("case", "figure", "fission", "bare", "careful", "ezmsg", "to bare", "to careful", "to ezmsg", "wanted")


def _rounded(value: float) -> float:
    return round(value) if value >= 100 else round(value, 2)


def paired(
    mine: Callable[[], dict[str, float]], theirs: Callable[[], dict[str, float]], figure: str, runs: int, digits: int = 0
) -> dict[str, Any]:
    """Run both alternately; return the medians of a figure, the median of the ratios of neighbours, and all ratios.

    Neighbours share the machine's other load, so their ratios are more reliable than the ratio of the medians.
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
    """Return a parser with the options of every benchmark."""
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
