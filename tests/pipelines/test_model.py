"""Pipeline, Job, Worker: the valid forms, and the messages for the others."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import fission.pipelines
import pypelinin
from fission.pipelines import Job, Pipeline, PipelineError, Worker


def names(jobs: Any) -> set[str]:
    return {job.worker_name for job in jobs}


def edges(pipeline: Pipeline) -> set[tuple[str, str]]:
    return {
        (pipeline.jobs[before].worker_name, job.worker_name)
        for job, after in zip(pipeline.jobs, pipeline.after(), strict=True)
        for before in after
    }


@pytest.mark.parametrize(
    ("graph", "starters", "arrows"),
    [
        ({Job("A"): Job("B")}, "A", "AB"),
        ({Job("A"): [Job("B")]}, "A", "AB"),
        ({(Job("A"),): (Job("B"),)}, "A", "AB"),
        ({(Job("A"), Job("C")): Job("B")}, "A C", "AB CB"),
        ({(Job("A"), Job("C")): [Job("B"), Job("D")]}, "A C", "AB AD CB CD"),
        ({Job("A"): []}, "A", ""),
        ({Job("A"): None}, "A", ""),
        ({Job("A"): (), Job("B"): []}, "A B", ""),
        ({Job("A"): Job("B"), Job("B"): Job("C")}, "A", "AB BC"),
        ({Job("A"): [Job("B"), Job("C")], Job("B"): Job("C")}, "A", "AB AC BC"),
        ([(Job("A"), Job("B")), (Job("C"), None)], "A C", "AB"),
        ([(Job("A"), Job("B")), (Job("A"), Job("B"))], "A", "AB"),
    ],
)
def test_the_ways_to_write_a_graph(graph: Any, starters: str, arrows: str) -> None:
    pipeline = Pipeline(graph)
    assert names(pipeline.starters) == set(starters.split())
    assert edges(pipeline) == {(arrow[0], arrow[1]) for arrow in arrows.split()}
    again = Pipeline.deserialize(pipeline.serialize())
    assert again == pipeline
    assert hash(again) == hash(pipeline)
    assert again.serialize() == pipeline.serialize()


BAD = [
    ({"test": 123}, "must consist of Job objects, but has|must be Job objects"),
    ({Job("A"): 123}, "must be Job objects, or a tuple or list of them, but is 123"),
    ({Job("A"): ["B"]}, r"must consist of Job objects, but has 'B': Job\('B'\)"),
    ([(Job("A"), Job("B"), Job("C"))], "an edge must be a pair"),
    ([(None, Job("B"))], "must consist of Job objects, but has None"),
    (Job("A"), "must be a dict of jobs, or a list of edges"),
    ({}, "must have at least one job"),
    ([], "must have at least one job"),
    ({Job("A"): Job("A")}, "no starter: every job comes after another one"),
    ({Job("A"): Job("B"), Job("B"): Job("A")}, "no starter"),
    ({Job("A"): Job("B"), Job("B"): Job("C"), Job("C"): Job("B")}, "has a cycle: (B -> C -> B|C -> B -> C)"),
]


@pytest.mark.parametrize(("graph", "message"), BAD, ids=[message[:30] for _, message in BAD])
def test_bad_graphs(graph: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as found:
        Pipeline(graph)
    assert isinstance(found.value, PipelineError)


BAD_DATA = [
    (3, "a pipeline's data must be a dict or None, but is 3"),
    ({"x": object()}, "must be JSON values"),
    ({"x": float("nan")}, "must be JSON values"),
    ({1: 2}, "must have only str as keys, but has 1"),
    ({"x": [{None: 2}]}, "must have only str as keys, but has None"),
    ({"x": b"bytes"}, "must be JSON values"),
]


@pytest.mark.parametrize(("data", "message"), BAD_DATA, ids=[message[:30] for _, message in BAD_DATA])
def test_bad_data(data: Any, message: str) -> None:
    with pytest.raises(PipelineError, match=message):
        Pipeline({Job("A"): None}, data=data)
    with pytest.raises(PipelineError, match=message.replace("a pipeline's data", r"the data of Job\('A'\)")):
        Job("A", data)


def test_data_that_contain_themselves() -> None:
    data: dict[str, Any] = {}
    data["me"] = data
    data["both"] = [data, data]
    with pytest.raises(PipelineError, match="must be nested at most 100 levels deep"):
        Job("A", data)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"worker_name": 3}, "must be the name of a class, but is 3"),
        ({"worker_name": ""}, "must be the name of a class, but is ''"),
        ({"worker_name": "not a name"}, "must be the name of a class"),
        ({"worker_name": "A" * 300}, "must have at most 200 characters, but has 300: AAA"),
        ({"worker_name": "A", "retries": 10**400}, "retries must be a whole number from 0 to 1000000"),
        ({"worker_name": "A", "timeout": 10**400}, "timeout must be a number of seconds"),
        ({"worker_name": "A", "retries": -1}, "A: retries must be a whole number from 0 to 1000000, but is -1"),
        ({"worker_name": "A", "retries": True}, "retries must be a whole number"),
        ({"worker_name": "A", "retries": 1.5}, "retries must be a whole number"),
        ({"worker_name": "A", "timeout": 0}, "timeout must be a number of seconds above 0, at most 1e.09, or None, but is 0"),
        ({"worker_name": "A", "timeout": float("inf")}, "timeout must be a number"),
        ({"worker_name": "A", "timeout": "3"}, "timeout must be a number"),
    ],
)
def test_bad_jobs(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(PipelineError, match=message):
        Job(**arguments)


def test_jobs_are_equal_by_worker_and_data() -> None:
    assert Job("A") == Job("A")
    assert Job("A") != Job("B")
    assert Job("A", {"x": 1}) != Job("A")
    assert Job("A") != "A"
    assert hash(Job("A", {"x": 1})) == hash(Job("A", {"x": 1}))
    assert repr(Job("A")) == "Job('A')"
    assert repr(Job("A", {"x": 1}, retries=2, timeout=3)) == "Job('A', data={'x': 1}, retries=2, timeout=3)"


def test_jobs_are_restored_from_their_serialized_form() -> None:
    for job in (Job("A"), Job("A", {"x": [1]}), Job("A", retries=1, timeout=2.5)):
        again = Job.deserialize(job.serialize())
        assert (again, again.retries, again.timeout) == (job, job.retries, job.timeout)
    assert Job.deserialize((("worker_name", "A"), ("data", (("x", 1),)))) == Job("A", {"x": 1}), "pairs, as the old library sent them"
    for bad in ({}, {"worker_name": "A", "color": 1}, 3, [1], {"worker_name": "A", "data": 3}, [(1, 2)]):
        with pytest.raises(ValueError, match=r"job|data"):
            Job.deserialize(bad)


@pytest.mark.parametrize(
    "information",
    [
        {},
        {"jobs": [], "graph": []},
        {"jobs": [{"worker_name": "A"}], "graph": [[0, 1]]},
        {"jobs": [{"worker_name": "A"}], "graph": [[0]]},
        {"jobs": [{"worker_name": "A"}], "graph": [[True, None]]},
        {"jobs": [{"worker_name": "A"}, {"worker_name": "A"}], "graph": [[0, 1]]},
        {"jobs": [{"worker_name": "A"}], "graph": [[0, None]], "more": 1},
        {"jobs": 3, "graph": []},
        [],
        None,
        "pipeline",
    ],
)
def test_invalid_pipelines_are_refused(information: Any) -> None:
    with pytest.raises(PipelineError):
        Pipeline.deserialize(information)


def test_data_reach_every_job_that_has_none_and_the_written_jobs_stay() -> None:
    one, own = Job("A"), Job("B", {"own": 1})
    graph = {one: own}
    first, second = Pipeline(graph, data={"n": 1}), Pipeline(graph, data={"n": 2})
    assert [job.data for job in first.jobs] == [{"n": 1}, {"own": 1}]
    assert [job.data for job in second.jobs] == [{"n": 2}, {"own": 1}]
    assert one.data is None
    assert first != second
    assert Pipeline(graph) != first
    assert (first.id, first.started_at, first.finished, first.duration, first.error) == (None, None, False, None, None)


def test_one_worker_twice_with_other_data() -> None:
    pipeline = Pipeline({(Job("A", {"n": 1}), Job("A", {"n": 2})): Job("B")})
    assert len(pipeline.jobs) == 3
    assert '"A 2" -> "B"' in str(pipeline)


def test_str_and_save_dot(tmp_path: Path) -> None:
    pipeline = Pipeline({Job("A"): (Job("B"), Job("C"))})
    text = 'digraph graphname {\n    "A";\n    "B";\n    "C";\n\n    "A" -> "B";\n    "A" -> "C";\n}'
    assert str(pipeline) == text
    pipeline.save_dot(tmp_path / "graph.dot")
    assert (tmp_path / "graph.dot").read_text() == text + "\n"
    assert repr(pipeline) == "<Pipeline: A, B, C>"
    assert repr(Pipeline({Job("A"): None}, data={"x": 1})) == "<Pipeline: A, data=...>"


@pytest.mark.parametrize("name", ['a"b', "a\\", '\\"', 'x";y->"z'])
def test_any_workers_name_is_one_node_of_the_graph(name: str) -> None:
    ends = str(Pipeline({Job(name): Job("end")})).splitlines()[-2].strip().removesuffix(' -> "end";')
    assert re.fullmatch(r'"(?:[^"\\]|\\.)*"', ends), ends
    assert ends[1:-1].replace('\\"', '"').replace("\\\\", "\\") == name


def test_a_worker_without_process() -> None:
    class Lazy(Worker):
        pass

    with pytest.raises(NotImplementedError, match="Lazy must define process"):
        Lazy().process({})


def test_pypelinin_has_all_names_of_fission_pipelines() -> None:
    assert set(fission.pipelines.__all__) <= set(pypelinin.__all__)
    own = {"Job", "Pipeline", "PipelineManager"}
    for name in set(fission.pipelines.__all__) - own:
        assert getattr(pypelinin, name) is getattr(fission.pipelines, name)
    for name in own:
        assert issubclass(getattr(pypelinin, name), getattr(fission.pipelines, name))
