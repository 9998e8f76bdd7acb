"""Pipelines in pypelinin's form: (name, value) pairs, arrays in JSON, with whole jobs in the edges
of the graph.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fission.pipelines.errors import PipelineError
from fission.pipelines.model import Job
from fission.pipelines.user_values import fields_of


def is_pypelinin_form(information: Any) -> bool:
    """Return whether this may be a pipeline in pypelinin's form; `Pipeline.deserialize` takes
    everything else.
    """
    if isinstance(information, Mapping):
        return "graph" in information and "jobs" not in information
    if not isinstance(information, (list, tuple)):
        return False
    names = [pair[0] for pair in information if isinstance(pair, (list, tuple)) and len(pair) == 2]
    return "graph" in names and "jobs" not in names


def read_pipeline(information: Any, job_class: type[Job] = Job) -> tuple[list[tuple[Job, Job | None]], dict[str, Any] | None, int]:
    """Return edges, data and priority of a pipeline in pypelinin's form.

    Args:
        information: what pypelinin's `Pipeline.serialize` returned, before or after a way through
            JSON.
        job_class: class of the jobs in the edges.

    Raises:
        PipelineError: it is malformed.
    """
    fields = fields_of(information, "a pipeline", {"graph", "data", "priority"})
    graph, data = fields.get("graph"), fields.get("data")
    if not isinstance(graph, (list, tuple)):
        raise PipelineError(f"a pipeline's graph must be a list of edges, but is a {type(graph).__name__}")
    edges = []
    for edge in graph:
        if not isinstance(edge, (list, tuple)) or len(edge) != 2:
            raise PipelineError("an edge must be a pair of jobs, or a job and null")
        edges.append((job_class.deserialize(edge[0]), None if edge[1] is None else job_class.deserialize(edge[1])))
    if data is not None and not isinstance(data, Mapping):
        data = fields_of(data, "a pipeline's data", None)
    return edges, None if data is None else dict(data), fields.get("priority", 0)


def written_job(job: Mapping[str, Any], data: Mapping[str, Any] | None) -> list[Any]:
    """Return a job in pypelinin's form.

    Args:
        job: as `Job.as_message` returns it.
        data: replaces the job's data; None: the job's own.
    """
    found = {**job, "data": job.get("data") if data is None else data}
    if found["data"] is None:
        del found["data"]
    else:
        found["data"] = [[name, value] for name, value in found["data"].items()]
    return [[name, value] for name, value in found.items()]


def written_pipeline(body: Mapping[str, Any]) -> list[Any] | None:
    """Return a pipeline in pypelinin's form; None if that is impossible: there, jobs of the same
    worker are one job.

    Args:
        body: as `Pipeline.as_message` returns it.
    """
    jobs = body["jobs"]
    if len({job["worker_name"] for job in jobs}) != len(jobs):
        return None
    data = body.get("data")
    own = any(job.get("data") is not None for job in jobs)
    written = [written_job(job, data if own and job.get("data") is None else None) for job in jobs]
    graph = [[written[earlier], None if later is None else written[later]] for earlier, later in body["graph"]]
    # in pypelinin a pipeline's data replace those of all jobs, so they must be left out if jobs have their own
    return [["graph", graph], ["data", None if data is None or own else [[name, value] for name, value in data.items()]]]
