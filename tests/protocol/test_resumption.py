"""The decision table of `run --resume-or-start`."""

from __future__ import annotations

import pytest

from fission.protocol.resumption import Beginning, RunRecord, resume_or_start

START, RESUME = Beginning


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        (None, START),
        (RunRecord(began=False), START),  # killed before its first job: there is nothing to lose
        (RunRecord(began=False, exit_code=3, reason="no place for Sum 3"), START),
        (RunRecord(began=True), RESUME),  # SIGKILL, power cut, SIGTERM, Ctrl-C, `stop`, the end of --for
        (RunRecord(began=True, exit_code=0, reason="finished"), START),
        (RunRecord(began=True, exit_code=1, reason="Sum 3 failed"), RESUME),
        (RunRecord(began=True, exit_code=3, reason="no place for Sum 3"), RESUME),
    ],
)
def test_how_a_client_begins(last: RunRecord | None, expected: Beginning) -> None:
    assert resume_or_start(last) is expected
