"""Nodes as the published class takes them, in every form of users' configs, and the messages of `check` about unusable nodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fission.core.nodes import BaseNode, LocalNode, MultiNode
from fission.core.registry import collecting
from fission.errors import DefinitionError
from tests.project.projects import HEAD, PAIR, loaded, one_fault
from tests.waiting import CommandLine

#: Written by users into shared/nodes/nodes.py: kinds of nodes that hand every published argument on.
SHARED_NODES = """
from fission.core.nodes import BaseNode

class CoreNode(BaseNode):
    GROUPS = ["CORE", "ALL"]
    def __init__(self, host, port=None, cpus=0, depends=[], setup_args=(), name=''):
        super().__init__(host, port=port, cpus=cpus, depends=depends, setup_args=setup_args, name=name)

class SourceNode(BaseNode):
    GROUPS = "SOURCE"
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)

class SinkNode(CoreNode):
    GROUPS = ["SINK"]
"""


@pytest.mark.parametrize("cls", [BaseNode, MultiNode, LocalNode])
@pytest.mark.parametrize(
    ("args", "kwargs", "name", "places", "unused"),
    [
        (("10.0.0.1",), {}, "10.0.0.1", None, ()),
        (("10.0.0.1", "kitchen"), {}, "kitchen", None, ()),
        (("10.0.0.1",), {"cpus": 2}, "10.0.0.1", 2, ()),
        (("10.0.0.1", None, 2), {}, "10.0.0.1", 2, ()),
        (("10.0.0.1", 51348, 0, [], (), ""), {}, "10.0.0.1", None, ("port",)),
        (("10.0.0.1", 51348, 4, ["numpy"], (1, 2), "kitchen"), {}, "kitchen", 4, ("port", "depends", "setup_args")),
        ((), {"host": "10.0.0.1", "name": "kitchen"}, "kitchen", None, ()),
        ((), {"ip": "10.0.0.1", "name": "kitchen", "max_jobs": 3}, "kitchen", 3, ()),
        (("10.0.0.1", 51348), {"name": "kitchen", "cpus": 1}, "kitchen", 1, ("port",)),
        (("10.0.0.1", "kitchen"), {"cpus": 5, "max_jobs": 3}, "kitchen", 3, ()),
    ],
)
def test_every_form_of_a_node(
    cls: type[BaseNode], args: Any, kwargs: dict[str, Any], name: str, places: int | None, unused: tuple[str, ...]
) -> None:
    with collecting():
        node = cls(*args, **kwargs)
    assert (node.ip, node.name, node.max_jobs, node.without_effect) == ("10.0.0.1", name, places, unused)
    assert node.named == (name == "kitchen")


@pytest.mark.parametrize(
    ("args", "kwargs", "text"),
    [
        ((), {}, "the address of a BaseNode must be a text like '192.168.4.2', but is ''"),
        ((7,), {}, "the address of a BaseNode must be a text like '192.168.4.2', but is 7"),
        (("10.0.0.1",), {"cpus": -1}, "cpus must be a whole number from 1, or 0, but is -1"),
        (("10.0.0.1",), {"cpus": "2"}, "cpus must be a whole number from 1, or 0, but is '2'"),
        (("10.0.0.1",), {"max_jobs": 0}, "max_jobs must be a whole number from 1, or None, but is 0"),
        (("10.0.0.1", "kit\nchen"), {}, r"the name of the node 10.0.0.1 must be one line of printable text, but is 'kit\nchen'"),
        (("10.0.0.1", "kit\tchen"), {}, r"must be one line of printable text, but is 'kit\tchen'"),
        (("10.0.0.1", "kit\u2028chen"), {}, r"must be one line of printable text, but is 'kit\u2028chen'"),
        (("10.0.0.1", "\x1b[31mred"), {}, "must be one line of printable text"),
        (("10.0.0.1", " kitchen"), {}, "must be one line of printable text"),
        (("10.0.0.1",), {"name": 7}, "the name of the node 10.0.0.1 must be one line of printable text, but is 7"),
    ],
)
def test_attributes_that_a_node_cannot_have(args: Any, kwargs: dict[str, Any], text: str) -> None:
    with pytest.raises(DefinitionError) as error:
        BaseNode(*args, **kwargs)
    assert text in str(error.value)


@pytest.mark.parametrize(
    ("nodes", "text"),
    [
        (
            "BaseNode('10.0.0.1', '10.0.0.2'), BaseNode('10.0.0.2')",
            "10.0.0.1 is called 10.0.0.2, which is the address of BaseNode 10.0.0.2",
        ),
        (
            "BaseNode('10.0.0.2'), BaseNode('10.0.0.1', '10.0.0.2')",
            "10.0.0.1 is called 10.0.0.2, which is the address of BaseNode 10.0.0.2",
        ),
        ("BaseNode('10.0.0.1', 'fd79::2'), BaseNode('[FD79:0::2]', 'b')", "10.0.0.1 is called fd79::2, which is the address of BaseNode b"),
        ("BaseNode('10.0.0.1', 'CAM1'), BaseNode('cam1.', 'b')", "10.0.0.1 is called CAM1, which is the address of BaseNode b"),
        (
            "BaseNode('10.0.1.1', '10.0.0.7'), MultiNode('10.0.0.*')",
            "10.0.1.1 is called 10.0.0.7, which is the address of MultiNode 10.0.0.*",
        ),
    ],
)
def test_a_name_that_is_the_address_of_another_node(tmp_path: Path, nodes: str, text: str) -> None:
    fault = one_fault(tmp_path, HEAD + PAIR + f"NODES = [{nodes}]\n")
    assert fault.startswith("net/config.py:")
    assert text in fault
    assert "give it another name" in fault


def test_a_name_that_is_its_own_address_is_harmless(tmp_path: Path) -> None:
    nodes = "BaseNode('10.0.0.1', '10.0.0.1'), BaseNode('fd79::1', 'FD79::1'), MultiNode('cam*')"
    assert len(loaded(tmp_path, HEAD + PAIR + f"NODES = [{nodes}]\n").config.nodes) == 3


def test_kinds_of_nodes_in_the_shared_folder_hand_every_argument_on(tmp_path: Path) -> None:
    config = """
from shared.nodes.nodes import CoreNode, SinkNode, SourceNode
from fission.core.nodes import LocalNode
NODES = [
    CoreNode("192.168.4.2"), SourceNode("192.168.4.3", 51348, 2), SinkNode("192.168.4.4", name="sink"),
    MultiNode("192.168.5.*", None, 1), LocalNode("192.168.4.1", "me"),
]
"""
    files = {"shared/__init__.py": "", "shared/nodes/__init__.py": "", "shared/nodes/nodes.py": SHARED_NODES}
    network = loaded(tmp_path, HEAD + PAIR + config, files)
    assert [(node.ip, node.name, node.groups, node.max_jobs) for node in network.config.nodes] == [
        ("192.168.4.2", "192.168.4.2", ("CORE", "ALL"), None),
        ("192.168.4.3", "192.168.4.3", ("SOURCE",), 2),
        ("192.168.4.4", "sink", ("SINK",), None),
        ("192.168.5.*", "192.168.5.*", ("ALL",), 1),
    ]
    assert network.notes == (
        "SourceNode 192.168.4.3: port without effect here",
        "LocalNode me in NODES has no effect: the client is always a node",
    )


def test_the_published_name_of_the_mix_in_for_local_jobs() -> None:
    """``fission.core.jobs.LocalNode`` in the published text, beside LocalJob."""
    from fission.core import jobs

    class Shown(jobs.LocalNode, jobs.PythonJob):
        def run(self, value: int) -> None:
            """Take it."""

    with collecting():
        assert Shown(inputs=[]).GROUPS == "LOCAL"


def test_settings_without_effect_are_a_debug_line(fission: CommandLine) -> None:
    """On this machine alone, so that it runs."""
    config = """
from fission.core.jobs import PythonJob
from fission.core.nodes import BaseNode, LocalNode
from fission.core.pipes import PicklePipe

class One(PythonJob):
    def run(self):
        yield 1

class Show(PythonJob):
    def run(self, value):
        print("got", value)

NODES = [LocalNode("localhost", "me"), BaseNode("localhost", 51348, 4, ["os"])]
JOBS = [One(outputs=[PicklePipe(1)]), Show(inputs=[PicklePipe(1)])]
"""
    fission.project({"net/config.py": config})
    done = fission.run("net", "run", exit_code=0)
    assert "got 1" in done.stdout
    log = (fission.root / "net" / "local" / "fission.log").read_text(encoding="utf-8")
    for line in ("BaseNode localhost: port, depends without effect here", "LocalNode me in NODES has no effect"):
        assert f" DEBUG {line}" in log, log
        assert line not in done.stderr


# -- CSV


@pytest.mark.parametrize("rows", ["kitchen,10.0.0.1\n,10.0.0.2\n", "kitchen,10.0.0.1,\n,10.0.0.2,,\n", ",10.0.0.*\n"])
def test_a_row_without_groups_is_in_no_group(tmp_path: Path, rows: str) -> None:
    """As published. One warning names the jobs that cannot be placed then, and what to write."""
    network = loaded(tmp_path, HEAD + PAIR + "NODES = ['nodes.csv']\n", {"nodes.csv": "name,ip,group\n" + rows})
    assert all(node.groups == () for node in network.config.nodes)
    (warning,) = network.network.warnings()
    assert warning.startswith("no node for SourceJob 1, SinkJob 2: none of the nodes is in ALL; ")
    assert "in no group (of a CSV row without groups, write ALL into its third column)" in warning


@pytest.mark.parametrize("default", ["kitchen", "10.0.0.1"])
def test_a_node_without_groups_takes_what_names_it(tmp_path: Path, default: str) -> None:
    bound = f"for job in JOBS: job.DEFAULT_NODE = {default!r}\nNODES = ['nodes.csv']\n"
    assert loaded(tmp_path, HEAD + PAIR + bound, {"nodes.csv": "kitchen,10.0.0.1\n"}).network.warnings() == []


def test_rows_with_groups_need_no_warning(tmp_path: Path) -> None:
    network = loaded(tmp_path, HEAD + PAIR + "NODES = ['nodes.csv']\n", {"nodes.csv": "a,10.0.0.1\nb,10.0.0.2,ALL\n"})
    assert network.network.warnings() == []
    simulated = loaded(tmp_path, HEAD + PAIR + "NODES = ['nodes.csv']\n", {"nodes.csv": "a,10.0.0.1\n"}, simulation=True)
    assert simulated.network.warnings() == []


def test_check_says_it_once(fission: CommandLine, tmp_path: Path) -> None:
    config = "from fission.core.jobs import PythonJob\nclass One(PythonJob):\n    def run(self):\n        yield 1\n"
    fission.project(
        {"net/config.py": f"{config}JOBS = [One(), One()]\nCLIENT_IP = '10.0.0.9'\nNODES = ['n.csv']\n", "n.csv": "a,10.0.0.1\n"}
    )
    done = fission.run("net", "check", exit_code=0)
    assert (done.stdout + done.stderr).count("no node for One 1, One 2: none of the nodes is in ALL; a: in no group") == 1, done
