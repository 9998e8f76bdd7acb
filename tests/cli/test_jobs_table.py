"""The table of jobs shows what the rows say."""

from __future__ import annotations

from fission.cli.jobs_table import jobs_table, standing_lines
from fission.cli.json_names import JOB_NAMES, JOB_UNITS, NODE_NAMES, NODE_UNITS, job_as_json, node_as_json
from tests.cli.test_fitted_table import job, node


def test_the_largest_share_is_shown_in_80_columns() -> None:
    unknown = job("SourceJob 2", node=None, mostly=None, busy=None, idle=None, starved=None, blocked=None, pid=None)
    lines = jobs_table([job("CorrelateWindowsJob 11"), unknown], 80).lines()
    assert lines[1].endswith("  starved 65%")
    assert lines[2].endswith("  -")


def test_shares_leave_together() -> None:
    shares = {"BUSY %", "IDLE %", "STARVED %", "BLOCKED %"}
    for width in range(30, 250):
        assert len(shares & set(jobs_table([job("A 1")], width).widths)) in (0, 4)


def test_a_stalled_job_is_named() -> None:
    standing = {"seconds": 12.4, "reason": "its process is stopped by a signal, in run"}
    assert standing_lines([job("A 1"), job("B 2", standing=standing)]) == [
        "B 2: no progress for 12 s: its process is stopped by a signal, in run"
    ]


def test_no_name_in_a_report_says_less_than_of_what_it_is_and_its_unit() -> None:
    """Memory may be used or free, cpu of a job or of a machine: the bare words appear in no report."""
    shown = node_as_json(node("n1", disk=1, swap=0.0, rtt=0.1, links={"n2": {"TQ": 1, "rtt": 0.2}}))
    assert shown["links"] == {"n2": {"TQ": 1, "rtt_s": 0.2}}
    row = job_as_json(job("A 1"))
    for report, names, units in ((shown, NODE_NAMES, NODE_UNITS), (row, JOB_NAMES, JOB_UNITS)):
        assert not {"cpu", "memory", "disk", "swap", "rtt", "off_cpu"} & report.keys()
        assert set(names.values()) <= units.keys()
    assert (row["memory_used_bytes"], row["cpu_used_percent"]) == (12_321 << 20, 312.5)
