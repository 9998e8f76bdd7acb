"""Pipelines written in JSON or YAML.

A file has one pipeline or a list of them::

    graph:                       # what runs after what; or a list of pairs [before, after or null]
      Downloader: [GetTextAndWords, GetLinks]
    data: {filename: /tmp/0.data}
    priority: 5                  # larger ones run first; default 0
    jobs:                        # optional settings of jobs
      Downloader: {retries: 2, timeout: 30}
      again: {worker: Downloader, data: {filename: /tmp/1.data}}  # a second job of a worker

All faults of a file are reported together.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from fission.pipelines.duplicate_keys import json_duplicates, yaml_duplicates
from fission.pipelines.errors import PipelineError
from fission.pipelines.model import Job, Pipeline
from fission.project.names import did_you_mean, shown

T = TypeVar("T")

FIELDS = {"graph", "data", "jobs", "priority"}
JOB_FIELDS = {"worker", "data", "retries", "timeout", "tag"}


def read_pipelines(path: Path) -> list[Pipeline]:
    """Read all pipelines of a file, in order.

    Raises:
        PipelineError: the file cannot be read, is neither JSON nor YAML, has a duplicate key, or
            contains something other than pipelines. Names the file and the pipeline; one line for
            each fault.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise PipelineError(f"{path} cannot be read: {reason}") from None
    content, twice = _json(path, text) if path.suffix == ".json" else _yaml(path, text)
    documents = content if isinstance(content, list) else [content]
    if not documents:
        raise PipelineError(f"{path} has no pipeline")
    faults = [f"{path}:{second}: the key {key!r} appears twice, in lines {first} and {second}; remove one" for key, first, second in twice]
    found = []
    for number, document in enumerate(documents, 1):
        which = f", pipeline {number}" if len(documents) > 1 else ""
        pipeline, wrong = _pipeline(document)
        faults += [f"{path}{which}: {fault}" for fault in wrong]
        if pipeline is not None:
            found.append(pipeline)
    if faults:
        raise PipelineError("\n".join(faults))
    return found


def _json(path: Path, text: str) -> tuple[Any, list[tuple[str, int, int]]]:
    try:
        return json.loads(text), json_duplicates(text)
    except (ValueError, RecursionError) as error:
        raise PipelineError(f"{path} is not JSON: {error}") from None


def _yaml(path: Path, text: str) -> tuple[Any, list[tuple[str, int, int]]]:
    import yaml

    try:
        return yaml.safe_load(text), yaml_duplicates(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise PipelineError(f"{path} is neither JSON nor YAML: {' '.join(str(error).split())}") from None


def _pipeline(document: Any) -> tuple[Pipeline | None, list[str]]:
    """Return the pipeline, or all its faults."""
    if not isinstance(document, Mapping) or "graph" not in document:
        return None, [f"a pipeline must have a graph, but is {shown(document)}: {{graph: {{A: [B, C]}}, data: {{...}}}}"]
    faults = [
        f"a pipeline has no {name!r}{did_you_mean(str(name), FIELDS) or '; it has ' + ', '.join(sorted(FIELDS))}"
        for name in document
        if name not in FIELDS
    ]
    settings = document.get("jobs") or {}
    if not isinstance(settings, Mapping):
        faults.append(f"jobs must map names of jobs to their settings, but is {shown(settings)}: {{A: {{retries: 2}}}}")
        settings = {}
    edges, wrong = _edges(document["graph"])
    faults += wrong
    names = dict.fromkeys(name for edge in edges for name in edge if name is not None)
    if not wrong:
        faults += [
            f"jobs has settings of {name!r}, which is not in the graph{did_you_mean(str(name), names)}"
            for name in settings
            if name not in names
        ]
    jobs: dict[str, Job] = {}
    for name in names:
        job = _try(lambda name=name: _job(name, settings.get(name) or {}), faults)  # type: ignore[misc]
        if job is not None:
            jobs[name] = job
    data, priority = document.get("data"), document.get("priority", 0)
    _try(lambda: Pipeline([(Job("A"), None)], data=data), faults)
    _try(lambda: Pipeline([(Job("A"), None)], priority=priority), faults)
    if wrong or len(jobs) < len(names):
        return None, faults
    pairs = [(jobs[before], None if after is None else jobs[after]) for before, after in edges]
    _try(lambda: Pipeline(pairs), faults)  # a circle is a fault like others
    return (None if faults else Pipeline(pairs, data=data, priority=priority)), faults


def _try(make: Callable[[], T], faults: list[str]) -> T | None:
    try:
        return make()
    except PipelineError as error:
        faults += str(error).splitlines()
        return None


def _edges(graph: Any) -> tuple[list[tuple[str, str | None]], list[str]]:
    if isinstance(graph, Mapping):
        pairs: list[tuple[Any, Any]] = []
        for before, after in graph.items():
            several = after if isinstance(after, list) else [after]
            pairs += [(before, after) for after in several or [None]]
    elif isinstance(graph, list) and all(isinstance(edge, list) and len(edge) == 2 for edge in graph):
        pairs = [(before, after) for before, after in graph]
    else:
        return [], [f"a graph must map jobs to the jobs after them, or be a list of pairs, but is {shown(graph)}"]
    bad = [
        *(before for before, _ in pairs if not isinstance(before, str)),
        *(after for _, after in pairs if not isinstance(after, (str, type(None)))),
    ]
    return [edge for edge in pairs if edge[0] not in bad and edge[1] not in bad], [
        f"a graph must consist of names of jobs, but has {text}" for text in dict.fromkeys(map(shown, bad))
    ]


def _job(name: str, settings: Any) -> Job:
    if not isinstance(settings, Mapping):
        raise PipelineError(f"the settings of {name} must be names and values, but are {shown(settings)}")
    faults = list(_unknown(name, settings))
    worker = settings.get("worker", name)
    if _try(lambda: Job(worker), faults) is not None:  # each setting alone, so that all faults are found
        for field in ("data", "retries", "timeout", "tag"):
            if field in settings:
                _try(lambda field=field: Job(worker, **{field: settings[field]}), faults)  # type: ignore[misc]
    if faults:
        raise PipelineError("\n".join(faults))
    return Job(worker, settings.get("data"), settings.get("retries", 0), settings.get("timeout"), tag=settings.get("tag"))


def _unknown(name: str, settings: Mapping[Any, Any]) -> Iterable[str]:
    for field in settings:
        if field not in JOB_FIELDS:
            yield f"{name} has no {field!r}{did_you_mean(str(field), JOB_FIELDS) or f'; it has {sorted(JOB_FIELDS)}'}"
