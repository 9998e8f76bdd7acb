"""Jobs and nodes from CSV files: the same network as in Python, and every mistake with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from fission.core.nodes import MultiNode
from tests.project.projects import FIRST, HEAD, PAIR, faults, loaded, one_fault, shape

IN_PYTHON = (
    HEAD
    + """
JOBS = [
    SourceJob(start=20, step=2, outputs=[PicklePipe(1)]),
    SourceJob(outputs=[BytesPipe(2, 64, 2)]),
    JoinJob(inputs=[PicklePipe(1), BytesPipe(2, 64, 2)], outputs=[ReducePipe(105)]),
    CSVSinkJob(path="a, b.csv", inputs=[ReducePipe(105)]),
]
"""
)
AS_CSV = """\
class,inputs,outputs,options
# a comment, and an empty line

net.jobs.jobs.SourceJob,,PicklePipe:1,"{""start"": 20, ""step"": 2}"
net.jobs.jobs.SourceJob,,BytesPipe:2:64:2
net.jobs.jobs.JoinJob, PicklePipe:1; BytesPipe:2:64:2 ,net.pipes.pipes.ReducePipe:105,
CSVSinkJob,net.pipes.pipes.ReducePipe:105,,"{""path"": ""a, b.csv""}"
"""


@pytest.mark.parametrize("jobs", ["'jobs.csv'", "['jobs.csv']", "__import__('pathlib').Path('jobs.csv')"])
@pytest.mark.parametrize("text", [AS_CSV, AS_CSV.split("\n", 1)[1], "\ufeff" + AS_CSV, AS_CSV.replace("\n", "\r\n")])
def test_the_same_network_as_in_python(tmp_path: Path, jobs: str, text: str) -> None:
    python = loaded(tmp_path, IN_PYTHON)
    csv = loaded(tmp_path, f"{HEAD}JOBS = {jobs}\n", {"jobs.csv": text})
    assert shape(csv) == shape(python)


AS_SEMICOLONS = """\
class;inputs;outputs;options

net.jobs.jobs.SourceJob;;PicklePipe:1;"{""start"": 20, ""step"": 2}"
net.jobs.jobs.SourceJob;;BytesPipe:2:64:2
net.jobs.jobs.JoinJob;"PicklePipe:1; BytesPipe:2:64:2";net.pipes.pipes.ReducePipe:105;
CSVSinkJob;net.pipes.pipes.ReducePipe:105;;"{""path"": ""a, b.csv""}"
"""


@pytest.mark.parametrize(
    "text",
    [
        AS_SEMICOLONS,
        AS_SEMICOLONS.split("\n", 1)[1],
        "# first, a comment\n;;;\n" + AS_SEMICOLONS,
        '"class";"inputs";"outputs";"options"\n' + AS_SEMICOLONS.split("\n", 1)[1],
        "sep=;\n" + AS_SEMICOLONS,
        AS_SEMICOLONS.replace("; ", "~").replace(";", "\t").replace("~", "; "),
    ],
    ids=["header", "no header", "comment", "quoted header", "declared", "tabs"],
)
def test_semicolons_and_tabs_as_spreadsheets_write_them(tmp_path: Path, text: str) -> None:
    python = loaded(tmp_path, IN_PYTHON)
    csv = loaded(tmp_path, f"{HEAD}JOBS = 'jobs.csv'\n", {"jobs.csv": text})
    assert shape(csv) == shape(python)


def test_made_jobs_know_their_line(tmp_path: Path) -> None:
    jobs = loaded(tmp_path, "JOBS = 'net/jobs.csv'\n", {"net/jobs.csv": AS_CSV}).network.jobs
    assert [job.created_at for job in jobs.values()] == [f"net/jobs.csv:{line}" for line in (4, 5, 6, 7)]


def test_lines_are_counted_from_the_one_that_names_the_separator(tmp_path: Path) -> None:
    jobs = loaded(tmp_path, "JOBS = 'net/jobs.csv'\n", {"net/jobs.csv": "sep=,\r\n" + AS_CSV}).network.jobs
    assert [job.created_at for job in jobs.values()] == [f"net/jobs.csv:{line}" for line in (5, 6, 7, 8)]


def test_a_path_in_the_networks_folder_and_jobs_beside_a_file(tmp_path: Path) -> None:
    config = HEAD + "JOBS = ['sinks.csv', SourceJob(outputs=[PicklePipe(1)])]\n"
    jobs = loaded(tmp_path, config, {"net/sinks.csv": "net.jobs.jobs.SinkJob,PicklePipe:1\n"}).config.jobs
    assert [job.name for job in jobs] == ["SinkJob 2", "SourceJob 1"], "ids: what config.py makes comes first"


def test_a_field_may_go_over_several_lines(tmp_path: Path) -> None:
    text = 'net.jobs.jobs.SourceJob,,PicklePipe:1,"{""start"": 1,\n""step"": 2}"\nnet.jobs.jobs.SinkJob,PicklePipe:1\n'
    jobs = loaded(tmp_path, "JOBS = 'jobs.csv'\n", {"jobs.csv": text}).config.jobs
    assert [job.created_at for job in jobs] == ["jobs.csv:1", "jobs.csv:3"]


@pytest.mark.parametrize("text", ["name;ip;group\npi;192.168.4.2;front\n", "pi;192.168.4.2;front\n", "pi\t192.168.4.2\tfront\n"])
def test_nodes_with_semicolons(tmp_path: Path, text: str) -> None:
    (node,) = loaded(tmp_path, HEAD + PAIR + "NODES = 'nodes.csv'\nCLIENT_IP = '192.168.4.1'\n", {"nodes.csv": text}).config.nodes
    assert (node.name, node.ip, tuple(node.GROUPS)) == ("pi", "192.168.4.2", ("front",))


def test_too_many_cells_name_the_separator(tmp_path: Path) -> None:
    text = one_fault(tmp_path, "JOBS = 'jobs.csv'\n", {"jobs.csv": "net.jobs.jobs.JoinJob;PicklePipe:1;PicklePipe:2;x;\n;\n"})
    assert "at most 4 columns" in text
    assert "separator (comma or semicolon) into quotes" in text


SOURCE, SINK = "net.jobs.jobs.SourceJob,,PicklePipe:1\n", "net.jobs.jobs.SinkJob,PicklePipe:1\n"
WRONG = [
    ("CSVSinkjob,PicklePipe:1\n", "'CSVSinkjob' is not a predefined job; did you mean 'CSVSinkJob'?"),
    ("SourceJob,,PicklePipe:1\n", "Write one of your own with its module, like my_network.jobs.jobs.SourceJob"),
    (",PicklePipe:1,\n", "the class of the job is missing"),
    ("net.jobs.jobs.SinkJb,PicklePipe:1\n", "AttributeError: net.jobs.jobs has no SinkJb; did you mean 'SinkJob'?"),
    ("net.jobs.jbos.SinkJob,PicklePipe:1\n", "ModuleNotFoundError: No module named 'net.jobs.jbos'; did you mean 'net.jobs.jobs'?"),
    ("net.pipes.pipes.ReducePipe,PicklePipe:1\n", "net.pipes.pipes.ReducePipe must be a class of jobs, but is <class"),
    ("net.bad.X,PicklePipe:1\n", "net.bad.X cannot be imported: ZeroDivisionError: division by zero (at net/bad.py:1)"),
    (
        "net.jobs.jobs.SinkJob,PicklePipe\n",
        "a pipe must be written Class:id, like PicklePipe:1, or BytesPipe:1:64 with its sizes, but is 'PicklePipe'",
    ),
    ("net.jobs.jobs.SinkJob,PicklePipe:x\n", "a pipe must be written Class:id"),
    ("net.jobs.jobs.SinkJob,PicklePipe:-1\n", "a pipe must be written Class:id"),
    ("net.jobs.jobs.SinkJob,PicklPipe:1\n", "'PicklPipe' is not a predefined pipe; did you mean 'PicklePipe'?"),
    ("net.jobs.jobs.SinkJob,net.jobs.jobs.SinkJob:1\n", "must be a class of pipes"),
    ("net.jobs.jobs.SinkJob,BytesPipe:9\n", "BytesPipe:9 cannot be created: TypeError"),
    ("net.jobs.jobs.SinkJob,PicklePipe:0\n", "the id of a PicklePipe must be an int from 1"),
    ("net.jobs.jobs.SinkJob,PicklePipe:1,,{\n", "options must be a JSON object with the job's keyword arguments, but are '{': "),
    ("net.jobs.jobs.SinkJob,PicklePipe:1,,[1]\n", "options must be a JSON object with the job's keyword arguments, but are '[1]'"),
    ('net.jobs.jobs.SinkJob,PicklePipe:1,,"{""a"": 1, ""a"": 2}"\n', "the key 'a' is duplicate"),
    ('net.jobs.jobs.SinkJob,PicklePipe:1,,"{""inputs"": []}"\n', "inputs cannot be options; write the pipes into their columns"),
    ('net.jobs.jobs.SinkJob,PicklePipe:1,,"{""a b"": 1}"\n', "options must have names of arguments as keys, but one is 'a b'"),
    ('net.jobs.jobs.SourceJob,,PicklePipe:2,"{""strat"": 1}"\n', "unexpected keyword argument 'strat'"),
    ("net.jobs.jobs.PickyJob,PicklePipe:1\n", "net.jobs.jobs.PickyJob cannot be created: ValueError: not today (at net/jobs/jobs.py:"),
    ("net.jobs.jobs.SinkJob,PicklePipe:1,,{},more\n", "at most 4 columns (class,inputs,outputs,options), but this line has 5"),
    ('CSVSinkJob,PicklePipe:1,,{"path": "x", "col_pattern": "y"}\n', "is not CSV: "),
    ('CSVSinkJob,PicklePipe:1,,"{"path": "x"}"\n', "is not CSV: "),
]


@pytest.mark.parametrize(("row", "text"), WRONG, ids=[row for row, _ in WRONG])
def test_a_wrong_row_is_reported_with_its_line(tmp_path: Path, row: str, text: str) -> None:
    fault = one_fault(tmp_path, "JOBS = 'jobs.csv'\n", {"jobs.csv": SOURCE + row, "net/bad.py": "1 / 0\n"})
    assert fault.startswith("jobs.csv:2: ")
    assert text in fault


def test_all_wrong_rows_at_once(tmp_path: Path) -> None:
    text = "".join(row for row, _ in WRONG[:-2])
    found = faults(tmp_path, "LOG_LEVEL = 3\nJOBS = 'jobs.csv'\n", {"jobs.csv": text, "net/bad.py": "1 / 0\n"})
    assert len(found) == len(WRONG) - 1
    assert [fault.split(":")[1] for fault in found[1:]] == [str(line + 1) for line in range(len(WRONG) - 2)]


def test_the_ends_of_pipes_are_reported_with_the_lines(tmp_path: Path) -> None:
    found = "\n".join(faults(tmp_path, "JOBS = 'jobs.csv'\n", {"jobs.csv": SOURCE + SINK.replace(":1", ":2")}))
    assert "SourceJob 1 (jobs.csv:1)" in found
    assert "SinkJob 2 (jobs.csv:2)" in found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("class,outputs,inputs\n", "jobs.csv:1: the columns must be class,inputs,outputs,options, but are class,outputs,inputs"),
        ("", "JOBS names the file 'jobs.csv', which has no jobs"),
        ("class,inputs,outputs,options\n", "which has no jobs"),
    ],
)
def test_files_that_are_no_lists_of_jobs(tmp_path: Path, text: str, expected: str) -> None:
    assert expected in one_fault(tmp_path, "JOBS = 'jobs.csv'\n", {"jobs.csv": text})


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "jobs.csv").write_bytes(b"class\n\xff\xfe\n")
    assert "jobs.csv: must be UTF-8 text, but byte 6 is not" in one_fault(tmp_path, "JOBS = 'jobs.csv'\n")


# -- nodes


def test_nodes_as_in_python(tmp_path: Path) -> None:
    python = """
class MicNode(BaseNode):
    GROUPS = ["HAS_MIC", "ALL"]
NODES = [MicNode("192.168.4.2", "kitchen"), BaseNode("pi3.local"), MultiNode("192.168.5.*"), MultiNode("10.0.0.0/8", "lab")]
"""
    text = "name,ip,group\nkitchen,192.168.4.2,HAS_MIC,ALL\n,pi3.local,ALL\n,192.168.5.*,ALL,\nlab,10.0.0.0/8,ALL\n"
    in_python = loaded(tmp_path, HEAD + PAIR + python).config.nodes
    in_csv = loaded(tmp_path, HEAD + PAIR + "NODES = ['nodes.csv']\n", {"nodes.csv": text}).config.nodes
    assert [(node.ip, node.name, node.groups, node.max_jobs) for node in in_csv] == [
        (node.ip, node.name, node.groups, node.max_jobs) for node in in_python
    ]
    assert [isinstance(node, MultiNode) for node in in_csv] == [False, False, True, True]


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ("kitchen\n", "the address of the node is missing; write a line as name,ip,group,..."),
        ("kitchen,,ALL\n", "the address of the node is missing"),
        (
            "kitchen,192.168.4.300\n",
            "the address of a node must be an IPv4 address, an IPv6 address or a host name, but is '192.168.4.300'",
        ),
        ("kitchen,10.0.0.0/99\n", "a network must look like 192.168.4.0/24"),
    ],
)
def test_wrong_nodes(tmp_path: Path, row: str, text: str) -> None:
    fault = one_fault(tmp_path, HEAD + PAIR + "NODES = 'nodes.csv'\n", {"nodes.csv": "a,1.2.3.4\n" + row})
    assert fault.startswith("nodes.csv:2: ")
    assert text in fault


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    fault = one_fault(tmp_path, HEAD + PAIR + "NODES = ['net']\n")
    assert fault.startswith(f"net/config.py:{FIRST + 1}: NODES names the file 'net'")


@pytest.mark.parametrize(
    ("nodes", "text"),
    [
        ("BaseNode('10.0.0.1', 'pi'), BaseNode('10.0.0.2', 'pi')", "two nodes are called pi: 10.0.0.1 and 10.0.0.2 ("),
        ("BaseNode('10.0.0.1', 'client')", "a node is called client, which is the name of the machine that runs the network"),
        ("BaseNode('fd79::1', 'a'), BaseNode('[FD79:0::1]', 'b')", "the node fd79::1 is listed twice"),
        ("BaseNode('10.0.0.1'), BaseNode('::ffff:10.0.0.1')", "the node 10.0.0.1 is listed twice"),
        ("BaseNode('cam1', 'a'), BaseNode('CAM1.', 'b')", "the node CAM1. is listed twice"),
        ("BaseNode('192.168.4.256')", "must be an IPv4 address, an IPv6 address or a host name, but is '192.168.4.256'"),
        ("BaseNode('192.168.4.*')", "but is '192.168.4.*'; for more than one machine write MultiNode"),
    ],
)
def test_nodes_that_check_refuses(tmp_path: Path, nodes: str, text: str) -> None:
    """Each with its file and line."""
    fault = one_fault(tmp_path, HEAD + PAIR + f"from fission.core.nodes import *\nNODES = [{nodes}]\n")
    assert fault.startswith("net/config.py:")
    assert text in fault


@pytest.mark.parametrize("ip", ["192.168.4.256", "fe80::1%eth0", "0.0.0.0", "a b"])
def test_client_ips_that_check_refuses(tmp_path: Path, ip: str) -> None:
    fault = one_fault(tmp_path, HEAD + PAIR + f"CLIENT_IP = {ip!r}\n")
    assert fault.startswith("net/config.py:")
    assert "CLIENT_IP must be" in fault
