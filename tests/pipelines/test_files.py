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
        ("3", "p.yaml: a pipeline must have a graph, but is 3"),
        ("grph: {A: B}", "must have a graph"),
        ("graph: {A: B}\ndta: {}", "a pipeline has no 'dta'; did you mean 'data'?"),
        ("graph: {A: B}\njobs: {C: {retries: 1}}", "jobs has settings of 'C', which is not in the graph"),
        ("graph: {A: B}\njobs: {A: {retry: 1}}", "A has no 'retry'; did you mean 'retries'?"),
        ("graph: {A: B}\njobs: {A: 3}", "the settings of A must be names and values"),
        ("graph: {A: B}\njobs: [A]", "jobs must map names of jobs to their settings"),
        ("graph: {A: {B: C}}", "must consist of names of jobs, but has {'B': 'C'}"),
        ("graph: [A, B]", "a graph must map jobs to the jobs after them, or be a list of pairs"),
        ("graph: {A: B, B: A}", "no starter"),
        ("- graph: {A: B}\n- graph: {A: B, B: C, C: B}", "p.yaml, pipeline 2: the pipeline has a cycle"),
        ("graph: {A: B}\ndata: 3", "data must be a dict or None, but is 3"),
        ("graph: {A: B}\ndata: {when: 2020-01-01}", "must be JSON values"),
        ("graph: {A: B", "is neither JSON nor YAML"),
        ("graph: {'no name': B}", "must be the name of a class, but is 'no name'"),
        ("!!python/object/apply:os.system ['true']", "is neither JSON nor YAML"),
    ],
)
def test_mistakes_are_reported(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(PipelineError) as found:
        read_pipelines(written(tmp_path, text))
    assert message in str(found.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"nothing.yaml cannot be read: No such file or directory"):
        read_pipelines(tmp_path / "nothing.yaml")
    (tmp_path / "p.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PipelineError, match="it is not UTF-8 text"):
        read_pipelines(tmp_path / "p.yaml")
    with pytest.raises(PipelineError, match="is not JSON"):
        read_pipelines(written(tmp_path, "graph: {A: B}", "p.json"))


TWICE = [
    ("graph: {W: [], W: [After]}\n", "W", 1, 1),
    ("graph:\n  W: []\n  X: W\n  W: [After]\n", "W", 2, 4),
    ("graph: {A: B}\ndata: {x: 1}\ndata: {x: 2}\n", "data", 2, 3),
    ("graph: {A: B}\ndata:\n  deep:\n    - {x: 1}\n    - y: 1\n      'y': 2\n", "y", 5, 6),
    ("graph: {A: B}\njobs:\n  A:\n    retries: 1\n    timeout: 2\n    retries: 3\n", "retries", 4, 6),
    ("- graph: {A: B}\n- graph: {A: B}\n  graph: {A: C}\n", "graph", 2, 3),
]
TWICE_JSON = [
    ('{"graph": {"W": [], "W": ["After"]}}', "W", 1, 1),
    ('{"graph": {"A": "B"},\n "data": {"x": "W: {",\n "x": [\n{"y": 1}]}}', "x", 2, 3),
    ('[{"graph": {"A": "B"}},\n{"graph": {"A": "B"}, "data": [{"k":\n1, "\\u006b": 2}]}]', "k", 2, 3),
    ('{"graph": {"A": "B"}, "data": {"a": {"b": {"c": 1,\n\n"c": 1}}, "c": 2, "b": 3}}', "c", 1, 3),
]


@pytest.mark.parametrize(("text", "key", "first", "second"), TWICE)
def test_a_key_that_is_there_twice_is_refused_with_both_lines(tmp_path: Path, text: str, key: str, first: int, second: int) -> None:
    with pytest.raises(PipelineError) as found:
        read_pipelines(written(tmp_path, text))
    assert f"p.yaml:{second}: the key '{key}' appears twice, in lines {first} and {second}; remove one" in str(found.value)


@pytest.mark.parametrize(("text", "key", "first", "second"), TWICE_JSON)
def test_the_same_in_json(tmp_path: Path, text: str, key: str, first: int, second: int) -> None:
    with pytest.raises(PipelineError) as found:
        read_pipelines(written(tmp_path, text, "p.json"))
    assert f"p.json:{second}: the key '{key}' appears twice, in lines {first} and {second}; remove one" in str(found.value)


def test_a_key_that_is_there_once_in_several_places(tmp_path: Path) -> None:
    text = "base: &b {retries: 1}\n".join(["", "graph: {A: B, B: C}\njobs: {A: {<<: *b, retries: 2}, B: *b}\n"])
    with pytest.raises(PipelineError) as found:
        read_pipelines(written(tmp_path, text))
    assert "twice" not in str(found.value), "what a merge brings may be written again"
    read_pipelines(written(tmp_path, json.dumps({"graph": {"A": "B", "B": "A1"}, "data": {"A": {"A": ["A", "A"]}, "x": "A"}}), "p.json"))


def test_all_faults_of_a_file_are_reported_together(tmp_path: Path) -> None:
    text = """
- graph: {A: B, 'no name': 3}
  dta: {x: 1}
  jobs: {A: {retry: 1, retries: -1, timeout: 0}, C: {}}
  data: 3
  priority: high
- graph: {A: B, B: A}
  priority: high
- 3
- graph: {X: Y}
  graph: {X: Z}
  data: {x: 1, x: 2}
"""
    with pytest.raises(PipelineError) as found:
        read_pipelines(written(tmp_path, text))
    said = str(found.value)
    for fault in (
        "pipeline 1: a pipeline has no 'dta'; did you mean 'data'?",
        "pipeline 1: a graph must consist of names of jobs, but has 3",
        "pipeline 1: A has no 'retry'",
        "pipeline 1: A: retries must be",
        "pipeline 1: A: timeout must be",
        "pipeline 1: a pipeline's data must be a dict or None, but is 3",
        "pipeline 2: a pipeline's priority must be",
        "pipeline 2: the pipeline has no starter",
        "pipeline 3: a pipeline must have a graph, but is 3",
        "the key 'graph' appears twice, in lines 10 and 11",
        "the key 'x' appears twice, in lines 12 and 12",
    ):
        assert fault in said, said
    assert len(said.splitlines()) == 12, said


def test_a_priority(tmp_path: Path) -> None:
    (found,) = read_pipelines(written(tmp_path, "graph: {A: B}\npriority: 7\n"))
    assert found.priority == 7
    for priority in ("high", "1.5", "true", "1001"):
        with pytest.raises(PipelineError, match="a pipeline's priority must be a whole number from -1000 to 1000"):
            read_pipelines(written(tmp_path, f"graph: {{A: B}}\npriority: {priority}\n"))
