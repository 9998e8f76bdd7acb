"""The table of jobs fits the terminal."""

from __future__ import annotations

from typing import Any

import pytest

from fission.cli.jobs_table import LAYOUTS, WHOLE, columns_for, job_lines, standing_lines


def row(name: str, **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "node": "raspberry-kitchen",
        "state": "running",
        "pid": 123456,
        "cpu": 12.5,
        "memory": 321 << 20,
        "in_per_s": 12345.0,
        "out_per_s": 999.9,
        "queue": 4096,
        "latency_s": 0.1234,
        "restarts": 3,
        "busy": 0.1,
        "off_cpu": 0.2,
        "starved": 0.65,
        "blocked": 0.05,
        "standing": None,
        **changes,
    }


ROWS = [row("CorrelateWindowsJob 11"), row("SourceJob 2", node=None, busy=None, off_cpu=None, starved=None, blocked=None, pid=None)]


@pytest.mark.parametrize("width", [45, 60, 80, 100, 120, 150, 250])
def test_no_line_is_longer_than_the_terminal_and_no_heading_is_cut(width: int) -> None:
    lines = job_lines(ROWS, width)
    assert max(map(len, lines)) <= width
    assert all(name in lines[0] for name in columns_for(ROWS, width))
    assert "CorrelateWindowsJob 11" in lines[1]
    assert width < 60 or "starved 65%" in lines[1] or "65%" in lines[1]


def test_a_wide_terminal_and_a_file_have_everything() -> None:
    assert columns_for(ROWS, 250) == columns_for(ROWS, None) == WHOLE
    assert columns_for(ROWS, 10) == LAYOUTS[-1]


def test_at_80_columns_the_rates_are_there() -> None:
    assert {"JOB", "STATE", "IN/S", "OUT/S", "QUEUE", "MOSTLY"} <= set(columns_for(ROWS, 80))


def test_a_stalled_job_is_named() -> None:
    standing = {"seconds": 12.4, "reason": "its process is stopped by a signal, in run"}
    assert standing_lines([row("A 1"), row("B 2", standing=standing)]) == [
        "B 2: no progress for 12 s: its process is stopped by a signal, in run"
    ]
