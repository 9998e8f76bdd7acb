"""The table of latencies in `status` and `top`: how long blocks are under way from each source to each sink."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fission.cli.fitted_table import Column, FittedTable


def _milliseconds(name: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda row: f"{row[name] * 1000:.1f}"


#: By heading, which has the unit. BLOCKS is the number of measured ones, LATE how many of those compared with DEADLINE came later.
COLUMNS: Mapping[str, Column] = {
    "FROM": Column(lambda row: str(row["source_name"]), left=True, least=16),
    "TO": Column(lambda row: str(row["sink_name"]), left=True, least=16),
    "BLOCKS": Column(lambda row: str(row["blocks"]), leaves=1),
    "MIN MS": Column(_milliseconds("min_s")),
    "P50 MS": Column(_milliseconds("p50_s")),
    "P99 MS": Column(_milliseconds("p99_s")),
    "+/- MS": Column(_milliseconds("uncertainty_s"), leaves=3),
    "LATE": Column(lambda row: "-" if row["late"] is None else f"{row['late']}/{row['judged']}", leaves=2),
}


def path_lines(paths: Sequence[Mapping[str, Any]], width: int | None) -> list[str]:
    """Return the table as lines, an empty line first; none without paths.

    Args:
        paths: rows of `fission.client.attach.follow.paths`.
        width: cells of a line; None: no limit.
    """
    return ["", *FittedTable(COLUMNS, paths, width).lines()] if paths else []
