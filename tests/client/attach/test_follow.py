"""Two measurements of a network, turned into rates and shares."""

from __future__ import annotations

from typing import Any

from fission.client.attach.follow import rates


def look(at: float, incarnation: int = 1, **changes: Any) -> dict[str, Any]:
    measured: dict[str, Any] = {
        "incarnation": incarnation,
        "at": at,
        "blocks": 0,
        "inputs": {"1": {"done": 0}},
        "outputs": {"2": {"sent": 0, "queue": 0, "dropped": 0, "way_s": 0.0, "way_blocks": 0}},
        "busy_s": 0.0,
        "idle_s": at,
        "starved_s": 0.0,
        "blocked_s": 0.0,
        "cpu_s": 0.0,
        "memory": 1000,
    }
    row = {
        "id": 5,
        "name": "Job 5",
        "state": "running",
        "node": "a",
        "restarts": incarnation - 1,
        "pid": 4711,
        "measured": measured | changes,
    }
    return {"jobs": [row]}


def test_events_between_two_measurements() -> None:
    later = look(
        12.0,
        blocks=90,
        inputs={"1": {"done": 100}, "3": {"done": 20}},
        outputs={"2": {"sent": 80, "queue": 7, "dropped": 0, "way_s": 0.6, "way_blocks": 3}},
        busy_s=0.25,
        idle_s=10.25,
        starved_s=0.5,
        blocked_s=1.0,
        cpu_s=0.25,
    )
    before = look(10.0, inputs={"1": {"done": 20}, "3": {"done": 0}})
    assert rates(before, later) == [
        {
            "id": 5,
            "name": "Job 5",
            "node": "a",
            "state": "running",
            "restarts": 0,
            "cpu": 12.5,
            "memory": 1000,
            "blocks": 90,
            "in_per_s": 50.0,
            "out_per_s": 40.0,
            "queue": 7,
            "latency_s": 0.2,
            "busy": 0.125,
            "idle": 0.125,
            "starved": 0.25,
            "blocked": 0.5,
            "mostly": "blocked",
            "pid": 4711,
            "late": None,
            "judged": None,
            "standing": None,
        }
    ]


def test_a_job_that_sent_nothing_has_no_latency() -> None:
    assert rates(look(10.0), look(11.0))[0]["latency_s"] is None


def test_a_new_incarnation_has_no_rates_yet() -> None:
    (row,) = rates(look(10.0, blocks=1000), look(11.0, incarnation=2, blocks=5))
    assert (row["blocks"], row["restarts"], row["memory"]) == (5, 1, 1000)
    assert row["cpu"] is row["in_per_s"] is row["busy"] is row["latency_s"] is None


def test_a_job_that_does_not_answer() -> None:
    silent = look(11.0)
    silent["jobs"][0] |= {"measured": None, "state": "starting"}
    for before, after in ((look(10.0), silent), (silent, look(12.0))):
        (row,) = rates(before, after)
        assert row["cpu"] is row["out_per_s"] is row["busy"] is None
    assert rates(look(10.0), silent)[0]["state"] == "starting"
    assert rates(look(10.0), silent)[0]["pid"] == 4711  # the one that is stopped is the one to look at


def test_shares_stay_within_the_whole() -> None:
    (row,) = rates(look(10.0, starved_s=2.0), look(11.0, starved_s=3.7, idle_s=9.0, cpu_s=3.0))
    assert (row["starved"], row["idle"], row["cpu"], row["mostly"]) == (1.0, 0.0, 300.0, "starved")
