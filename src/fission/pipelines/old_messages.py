"""Pipelines as pypelinin sends them: (name, value) pairs, JSON's arrays on the wire, with whole jobs in the graph's edges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fission.pipelines.errors import PipelineError
from fission.pipelines.model import Job, fields_of


def is_old(information: Any) -> bool:
    """Whether this may be a pipeline of pypelinin; `Pipeline.deserialize` takes everything else."""
    if isinstance(information, Mapping):
        return "graph" in information and "jobs" not in information
    if not isinstance(information, (list, tuple)):
        return False
    names = [pair[0] for pair in information if isinstance(pair, (list, tuple)) and len(pair) == 2]
    return "graph" in names and "jobs" not in names


def old_graph(information: Any, job_class: type[Job] = Job) -> tuple[list[tuple[Job, Job | None]], dict[str, Any] | None, int]:
    """Edges, data and priority of a pipeline of pypelinin.

    Args:
        information: what its `Pipeline.serialize` returned, as it is or out of JSON.
        job_class: of the jobs in the edges.

    Raises:
        PipelineError: it is not that.
    """
    fields = fields_of(information, "a pipeline", {"graph", "data", "priority"})
    graph, data = fields.get("graph"), fields.get("data")
    if not isinstance(graph, (list, tuple)):
        raise PipelineError(f"a pipeline's graph must be a list of edges, is a {type(graph).__name__}")
    edges = []
    for edge in graph:
        if not isinstance(edge, (list, tuple)) or len(edge) != 2:
            raise PipelineError("an edge must be a pair of jobs, or a job and null")
        edges.append((job_class.deserialize(edge[0]), None if edge[1] is None else job_class.deserialize(edge[1])))
    if data is not None and not isinstance(data, Mapping):
        data = fields_of(data, "a pipeline's data", None)
    return edges, None if data is None else dict(data), fields.get("priority", 0)


def old_job(job: Mapping[str, Any], data: Mapping[str, Any] | None) -> list[Any]:
    """A job as pypelinin sends it.

    Args:
        job: as `Job.as_message` gives it.
        data: instead of its own; None: its own.
    """
    found = {**job, "data": job.get("data") if data is None else data}
    if found["data"] is None:
        del found["data"]
    else:
        found["data"] = [[name, value] for name, value in found["data"].items()]
    return [[name, value] for name, value in found.items()]


def old_pipeline(body: Mapping[str, Any]) -> list[Any] | None:
    """A pipeline as pypelinin sends it; None if it cannot be: there, jobs of the same worker are one job.

    Args:
        body: as `Pipeline.as_message` gives it.
    """
    jobs = body["jobs"]
    if len({job["worker_name"] for job in jobs}) != len(jobs):
        return None
    data = body.get("data")
    own = any(job.get("data") is not None for job in jobs)
    written = [old_job(job, data if own and job.get("data") is None else None) for job in jobs]
    graph = [[written[before], None if after is None else written[after]] for before, after in body["graph"]]
    # a pipeline's data are for all jobs there: those of its own would be lost
    return [["graph", graph], ["data", None if data is None or own else [[name, value] for name, value in data.items()]]]
