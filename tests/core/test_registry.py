from __future__ import annotations

import contextvars
import copy
import pickle
import types
from abc import ABC, abstractmethod

import pytest

from fission.core import base
from fission.core.base import GROUPS, JOBS, NODES, PIPES, BaseGroup, BaseNode, at, collecting, current, reset, where
from fission.core.jobs import PythonJob
from fission.core.nodes import MultiNode
from fission.core.pipes import BytesPipe, JSONPipe, PicklePipe
from fission.errors import DefinitionError


class Job(PythonJob):
    def run(self, *values: object) -> object:
        return values


class Forgetful(PythonJob):
    def __init__(self, **kwargs: object) -> None:
        self.seen = self.id


class Scaled(PicklePipe):
    def __init__(self, id: int, scale: int = 1) -> None:
        super().__init__(id)
        self.scale = scale
        self.inits = getattr(self, "inits", 0) + 1


class Fixed(PicklePipe):
    def __init__(self) -> None:
        super().__init__(50)


def texts(registry: base.Registry) -> list[str]:
    return [fault.text for fault in registry.faults or ()]


def test_ids_count_from_1_in_the_order_of_creation() -> None:
    jobs = [Job(), Forgetful(), Job()]
    assert [job.id for job in jobs] == [1, 2, 3]
    assert dict(JOBS) == {1: jobs[0], 2: jobs[1], 3: jobs[2]}
    assert [str(job) for job in jobs] == [repr(job) for job in jobs] == ["Job 1", "Forgetful 2", "Job 3"]
    assert jobs[1].seen == 2


def test_a_job_that_could_not_be_created_takes_no_id() -> None:
    with pytest.raises(TypeError):
        Job(nonsense=1)
    assert Job().id == 1
    assert list(JOBS) == [1]


def test_reset_and_views_follow_the_current_registry() -> None:
    Job(outputs=[PicklePipe(1)])
    BaseNode("10.0.0.1")
    assert (len(JOBS), len(PIPES), len(NODES), sorted(GROUPS)) == (1, 1, 1, ["ALL"])
    assert repr(JOBS) == "{1: Job 1}"
    reset()
    assert (len(JOBS), len(PIPES), len(NODES), len(GROUPS)) == (0, 0, 0, 0)
    assert Job().id == 1


def test_collecting_leaves_the_outer_registry_alone() -> None:
    outer = current()
    Job()

    def fail_inside() -> None:
        with collecting() as inner:
            assert current() is inner
            assert Job().id == 1
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_inside()
    assert current() is outer
    assert Job().id == 2


def test_another_context_has_its_own_registry() -> None:
    Job()
    assert contextvars.Context().run(lambda: (Job().id, len(JOBS))) == (1, 1)
    assert len(JOBS) == 1


def test_the_place_is_where_the_class_was_called() -> None:
    here = where()
    job = Job(outputs=[PicklePipe(1)])
    file, line = here.rsplit(":", 1)
    assert file.endswith("test_registry.py")
    assert job.created_at == f"{file}:{int(line) + 1}"
    assert PIPES[1].created_at == job.created_at
    with at("jobs.csv:3"):
        assert Job().created_at == "jobs.csv:3"
    assert where().startswith(file)


def test_the_place_is_relative_below_the_working_directory(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(str(tmp_path))
    assert base.place_of(f"{tmp_path}/net/config.py", 7) == "net/config.py:7"
    assert base.place_of("/elsewhere/config.py", 7) == "/elsewhere/config.py:7"
    assert base.place_of("<string>", 7) == "<string>:7"


def test_classes_mix_with_abstract_ones() -> None:
    class Needs(ABC):
        @abstractmethod
        def limit(self) -> int: ...

    class Half(Needs, Job):
        pass

    class Whole(Half):
        def limit(self) -> int:
            return 1

    with pytest.raises(TypeError, match="limit"):
        Half()
    assert Whole().id == 1


# -- pipes


def test_the_same_id_gives_the_same_object() -> None:
    pipe = PicklePipe(101)
    assert PicklePipe(101) is PicklePipe(id=101) is pipe
    assert PIPES[101] is pipe
    assert str(pipe) == repr(pipe) == "PicklePipe 101"


def test_init_does_not_run_again() -> None:
    first = Scaled(1, scale=2)
    assert Scaled(1) is Scaled(1, 2) is Scaled(1, scale=2) is first
    assert first.inits == 1


def test_an_init_of_its_own_may_know_the_id() -> None:
    assert Fixed() is Fixed()
    assert list(PIPES) == [50]


@pytest.mark.parametrize("wrong", [0, -1, 2**32, True, "1", 1.0, None])
def test_ids_that_cannot_be(wrong: object) -> None:
    with pytest.raises(DefinitionError, match=r"the id of a PicklePipe must be an int from 1 to 4294967295, but is "):
        PicklePipe(wrong)
    assert not PIPES
    with collecting() as registry:
        Job(outputs=[PicklePipe(wrong)])
    assert len(texts(registry)) == 1


def test_another_class_with_the_same_id() -> None:
    with at("config.py:12"):
        PicklePipe(7)
    with at("config.py:17"), pytest.raises(DefinitionError) as raised:
        JSONPipe(7)
    assert str(raised.value) == (
        "config.py:17: pipe 7 is a PicklePipe (config.py:12) and a JSONPipe (config.py:17); a pipe has one class at both ends: "
        "give one of them another id, or both the same class"
    )


def test_while_collecting_the_rest_still_loads() -> None:
    with collecting() as registry:
        first, second = PicklePipe(7), JSONPipe(7)
        assert type(second) is JSONPipe
        assert second.id == 7
        assert registry.pipes == {7: first}
    assert len(texts(registry)) == 1


def test_other_sizes_with_the_same_id() -> None:
    with at("config.py:12"):
        assert BytesPipe(7, 4) is BytesPipe(7, block_size=4, block_count=1) is BytesPipe(7)
    with at("config.py:17"), collecting() as registry:
        pipe = BytesPipe(8, 4)
        assert BytesPipe(8, 8, 2) is pipe
    assert texts(registry) == [
        "BytesPipe 8 has block_size 4 (config.py:17) and block_size 8 (config.py:17); a pipe has the same arguments at both ends",
        "BytesPipe 8 has block_count 1 (config.py:17) and block_count 2 (config.py:17); a pipe has the same arguments at both ends",
    ]
    with pytest.raises(DefinitionError, match=r"block_count 1 .* and block_count 2"):
        BytesPipe(7, 4, 2)


def test_a_pipe_without_super_init() -> None:
    class Lost(PicklePipe):
        def __init__(self, id: int) -> None:
            pass

    with pytest.raises(DefinitionError, match=r"Lost.__init__ must call super\(\).__init__\(id\)"):
        Lost(1)


def test_ends_are_known_at_once() -> None:
    source, sink = Job(outputs=[PicklePipe(1)]), Job(inputs=[PicklePipe(1)])
    assert PIPES[1].source is source
    assert PIPES[1].destination is sink


# -- jobs and what is shipped of them


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (PicklePipe, "Job 1: outputs must be a list of pipes, but is <class"),
        ("12", "Job 1: outputs must be a list of pipes, but is '12'"),
        ([1], "Job 1: outputs must be a list of pipes, but has 1 in it"),
        ([PicklePipe], "Job 1: outputs must be a list of pipes, but has <class"),
    ],
)
def test_pipes_that_are_not_a_list_are_refused(wrong: object, text: str) -> None:
    with collecting() as registry:
        job = Job(outputs=wrong)
    assert job.outputs == []
    assert len(texts(registry)) == 1
    assert texts(registry)[0].startswith(text)


def test_the_list_of_the_user_stays_his() -> None:
    pipes = [PicklePipe(1)]
    job = Job(outputs=pipes)
    pipes.append(PicklePipe(2))
    assert [pipe.id for pipe in job.outputs] == [1]


def test_a_job_is_shipped_alone() -> None:
    source = Job(outputs=[PicklePipe(1)])
    sink = Job(inputs=[PicklePipe(1)])
    sink.keep = {"a": 1}
    other = pickle.loads(pickle.dumps(sink))
    assert (other.id, other.name, other.keep, other.created_at) == (2, "Job 2", {"a": 1}, sink.created_at)
    assert other.inputs[0].id == 1
    assert other.inputs[0].source is None
    assert other.inputs[0].destination is None
    assert dict(JOBS) == {1: source, 2: sink}, "the copy is not entered"
    assert copy.deepcopy(sink).id == 2


def test_modules_among_the_dependencies_are_not_shipped() -> None:
    job = Job()
    for given, shipped in (([types, "folder"], ["folder"]), (types, None), ("folder", "folder"), (None, None)):
        job.DEPENDENCIES = given
        assert shipped == pickle.loads(pickle.dumps(job)).DEPENDENCIES


# -- nodes and groups


def test_nodes_and_groups() -> None:
    class Microphone(BaseNode):
        GROUPS = ["HAS_MIC", "ALL"]

    class Listener(Job):
        GROUPS = "HAS_MIC"

    node, job = Microphone("10.0.0.1", "mic"), Listener()
    assert dict(NODES) == {"10.0.0.1": node}
    assert GROUPS["HAS_MIC"] is BaseGroup("HAS_MIC")
    assert GROUPS["HAS_MIC"].nodes == [node]
    assert GROUPS["HAS_MIC"].jobs == [job]
    assert GROUPS["ALL"].jobs == []
    assert node.groups == ("HAS_MIC", "ALL")
    assert (str(node), node.max_jobs) == ("Microphone mic", None)
    assert BaseNode("10.0.0.2").name == "10.0.0.2"
    assert str(BaseGroup("X")) == "BaseGroup X"


@pytest.mark.parametrize("wrong", [None, 5, "", ["10.0.0.1"]])
def test_an_address_must_be_text(wrong: object) -> None:
    with pytest.raises(DefinitionError, match="the address of a BaseNode must be a text like"):
        BaseNode(wrong)


@pytest.mark.parametrize(
    ("pattern", "fits", "does_not"),
    [
        ("192.168.4.*", ["192.168.4.1", "192.168.4.254"], ["192.168.5.1", "10.192.168.4"]),
        ("192.168.4.0/24", ["192.168.4.1", "192.168.4.255"], ["192.168.5.1", "somewhere"]),
        ("192.168.4.7/24", ["192.168.4.1"], ["192.168.5.1"]),
        ("fd00::/8", ["fd00::1"], ["192.168.4.1", "fe80::1"]),
        ("192.168.4.2", ["192.168.4.2"], ["192.168.4.20"]),
    ],
)
def test_multi_node(pattern: str, fits: list[str], does_not: list[str]) -> None:
    node = MultiNode(pattern)
    assert [ip for ip in (*fits, *does_not) if node.admits(ip)] == fits


def test_base_node_admits_itself() -> None:
    assert BaseNode("10.0.0.1").admits("10.0.0.1")
    assert not BaseNode("10.0.0.1").admits("10.0.0.11")


@pytest.mark.parametrize("wrong", ["192.168.4.0/33", "a/b"])
def test_multi_node_with_no_network(wrong: str) -> None:
    with pytest.raises(DefinitionError, match=r"a network must look like 192\.168\.4\.0/24"):
        MultiNode(wrong)
