"""The names and units of values in ``--json`` of `status`, `top` and `allocate`.

Each name says of what a value is, and its unit where it is not a number of things.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Names of `fission.core.nodes.NodeInfo` -> names of a node in reports.
NODE_NAMES = {
    "cpu": "cpu_free_percent",
    "memory": "memory_free_bytes",
    "disk": "disk_free_bytes",
    "swap": "swap_used_percent",
    "rtt": "rtt_s",
    "clock_offset": "clock_offset_s",
    "clock_error": "clock_error_s",
    "clock_drift": "clock_drift_s_per_s",
}
#: Names in reports of what is known of a node's clock.
CLOCK_NAMES = ("clock_offset_s", "clock_error_s", "clock_drift_s_per_s")
#: Names of `fission.client.attach.follow.rates` -> names of a job in reports.
JOB_NAMES = {"cpu": "cpu_used_percent", "memory": "memory_used_bytes"}
#: Meaning and unit of the values of a node.
NODE_UNITS = {
    "cpu_free_percent": "free time of all processors of the machine, percent; null: not measured",
    "memory_free_bytes": "free memory of the machine; null: not measured",
    "disk_free_bytes": "free space of the disk that jobs work on; null: not measured",
    "swap_used_percent": "swap of the machine in use, percent; null: not measured",
    "rtt_s": "round trip to the node, or over a link, seconds; null: not measured",
    "TQ": "quality of the link from the client to the node, 0 to 255",
    "links": "links that the node has measured, by the name of the other node: TQ, 0 to 255, and rtt_s",
    "clock_offset_s": "seconds by which the node's time of day is ahead of the client's; null: not measured, or the same clock",
    "clock_error_s": "largest error of clock_offset_s, seconds",
    "clock_drift_s_per_s": "seconds by which the node's clock becomes more ahead in each second",
    "max_jobs": "number of jobs that the node takes",
}
#: Meaning and unit of the values of a job. Null: not measured.
JOB_UNITS = {
    "cpu_used_percent": "time of the job's processes on processors, percent of one processor",
    "memory_used_bytes": "memory in use by the job's processes",
    "blocks": "compute blocks done by this process",
    "in_per_s": "blocks processed per second, of all inputs",
    "out_per_s": "blocks sent per second, on all outputs",
    "queue": "blocks sent and not released, on all outputs",
    "latency_s": "time from sending a block until its consumer releases it, seconds",
    "busy": "share of the time, 0 to 1, in which the job computed, or was ready to",
    "idle": "share in which it slept in run or setup: waited for a clock, a device, a socket, a typed line",
    "starved": "share in which it waited for blocks",
    "blocked": "share in which it waited for room in an output",
    "mostly": "the largest of the four shares",
    "late": "measured blocks that came later than the job's DEADLINE; null: it has none",
    "judged": "measured blocks that were compared with it",
}
#: Meaning and unit of the values of a path.
PATH_UNITS = {
    "source": "id of the job that makes the blocks",
    "sink": "id of the job that is done with them: one without outputs, or with a DEADLINE",
    "blocks": "blocks measured in the last minute",
    "min_s": "the least time from making a block until the sink is done with it, seconds",
    "p50_s": "half of the blocks took no longer, seconds",
    "p99_s": "99 of 100 took no longer, seconds",
    "uncertainty_s": "largest error that the clocks of two machines cause, seconds; 0 on one machine",
    "late": "measured blocks that came later than the sink's DEADLINE; null: it has none",
    "judged": "measured blocks that were compared with it",
}


def node_as_json(node: Mapping[str, Any]) -> dict[str, Any]:
    """Return a node, named for a report."""
    found = {NODE_NAMES.get(name, name): value for name, value in node.items()}
    if found.get("links"):
        found["links"] = {
            other: {NODE_NAMES.get(name, name): value for name, value in link.items()} for other, link in found["links"].items()
        }
    return found


def job_as_json(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a job, named for a report."""
    return {JOB_NAMES.get(name, name): value for name, value in row.items()}
