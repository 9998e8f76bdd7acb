"""The table of jobs in `status` and `top`, fitted to the terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TextIO

from fission.cli.fitted_table import Column, FittedTable


def number(value: float | None) -> str:
    """Return a measured value; a dash if it is unknown."""
    if value is None:
        return "-"
    return f"{value:.1f}" if value < 1000 else f"{value:.0f}"


def megabytes(value: float | None) -> str:
    """Return bytes in megabytes of 1,000,000; a dash if they are unknown."""
    return "-" if value is None else f"{value / 1e6:.0f}"


def _percent(name: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda row: "-" if row[name] is None else f"{100 * row[name]:.0f}"


def _mostly(row: Mapping[str, Any]) -> str:
    return "-" if row["mostly"] is None else f"{row['mostly']} {row[row['mostly']]:.0%}"


def _milliseconds(row: Mapping[str, Any]) -> str:
    return "-" if row["latency_s"] is None else f"{row['latency_s'] * 1000:.1f}"


#: By heading, which has the unit; shares of time leave together. Rows are those of `fission.client.attach.follow.rates`.
COLUMNS: Mapping[str, Column] = {
    "JOB": Column(lambda row: str(row["name"]), left=True, least=20),
    "NODE": Column(lambda row: row["node"] or "-", left=True, least=10, leaves=6),
    "STATE": Column(lambda row: str(row["state"]), left=True),
    "PID": Column(lambda row: str(row["pid"] or "-"), leaves=2),
    "CPU %": Column(lambda row: number(row["cpu"]), leaves=7),
    "MEM MB": Column(lambda row: megabytes(row["memory"]), leaves=3),
    "IN/S": Column(lambda row: number(row["in_per_s"]), leaves=9),
    "OUT/S": Column(lambda row: number(row["out_per_s"]), leaves=9),
    "QUEUE": Column(lambda row: "-" if row["queue"] is None else str(row["queue"]), leaves=8),
    "LATENCY MS": Column(_milliseconds, leaves=5),
    "RESTARTS": Column(lambda row: str(row["restarts"]), leaves=4),
    "BUSY %": Column(_percent("busy"), leaves=1),
    "IDLE %": Column(_percent("idle"), leaves=1),
    "STARVED %": Column(_percent("starved"), leaves=1),
    "BLOCKED %": Column(_percent("blocked"), leaves=1),
    "MOSTLY": Column(_mostly),
}


def jobs_table(rows: Sequence[Mapping[str, Any]], width: int | None) -> FittedTable:
    """Return the table of these jobs; without a ``width`` it has all columns."""
    return FittedTable(COLUMNS, rows, width)


def standing_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a line for each job that makes no progress."""
    return [
        f"{row['name']}: no progress for {row['standing']['seconds']:.0f} s: {row['standing']['reason']}" for row in rows if row["standing"]
    ]


def terminal_width(stream: TextIO | None = None) -> int | None:
    """Return the line width of a stream in characters; None if it is not a terminal.

    Args:
        stream: standard output if None.
    """
    import shutil
    import sys

    return shutil.get_terminal_size().columns if (stream or sys.stdout).isatty() else None
