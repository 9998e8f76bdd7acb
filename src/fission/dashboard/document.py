"""What the page shows, as one JSON document: computed from two answers of a running network's client.

The browser gets the document once, and then only what has changed (`difference`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fission.client.attach.follow import SHARES, paths, rates

#: Failovers that the page lists, the newest ones. Arbitrary: a list is sent as a whole when one is added.
MOST_FAILOVERS = 100
#: Keys of a job's row that the document takes over; `fission.client.attach.follow.rates` explains them.
JOB_KEYS = ("name", "node", "state", "restarts", "pid", "cpu", "memory", "in_per_s", "out_per_s", "queue", "latency_s")


def document(description: Mapping[str, Any], before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document.

    Args:
        description: members of a `NetworkDescribed`.
        before: members of a `RunStatus` and a `JobsMeasured`.
        after: the same, later.
    """
    rows = {row["id"]: row for row in rates(before, after)}
    placed = {row["id"]: row.get("placed", "") for row in after["jobs"]}
    jobs = {
        str(shape["id"]): {**_job(shape, rows[shape["id"]]), "placed": placed[shape["id"]]}
        for shape in description["jobs"]
        if shape["id"] in rows
    }
    earlier, later = ({row["id"]: row["measured"] for row in answer["jobs"]} for answer in (before, after))
    pipes = {
        str(pipe["id"]): _pipe(pipe, earlier.get(pipe["source"]), later.get(pipe["source"]), jobs.get(str(pipe["source"])))
        for pipe in description["pipes"]
    }
    nodes = {node["name"]: {key: value for key, value in node.items() if key not in ("name", "links")} for node in after["nodes"]}
    return {
        "network": after["network"],
        "run": after["run"],
        "running": True,
        "jobs": jobs,
        "pipes": pipes,
        "nodes": nodes,
        "paths": {f"{path['source']}-{path['sink']}": path for path in paths(after)},
        "inner_paths": {f"{path['source']}-{path['sink']}": path for path in paths(after, "inner_paths")},
        "failovers": list(after["failovers"][-MOST_FAILOVERS:]),
        "failovers_omitted": max(0, len(after["failovers"]) - MOST_FAILOVERS),
    }


def ended(former: Mapping[str, Any], reason: str) -> dict[str, Any]:
    """Return the document of a network that has ended.

    Args:
        former: the last document; may be empty.
        reason: how it ended, and how to continue it.
    """
    return {**former, "running": False, "reason": reason}


def _job(shape: Mapping[str, Any], row: Mapping[str, Any]) -> dict[str, Any]:
    standing = row["standing"]
    return {
        **{key: row[key] for key in JOB_KEYS},
        "local": shape["local"],
        "takes_lines": shape["takes_lines"],
        "groups": list(shape["groups"]),
        "shares": {word: row[word] for word in SHARES},
        "limit": row["mostly"],
        "standing": f"no progress for {standing['seconds']:.0f} s: {standing['reason']}" if standing else None,
    }


def _pipe(
    shape: Mapping[str, Any], old: Mapping[str, Any] | None, new: Mapping[str, Any] | None, source: Mapping[str, Any] | None
) -> dict[str, Any]:
    found: dict[str, Any] = {name: shape[name] for name in ("kind", "source", "target", "optional", "encoding", "rate")}
    found |= {"per_s": None, "queue": None, "dropped": None, "latency_s": None}
    output = _output(new, shape["id"])
    if new is None or output is None:
        return found
    found |= {"queue": output["queue"], "dropped": output["dropped"]}
    past = _output(old, shape["id"])
    if old is None or past is None or old["incarnation"] != new["incarnation"] or new["at"] <= old["at"]:
        return found  # a new incarnation counts from zero
    seconds = new["at"] - old["at"]
    ways = output["way_blocks"] - past["way_blocks"]
    found["per_s"] = round(max(0, output["sent"] - past["sent"]) / seconds, 2)
    found["latency_s"] = round((output["way_s"] - past["way_s"]) / ways, 6) if ways > 0 else None
    return found


def _output(measured: Mapping[str, Any] | None, pipe: int) -> Mapping[str, Any] | None:
    if measured is None:
        return None
    outputs = measured["outputs"]
    found: Mapping[str, Any] | None = outputs.get(str(pipe), outputs.get(pipe))
    return found


def difference(old: Any, new: Any) -> Any:
    """Return the JSON Merge Patch (RFC 7396) that makes ``new`` of ``old``.

    A member whose value is None is left out of the document by it, as the RFC defines; the page
    shows a missing member and null alike.

    Args:
        old: the document that the browser has.
        new: the document that it must get.
    """
    if not isinstance(old, dict) or not isinstance(new, dict):
        return new
    patch: dict[str, Any] = {}
    for key in old.keys() - new.keys():
        if old[key] is not None:
            patch[key] = None
    for key, value in new.items():
        if key not in old or old[key] is None:
            if value is not None:
                patch[key] = without_nulls(value)
        elif value != old[key]:
            part = difference(old[key], value)
            if part or not (isinstance(old[key], dict) and isinstance(value, dict)):  # they may differ in nulls alone
                patch[key] = part
    return patch


def without_nulls(value: Any) -> Any:
    """Return a JSON value without the members of its objects that are null, at every depth."""
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    return value
