"""What a client reports to its service manager."""

from __future__ import annotations

import pytest

from fission.client.run.service_notices import runs, status_line
from fission.protocol.supervision import JobState

PENDING, STARTING, RUNNING, FAILED, FINISHED = JobState


@pytest.mark.parametrize(
    ("states", "away", "expected"),
    [
        ((RUNNING, RUNNING), (), "2 of 2 jobs run on 3 of 3 nodes"),
        (
            (PENDING, PENDING),
            ("cam1", "cam2"),
            "0 of 2 jobs run on 1 of 3 nodes; waiting for a place: Job 1, Job 2; nodes away: cam1, cam2",
        ),
        ((RUNNING, FAILED), (), "1 of 2 jobs run on 3 of 3 nodes; waiting for the next start: Job 2"),
        ((RUNNING, STARTING, FINISHED), (), "1 of 3 jobs run on 3 of 3 nodes; finished: 1"),
        (
            (PENDING,) * 7,
            (),
            "0 of 7 jobs run on 3 of 3 nodes; waiting for a place: Job 1, Job 2, Job 3, Job 4, Job 5 and 2 more",
        ),
    ],
)
def test_the_status_is_one_line(states: tuple[JobState, ...], away: tuple[str, ...], expected: str) -> None:
    assert status_line({f"Job {number}": state for number, state in enumerate(states, 1)}, away, 3) == expected


@pytest.mark.parametrize(
    ("states", "expected"),
    [((RUNNING, FINISHED), True), ((RUNNING, STARTING), False), ((PENDING,), False), ((RUNNING, FAILED), False)],
)
def test_a_network_runs_when_every_job_does(states: tuple[JobState, ...], expected: bool) -> None:
    assert runs(states) is expected
