"""Pipelines written in JSON or YAML.

A file has one pipeline or a list of them::

    graph:                       # what comes behind what; or a list of pairs [before, behind or null]
      Downloader: [GetTextAndWords, GetLinks]
    data: {filename: /tmp/0.data}
    jobs:                        # only where something is to be said
      Downloader: {retries: 2, timeout: 30}
      again: {worker: Downloader, data: {filename: /tmp/1.data}}     # a name of one's own for a second job of a worker
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fission.pipelines.errors import PipelineError
from fission.pipelines.model import Job, Pipeline
from fission.project.names import did_you_mean, shown

FIELDS = {"graph", "data", "jobs"}
JOB_FIELDS = {"worker", "data", "retries", "timeout"}


def read_pipelines(path: Path) -> list[Pipeline]:
    """All pipelines of a file, in order.

    Raises:
        PipelineError: the file cannot be read, is neither JSON nor YAML, or what is in it is no pipeline; names file and pipeline.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise PipelineError(f"{path} cannot be read: {reason}") from None
    content = _json(path, text) if path.suffix == ".json" else _yaml(path, text)
    documents = content if isinstance(content, list) else [content]
    if not documents:
        raise PipelineError(f"{path} has no pipeline")
    found = []
    for number, document in enumerate(documents, 1):
        try:
            found.append(_pipeline(document))
        except PipelineError as error:
            which = f", pipeline {number}" if len(documents) > 1 else ""
            raise PipelineError(f"{path}{which}: {error}") from None
    return found


def _json(path: Path, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PipelineError(f"{path} is not JSON: {error}") from None


def _yaml(path: Path, text: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise PipelineError(f"{path} is neither JSON nor YAML: {' '.join(str(error).split())}") from None


def _pipeline(document: Any) -> Pipeline:
    if not isinstance(document, Mapping) or "graph" not in document:
        raise PipelineError(f"a pipeline must have a graph, is {shown(document)}: {{graph: {{A: [B, C]}}, data: {{...}}}}")
    if unknown := [name for name in document if name not in FIELDS]:
        hint = did_you_mean(str(unknown[0]), FIELDS) or f"; it has {', '.join(sorted(FIELDS))}"
        raise PipelineError(f"a pipeline has no {unknown[0]!r}{hint}")
    said = document.get("jobs") or {}
    if not isinstance(said, Mapping):
        raise PipelineError(f"jobs must say something by name, is {shown(said)}: {{A: {{retries: 2}}}}")
    edges = _edges(document["graph"])
    names = dict.fromkeys(name for edge in edges for name in edge if name is not None)
    if missing := [name for name in said if name not in names]:
        raise PipelineError(f"jobs says something of {missing[0]!r}, which is not in the graph{did_you_mean(str(missing[0]), names)}")
    jobs = {name: _job(name, said.get(name) or {}) for name in names}
    return Pipeline([(jobs[before], None if behind is None else jobs[behind]) for before, behind in edges], data=document.get("data"))


def _edges(graph: Any) -> list[tuple[str, str | None]]:
    if isinstance(graph, Mapping):
        pairs = []
        for before, behind in graph.items():
            several = behind if isinstance(behind, list) else [behind]
            pairs += [(before, one) for one in several or [None]]
    elif isinstance(graph, list) and all(isinstance(edge, list) and len(edge) == 2 for edge in graph):
        pairs = [(before, behind) for before, behind in graph]
    else:
        raise PipelineError(f"a graph must be names with what comes behind them, or a list of pairs, is {shown(graph)}")
    for before, behind in pairs:
        if not isinstance(before, str) or not isinstance(behind, (str, type(None))):
            raise PipelineError(f"a graph must consist of names of jobs, has {shown(before if not isinstance(before, str) else behind)}")
    return pairs


def _job(name: str, said: Any) -> Job:
    if not isinstance(said, Mapping):
        raise PipelineError(f"what is said of {name} must be names and values, is {shown(said)}")
    if unknown := [one for one in said if one not in JOB_FIELDS]:
        raise PipelineError(f"{name} has no {unknown[0]!r}{did_you_mean(str(unknown[0]), JOB_FIELDS) or f'; it has {sorted(JOB_FIELDS)}'}")
    return Job(said.get("worker", name), said.get("data"), said.get("retries", 0), said.get("timeout"))
