"""The page's document: what limits a job, the rates of pipes, and patches that lose nothing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fission.client.attach.follow import rates
from fission.dashboard.document import MOST_FAILOVERS, difference, document, ended, without_nulls

VALUES: Any = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text("ab<", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1, max_size=1), inner, max_size=3),
    max_leaves=12,
)
DOCUMENTS = st.dictionaries(st.text("abc", min_size=1, max_size=1), VALUES, max_size=3)


def merged(target: Any, patch: Any) -> Any:
    """Apply a JSON Merge Patch as RFC 7396 words it, for comparison."""
    if not isinstance(patch, dict):
        return patch
    found = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            found.pop(name, None)
        else:
            found[name] = merged(found.get(name), value)
    return found


@given(DOCUMENTS, DOCUMENTS)
@example({"a": {}}, {"a": {"a": None}})
def test_a_patch_makes_the_new_document_of_the_old_one(old: dict[str, Any], new: dict[str, Any]) -> None:
    patch = difference(old, new)
    assert merged(without_nulls(old), patch) == without_nulls(new)
    assert (patch == {}) == (without_nulls(old) == without_nulls(new))


def without_removals(old: Any, new: Any) -> Any:
    """A broken difference: forgets what is gone."""
    return {key: value for key, value in difference(old, new).items() if value is not None}


def test_a_patch_that_forgets_what_is_gone_is_caught() -> None:
    old, new = {"a": {"b": 1}, "c": 2}, {"a": {"b": 1}}
    assert merged(without_nulls(old), without_removals(old, new)) != new


# -- rows ----------------------------------------------------------------------------------------------------------------


def measured(
    at: float, *, sent: int = 0, starved: float = 0.0, blocked: float = 0.0, cpu: float = 0.0, incarnation: int = 1
) -> dict[str, Any]:
    output = {"sent": sent, "queue": 3, "dropped": 0, "way_s": 0.001 * sent, "way_blocks": sent}
    return {
        "incarnation": incarnation,
        "at": at,
        "blocks": sent,
        "inputs": {},
        "outputs": {"1": output},
        "busy_s": cpu,
        "idle_s": at - cpu - starved - blocked,
        "starved_s": starved,
        "blocked_s": blocked,
        "cpu_s": cpu,
        "memory": 1000,
    }


def answer(source: dict[str, Any] | None, sink: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return what the client of a network of two jobs says."""
    rows = [
        {
            "id": number,
            "name": f"{name} {number}",
            "state": "running",
            "node": "n1",
            "restarts": 0,
            "pid": 7,
            "measured": one,
            "standing": None,
        }
        for number, name, one in ((1, "Source", source), (2, "Sink", sink))
    ]
    nodes = [{"name": "n1", "ip": "", "up": True, "links": {}, "jobs": ["Source 1", "Sink 2"]}]
    return {"network": "net", "run": "1", "time": 0.0, "jobs": rows, "nodes": nodes, "failovers": []}


SHAPE = {
    "jobs": [
        {"id": 1, "name": "Source 1", "local": False, "groups": ["ALL"], "takes_lines": False},
        {"id": 2, "name": "Sink 2", "local": True, "groups": ["LOCAL"], "takes_lines": True},
    ],
    "pipes": [{"id": 1, "kind": "PicklePipe", "source": 1, "target": 2, "optional": False, "encoding": "pickle", "rate": None}],
}


@pytest.mark.parametrize(
    ("source", "sink", "limits"),
    [
        ({"cpu": 1.9}, {"starved": 1.9}, ("busy", "starved")),
        ({"cpu": 0.1}, {"starved": 1.9}, ("idle", "starved")),  # the source sleeps in run
        ({"blocked": 1.8}, {"cpu": 1.9}, ("blocked", "busy")),
        ({"blocked": 1.8}, {"cpu": 0.2}, ("blocked", "idle")),  # the sink waits for a disk
    ],
)
def test_what_limits_a_job(source: dict[str, float], sink: dict[str, float], limits: tuple[str, str]) -> None:
    before = answer(measured(1.0), measured(1.0))
    shown = document(SHAPE, before, answer(measured(3.0, **source), measured(3.0, **sink)))  # type: ignore[arg-type]
    assert (shown["jobs"]["1"]["limit"], shown["jobs"]["2"]["limit"]) == limits
    top = rates(before, answer(measured(3.0, **source), measured(3.0, **sink)))  # type: ignore[arg-type]
    assert tuple(row["mostly"] for row in top) == limits


def test_the_rate_of_a_pipe_is_that_of_the_interval() -> None:
    shown = document(SHAPE, answer(measured(1.0, sent=100)), answer(measured(3.0, sent=120)))
    pipe = shown["pipes"]["1"]
    assert (pipe["per_s"], pipe["queue"], pipe["latency_s"]) == (10.0, 3, 0.001)
    assert shown["jobs"]["2"]["limit"] is None  # it has not answered


@pytest.mark.parametrize("before", [None, measured(1.0, sent=500, incarnation=1)])
def test_a_new_incarnation_counts_from_zero(before: dict[str, Any] | None) -> None:
    pipe = document(SHAPE, answer(before), answer(measured(3.0, sent=20, incarnation=2)))["pipes"]["1"]
    assert (pipe["per_s"], pipe["queue"]) == (None, 3)


def test_a_network_that_has_ended_keeps_its_last_picture() -> None:
    shown = document(SHAPE, answer(measured(1.0)), answer(measured(3.0)))
    assert ended(shown, "it is over") == {**shown, "running": False, "reason": "it is over"}
    assert ended({}, "it does not run") == {"running": False, "reason": "it does not run"}


def test_the_list_of_failovers_is_bounded() -> None:
    many = {**answer(measured(3.0)), "failovers": [f"failover {number}" for number in range(MOST_FAILOVERS + 5)]}
    shown = document(SHAPE, answer(measured(1.0)), many)
    assert (len(shown["failovers"]), shown["failovers"][0], shown["failovers_omitted"]) == (MOST_FAILOVERS, "failover 5", 5)
