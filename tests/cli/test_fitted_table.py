"""Tables fit every terminal, and every column that is shown can be read."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from fission.cli.fitted_table import GAP, LEFT_OUT, Column, FittedTable, shortened
from fission.cli.jobs_table import COLUMNS as JOB_COLUMNS
from fission.cli.nodes_table import COLUMNS as NODE_COLUMNS
from fission.cli.nodes_table import link_lines
from fission.cli.paths_table import COLUMNS as PATH_COLUMNS

NAMES = st.text(st.sampled_from("abz09_ 音声分離器é̈"), min_size=1, max_size=60)
SHARES = ("busy", "idle", "starved", "blocked")


def job(name: str, **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "node": "raspberry-kitchen",
        "state": "running",
        "pid": 1234567,
        "cpu": 312.5,
        "memory": 12_321 << 20,
        "in_per_s": 123_456.0,
        "out_per_s": 999.9,
        "queue": 4096,
        "latency_s": 0.1234,
        "restarts": 3,
        "busy": 0.1,
        "idle": 0.2,
        "starved": 0.65,
        "blocked": 0.05,
        "mostly": "starved",
        "standing": None,
        **changes,
    }


def node(name: str, **changes: Any) -> dict[str, Any]:
    found = {
        "name": name,
        "ip": "192.168.100.117",
        "up": True,
        "jobs": ["a", "b"],
        "max_jobs": 1000,
        "cpu": 100.0,
        "memory": 8e9,
        "TQ": 255,
    }
    return found | changes


JOBS = st.builds(
    job,
    NAMES,
    node=NAMES | st.none(),
    latency_s=st.none() | st.floats(0, 1e4),
    cpu=st.none() | st.floats(0, 1e4),
    queue=st.none() | st.integers(0, 10**7),
)
NODES = st.builds(node, NAMES, ip=st.sampled_from(["10.0.0.1", "2001:db8:1234:5678:90ab:cdef:1234:5678"]), up=st.booleans())


def check(columns: Mapping[str, Column], rows: list[dict[str, Any]], width: int) -> FittedTable:
    """Check what holds for every table, and return it."""
    table = FittedTable(columns, rows, width)
    lines = table.lines()
    assert max(map(cell_len, lines)) <= width, lines
    assert lines[0].split() == " ".join(table.widths).split()  # no heading is cut
    for name, shown in table.widths.items():
        longest = max(cell_len(columns[name].cell(row)) for row in rows)
        assert shown >= min(max(longest, len(name)), columns[name].least or longest), (name, shown, lines)
    staying = {columns[name].leaves for name in table.widths} - {0}
    assert all(0 < columns[name].leaves < min(staying, default=99) for name in table.left), table.left
    if table.left:  # with the ones that left last, it would not fit: what is shown at its least, and they
        last = [name for name in columns if columns[name].leaves == max(columns[name].leaves for name in table.left)]
        cells = [max([len(name), *(cell_len(columns[name].cell(row)) for row in rows)]) for name in [*table.widths, *last]]
        assert sum(cells) + GAP * (len(cells) - 1) > width
    return table


@given(st.lists(JOBS, min_size=1, max_size=6), st.sampled_from([80, 100, 132, 200]))
def test_jobs_fit(rows: list[dict[str, Any]], width: int) -> None:
    table = check(JOB_COLUMNS, rows, width)
    assert {"JOB", "STATE", "IN/S", "OUT/S", "QUEUE", "MOSTLY"} <= set(table.widths)
    assert width < 200 or not table.left


@given(st.lists(NODES, min_size=1, max_size=40), st.sampled_from([80, 100, 132, 200]))
def test_nodes_fit(rows: list[dict[str, Any]], width: int) -> None:
    table = check(NODE_COLUMNS, rows, width)
    assert {"NODE", "STATE", "JOBS", "CPU FREE %"} <= set(table.widths)


@given(st.lists(JOBS, min_size=1, max_size=4))
def test_a_wider_terminal_never_shows_less(rows: list[dict[str, Any]]) -> None:
    shown = [set(FittedTable(JOB_COLUMNS, rows, width).widths) for width in range(40, 220, 4)]
    assert all(narrow <= wide for narrow, wide in pairwise(shown))


@given(NAMES, st.integers(1, 30))
def test_a_shortened_name_fits_and_says_so(name: str, width: int) -> None:
    found = shortened(name, width)
    assert cell_len(found) <= width
    assert found == name or LEFT_OUT in found


def test_the_number_at_the_end_of_a_name_stays() -> None:
    assert shortened("CorrelateWindowsOfManyMicrophonesJob 11", 20) == "CorrelateWind…Job 11"


def test_a_file_has_everything_in_full() -> None:
    table = FittedTable(JOB_COLUMNS, [job("x" * 100)], None)
    assert list(table.widths) == list(JOB_COLUMNS)
    assert "x" * 100 in table.lines()[1]


def test_each_heading_of_a_measured_value_has_its_unit() -> None:
    units = {"%", "MB", "MS", "/S"}
    counts = {"QUEUE", "RESTARTS", "PID", "JOBS", "ROOM", "TQ"}  # numbers of things, and a quality
    words = {"JOB", "NODE", "ADDRESS", "STATE", "MOSTLY"}
    for heading in {*JOB_COLUMNS, *NODE_COLUMNS} - counts - words:
        assert any(heading.endswith(unit) for unit in units), heading


def test_links_between_nodes_with_long_names_are_no_table_that_does_not_fit() -> None:
    names = [f"raspberry-of-the-kitchen-{number}" for number in range(4)]
    links = {name: {"TQ": 200, "rtt": 0.001} for name in names}
    nodes = [{"name": name, "up": True, "links": {other: links[other] for other in names if other != name}} for name in names]
    assert link_lines(nodes, 80) == ["", "TQ between 4 nodes: too many for a table; see status --json"]
    assert len(link_lines(nodes, 200)) == 6


@given(NAMES, NAMES, st.sampled_from([40, 60, 80]))
def test_no_path_from_source_to_sink_becomes_one_letter(source: str, sink: str, width: int) -> None:
    """Both names are needed; what is missing in a narrow terminal is taken from the longer one first."""
    path = {"source_name": source, "sink_name": sink, "blocks": 9, "late": None, "judged": None}
    path |= dict.fromkeys(("min_s", "p50_s", "p99_s", "uncertainty_s"), 0.1234)
    table = FittedTable(PATH_COLUMNS, [path], width)
    assert all(cell_len(line) <= width for line in table.lines())
    assert table.widths["FROM"] >= min(max(4, cell_len(source)), 7)
    assert table.widths["TO"] >= min(cell_len(sink), 7)


class CutTable(FittedTable):
    """A broken table: all columns stay, and each gets the same share of the width."""

    def __init__(self, columns: Mapping[str, Column], rows: list[dict[str, Any]], width: int) -> None:
        super().__init__(columns, rows, None)
        self.widths = dict.fromkeys(self.widths, max(1, (width - GAP * (len(columns) - 1)) // len(columns)))

    def lines(self) -> list[str]:
        return [line[:80] for line in super().lines()]


def test_columns_that_are_cut_to_a_few_letters_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "FittedTable", CutTable)
    with pytest.raises(AssertionError):
        check(JOB_COLUMNS, [job("CountJob 1")], 80)
