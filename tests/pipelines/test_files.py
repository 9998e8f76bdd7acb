"""Pipelines written in JSON or YAML."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fission.pipelines import Job, Pipeline, PipelineError
from fission.pipelines.files import read_pipelines


def written(tmp_path: Path, text: str, name: str = "p.yaml") -> Path:
    (tmp_path / name).write_text(text)
    return tmp_path / name


def test_one_and_several(tmp_path: Path) -> None:
    text = "graph: {A: [B, C], B: D, C: D, E: }\ndata: {x: 1}\njobs: {A: {retries: 2, timeout: 1.5}}\n"
    (found,) = read_pipelines(written(tmp_path, text))
    want = {Job("A"): (Job("B"), Job("C")), Job("B"): Job("D"), Job("C"): Job("D"), Job("E"): None}
    assert found == Pipeline(want, data={"x": 1})
    assert [(job.retries, job.timeout) for job in found.jobs if job.worker_name == "A"] == [(2, 1.5)]
    document = {"graph": [["A", "B"], ["C", None]]}
    several = read_pipelines(written(tmp_path, json.dumps([document, document]), "p.json"))
    assert several == [Pipeline([(Job("A"), Job("B")), (Job("C"), None)])] * 2


def test_one_worker_twice(tmp_path: Path) -> None:
    text = "graph: {first: Join, second: Join}\njobs: {first: {worker: A, data: {n: 1}}, second: {worker: A, data: {n: 2}}}\n"
    (found,) = read_pipelines(written(tmp_path, text))
    assert found == Pipeline({(Job("A", {"n": 1}), Job("A", {"n": 2})): Job("Join")})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "p.yaml has no pipeline"),
        ("3", "p.yaml: a pipeline must have a graph, is 3"),
        ("grph: {A: B}", "must have a graph"),
        ("graph: {A: B}\ndta: {}", "a pipeline has no 'dta'; did you mean 'data'?"),
        ("graph: {A: B}\njobs: {C: {retries: 1}}", "jobs says something of 'C', which is not in the graph"),
        ("graph: {A: B}\njobs: {A: {retry: 1}}", "A has no 'retry'; did you mean 'retries'?"),
        ("graph: {A: B}\njobs: {A: 3}", "what is said of A must be names and values"),
        ("graph: {A: B}\njobs: [A]", "jobs must say something by name"),
        ("graph: {A: {B: C}}", "must consist of names of jobs, has {'B': 'C'}"),
        ("graph: [A, B]", "a graph must be names with what comes behind them, or a list of pairs"),
        ("graph: {A: B, B: A}", "no starter"),
        ("- graph: {A: B}\n- graph: {A: B, B: C, C: B}", "p.yaml, pipeline 2: the pipeline has a circle"),
        ("graph: {A: B}\ndata: 3", "data must be a dict or None, is 3"),
        ("graph: {A: B}\ndata: {when: 2020-01-01}", "must be of what JSON has"),
        ("graph: {A: B", "is neither JSON nor YAML"),
        ("graph: {'no name': B}", "must be the name of a class, is 'no name'"),
        ("!!python/object/apply:os.system ['true']", "is neither JSON nor YAML"),
    ],
)
def test_what_is_wrong_is_told(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(PipelineError) as found:
        read_pipelines(written(tmp_path, text))
    assert message in str(found.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"nothing.yaml cannot be read: No such file or directory"):
        read_pipelines(tmp_path / "nothing.yaml")
    (tmp_path / "p.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PipelineError, match="it is no UTF-8 text"):
        read_pipelines(tmp_path / "p.yaml")
    with pytest.raises(PipelineError, match="is not JSON"):
        read_pipelines(written(tmp_path, "graph: {A: B}", "p.json"))
