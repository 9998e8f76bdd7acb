"""The table of jobs in `status` and `top`, fitted to the terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

#: Number of spaces between two columns.
GAP = 2


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.1f}" if value < 1000 else f"{value:.0f}"


def _share(name: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda row: "-" if row[name] is None else f"{row[name]:.0%}"


def _mostly(row: Mapping[str, Any]) -> str:
    shares = {name: row[name] for name in SHARES if row[name] is not None}
    if not shares:
        return "-"
    name = max(shares, key=lambda name: float(shares[name]))
    return f"{SHARES[name]} {shares[name]:.0%}"


def _memory(row: Mapping[str, Any]) -> str:
    return "-" if row["memory"] is None else f"{row['memory'] / 2**20:.0f} MB"


def _latency(row: Mapping[str, Any]) -> str:
    return "-" if row["latency_s"] is None else f"{row['latency_s'] * 1000:.1f} ms"


#: How a job spends its time: key of a row -> words of the table.
SHARES = {"busy": "busy", "off_cpu": "off cpu", "starved": "starved", "blocked": "blocked"}
COLUMNS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "JOB": lambda row: str(row["name"]),
    "NODE": lambda row: row["node"] or "-",
    "STATE": lambda row: str(row["state"]),
    "PID": lambda row: str(row["pid"] or "-"),
    "CPU %": lambda row: _number(row["cpu"]),
    "MEMORY": _memory,
    "IN/S": lambda row: _number(row["in_per_s"]),
    "OUT/S": lambda row: _number(row["out_per_s"]),
    "QUEUE": lambda row: "-" if row["queue"] is None else str(row["queue"]),
    "LATENCY": _latency,
    "RESTARTS": lambda row: str(row["restarts"]),
    "BUSY": _share("busy"),
    "OFF CPU": _share("off_cpu"),
    "STARVED": _share("starved"),
    "BLOCKED": _share("blocked"),
    "MOSTLY": _mostly,
}
WHOLE = tuple(name for name in COLUMNS if name != "MOSTLY")
#: Sets of columns, the widest first: the first one that fits is used.
LAYOUTS = (
    WHOLE,
    ("JOB", "NODE", "STATE", "PID", "CPU %", "MEMORY", "IN/S", "OUT/S", "QUEUE", "LATENCY", "RESTARTS", "MOSTLY"),
    ("JOB", "NODE", "STATE", "CPU %", "MEMORY", "IN/S", "OUT/S", "QUEUE", "MOSTLY"),
    ("JOB", "STATE", "CPU %", "IN/S", "OUT/S", "QUEUE", "MOSTLY"),
    ("JOB", "STATE", "IN/S", "OUT/S", "MOSTLY"),
    ("JOB", "STATE", "MOSTLY"),
)
#: Left-aligned columns.
LEFT = ("JOB", "NODE", "STATE")


def columns_for(rows: Sequence[Mapping[str, Any]], width: int | None) -> tuple[str, ...]:
    """Return the columns of a table of these jobs that fits ``width`` characters; None: all
    columns.
    """
    for layout in LAYOUTS:
        needed = sum(max(len(name), *(len(COLUMNS[name](row)) for row in rows), 0) for name in layout) + GAP * (len(layout) - 1)
        if width is None or needed <= width:
            return layout
    return LAYOUTS[-1]


def job_lines(rows: Sequence[Mapping[str, Any]], width: int | None) -> list[str]:
    """Return the table of these jobs as lines, headings first."""
    layout = columns_for(rows, width)
    cells = [list(layout), *([COLUMNS[name](row) for name in layout] for row in rows)]
    widths = [max(len(line[index]) for line in cells) for index in range(len(layout))]
    return [
        (" " * GAP)
        .join(cell.ljust(size) if name in LEFT else cell.rjust(size) for cell, size, name in zip(line, widths, layout, strict=True))
        .rstrip()
        for line in cells
    ]


def standing_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a line for each job that makes no progress."""
    return [
        f"{row['name']}: no progress for {row['standing']['seconds']:.0f} s: {row['standing']['reason']}" for row in rows if row["standing"]
    ]


def terminal_width() -> int | None:
    """Return the line width of standard output in characters; None if it is not a terminal."""
    import shutil
    import sys

    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None
