"""Files that travel with jobs to machines that have only FISSION, and messages about machines that cannot be used."""

from __future__ import annotations

import csv
import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import fission as package
from tests.cluster.hosts import call
from tests.cluster.support import Site
from tests.e2e.failover import CHAIN, chain_rows
from tests.waiting import CommandLine

MakeSite = Callable[..., Site]
SOURCE = str(Path(package.__path__[0]).parent)
PORT = 8786
LONG = (pytest.mark.slow, pytest.mark.soak)

SHIPPED = """
import outside

class Facts(PythonJob):
    '''Tells where its process has everything from.'''
    DEPENDENCIES = [outside, "net/source"]
    def run(self):
        from shared.tools import TOOL
        self.finish()
        here = {"outside": outside.__file__, "jobs": sys.modules[type(self).__module__].__file__, "cwd": os.getcwd()}
        return json.dumps({**here, "tool": TOOL, "answer": outside.ANSWER, "files": sorted(os.listdir(".")), "path": sys.path})

class Upper(ExecutableJob):
    EXECUTABLE = "sh"
    PARAMETERS = "upper.sh"
    DEPENDENCIES = "net/source"
"""
SHIPPED_JOBS = """
Facts(outputs=[JSONPipe(1)]),
Upper(inputs=[JSONPipe(1)], outputs=[JSONPipe(2)]),
CSVSinkJob("result.csv", inputs=[JSONPipe(2)]),
"""
FILES = {
    "shared/tools.py": "TOOL = 'hammer'\n",
    "net/source/upper.sh": "exec cat <$2 >$4\n",
    "net/source/deep/data.txt": "x" * 100_000,
}


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A folder with modules that only the client has."""
    folder = tmp_path / "library"
    folder.mkdir()
    (folder / "outside.py").write_text("ANSWER = 42\n")
    return folder


def with_library(site: Site, library: Path) -> None:
    site.env["PYTHONPATH"] = f"{library}{os.pathsep}{SOURCE}"


@pytest.mark.parametrize("pre_copy", [False, True])
def test_code_modules_directories_and_executables_reach_the_nodes(cluster: MakeSite, library: Path, pre_copy: bool) -> None:
    site = cluster(1)
    with_library(site, library)
    client = site.run(SHIPPED_JOBS, SHIPPED, extra=f"PRE_COPY = {pre_copy}", files=FILES)
    client.wait(30, exit_code=0)
    (header, row) = list(csv.reader(site.result(3).read_text().splitlines()))
    assert header == ["pipe_2"]
    facts = json.loads(row[0])
    root = site[1].root
    assert facts["cwd"] == str(root / "net" / "1")
    assert {"upper.sh", "deep", "relay.sh"} <= set(facts["files"])
    assert (root / "net/1/deep/data.txt").read_text() == "x" * 100_000
    assert (facts["tool"], facts["answer"]) == ("hammer", 42)
    for name in ("outside", "jobs"):
        assert Path(facts[name]).is_relative_to(root / ".archives"), facts
    for place in facts["path"]:
        assert not Path(place).is_relative_to(site.fission.root), f"the project of the client is on the job's sys.path: {facts['path']}"
        assert not Path(place).is_relative_to(library), facts["path"]
    shipped = sorted((root / ".archives").iterdir())
    assert len(shipped) == 2, "the code, and one directory for both jobs"
    before = [path.stat().st_ino for path in shipped]
    site.start().wait(30, exit_code=0)
    assert [path.stat().st_ino for path in sorted((root / ".archives").iterdir())] == before, "what is there is not sent again"


def test_a_module_that_is_missing_on_the_node(cluster: MakeSite, library: Path) -> None:
    site = cluster(1)
    with_library(site, library)
    jobs = SHIPPED.replace("[outside, ", "[")
    done = site.run(SHIPPED_JOBS, jobs, extra="RESTARTS = 1\nRESTART_WINDOW = 60", files=FILES).wait(30, exit_code=1)
    text = "the module outside is missing on node n1: install it there, with the pip of its service (python3 -m pip install outside)"
    assert text in done.stderr
    assert "or add it to the job's DEPENDENCIES" in done.stderr


# -- disks --------------------------------------------------------------------------------------------------------------


def test_a_root_that_cannot_be_written(cluster: MakeSite, tmp_path: Path) -> None:
    """Given by the service, and by the config; the other node does all the work."""
    site = cluster(3, start=False)
    blocked = tmp_path / "file"
    blocked.touch()
    site[1].start()
    site[2].start(root=blocked / "below")
    site[3].start(root=Path())
    client = site.run(CHAIN.format(limit=0), extra=f"REMOTE_ROOT = {str(blocked / 'other')!r}")
    site.rows(30)
    for number, root in ((2, blocked / "below"), (3, blocked / "other")):
        client.wait_for(f"node n{number} cannot be used: REMOTE_ROOT {root} ", stream="stderr")
    done = site.finish(client, chain_rows)
    assert done.stderr.count("Not a directory") == 2
    assert "--root" in done.stderr
    assert {node for _, node in site.incarnations().values()} == {"n1", "client"}


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A disk that is soon full."""
    folder.mkdir()
    call("mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "tmpfs", str(folder))
    try:
        yield folder
    finally:
        call("umount", "-l", str(folder))


def full(root: Path) -> str:
    """No room for what goes with a job."""
    (root / "filler").write_bytes(b"\0" * (root_free(root) - 20_000))
    return "No space left on device"


def read_only(root: Path) -> str:
    """As the kernel leaves a disk with errors."""
    call("mount", "-o", "remount,ro", str(root))
    return "Read-only file system"


def in_the_way(root: Path) -> str:
    """A file of another user is where the network's folder must be."""
    (root / "net").touch()
    return "cannot be created"


def root_free(root: Path) -> int:
    return os.statvfs(root).f_bavail * os.statvfs(root).f_frsize


@pytest.mark.parametrize("spoil", [full, pytest.param(read_only, marks=LONG), pytest.param(in_the_way, marks=LONG)])
def test_a_node_whose_disk_fails_is_left_for_another_one(cluster: MakeSite, tmp_path: Path, spoil: Callable[[Path], str]) -> None:
    """The failure is the node's, not the job's: RESTARTS does not count it, and the text names node and cause."""
    site = cluster(2, start=False)
    with small_disk(tmp_path / "small", "1m") as root:
        site[1].start(root=root)
        (root / ".archives").mkdir(0o755)
        site.nodes["n1"].logged("waits for a client")
        client = site.run(CHAIN.format(limit=0), extra="RESTARTS = 0", files={"net/source/big": os.urandom(100_000).hex()})
        # it is enlisted while all is well, and its disk fails before the first job
        site.happened("NodeJoined", name="n1")
        cause = spoil(root)
        site.happened("JobRefused", job=2)
        site[2].start()
        site.rows(30)
        done = site.finish(client, chain_rows)
        assert site.incarnations()[2][1] == "n2", "the job whose files are big"
        assert "n1" in done.stderr
        assert cause in done.stderr
        assert "this node" not in done.stderr
        assert "Traceback" not in done.stderr
        site[1].stop()


# -- machines that cannot be used -----------------------------------------------------------------------------------------


def test_other_versions_are_refused(cluster: MakeSite, tmp_path: Path) -> None:
    site = cluster(2, start=False)
    faked = tmp_path / "faked"
    faked.mkdir()
    (faked / "sitecustomize.py").write_text("import fission\nfission.__version__ = '0.0.7'\n")
    site[1].start()
    site[2].start(env={"PYTHONPATH": f"{faked}{os.pathsep}{SOURCE}"})
    client = site.run(CHAIN.format(limit=0))
    text = (
        f"node n2 cannot be used: the versions differ: fission is {package.__version__} on the client and 0.0.7 on the node; install the "
        "client's on it: fission provision renew --limit n2"
    )
    client.wait_for(text, stream="stderr")
    site.rows(30)
    site.finish(client, chain_rows)
    assert {node for _, node in site.incarnations().values()} == {"n1", "client"}


def test_a_machine_that_is_not_in_nodes_is_left_alone(cluster: MakeSite) -> None:
    site = cluster(2)
    client = site.run(CHAIN.format(limit=0), extra="del NODES[1]")
    client.wait_for(f"node n2 ({site[2].ip}) is left alone: neither its address nor its name (n2) is in NODES", stream="stderr")
    site.rows(30)
    site.finish(client, chain_rows)
    assert {node for _, node in site.incarnations().values()} == {"n1", "client"}


def test_a_network_that_runs_already(cluster: MakeSite) -> None:
    """A network runs once at a time; a second start disturbs no job."""
    site = cluster(1)
    client = site.run(CHAIN.format(limit=0))
    site.rows(30)
    other = site.fission.start("net", "run", env=site.env)  # of the same project: it runs already
    assert "the network net is running already" in other.wait(exit_code=2).stderr
    site.finish(client, chain_rows)


def test_no_node_answers(cluster: MakeSite) -> None:
    site = cluster(2, start=False)
    client = site.run(CHAIN.format(limit=0), extra="ALLOCATION_TIMEOUT = 0.3")
    done = client.wait(20, exit_code=3)
    for node in site.nodes.values():
        assert f"{node.name}: not there: no service answers" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_address_that_is_not_of_this_machine(cluster: MakeSite) -> None:
    site = cluster(1, start=False)
    done = site.run(CHAIN.format(limit=0), extra='CLIENT_IP = "192.0.2.77"').wait(exit_code=2)
    assert "net/config.py: CLIENT_IP must be an address of this machine, as the nodes reach it; 192.0.2.77 is not" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("kind", "offset"), [(socket.SOCK_STREAM, 0), (socket.SOCK_DGRAM, 0), (socket.SOCK_STREAM, 1), (socket.SOCK_STREAM, 2)]
)
def test_an_address_that_is_in_use(cluster: MakeSite, kind: socket.SocketKind, offset: int) -> None:
    site = cluster(1, start=False)
    ip = site.network.client_ip
    with socket.socket(type=kind) as owner:
        owner.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(kind == socket.SOCK_STREAM))  # an earlier test's client was there
        owner.bind((ip, PORT + offset))
        if kind == socket.SOCK_STREAM:
            owner.listen()
        done = site.run(CHAIN.format(limit=0)).wait(20)
    assert done.exit_code == 1, done
    assert f"{ip}" in done.stderr
    assert f"{PORT + offset}" in done.stderr
    assert "Address already in use" in done.stderr
    assert f"by process {os.getpid()} (" in done.stderr
    assert "give this network another PORT in net/config.py" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_second_network_at_the_same_port(cluster: MakeSite) -> None:
    """The message names the network that has the port."""
    site = cluster(1)
    client = site.run(CHAIN.format(limit=0))
    site.rows(10)
    first = site.fission.root
    site.project(CHAIN.format(limit=0), name="other")
    done = site.start().wait(exit_code=1)
    assert f"Address already in use by the network net of {first} (process {client.pid})" in done.stderr
    assert "Traceback" not in done.stderr
    site.fission.root = first
    site.finish(client, chain_rows)


@pytest.mark.parametrize("option", [("--client", "192.168.4.256"), ("--ip", "fe80::1%eth0"), ("--client", "a b")])
def test_a_service_with_a_wrong_address(fission: CommandLine, option: tuple[str, str]) -> None:
    """The service reports the mistake instead of waiting for ever."""
    words = ["--client", "127.0.0.1", "--insecure", *option]
    done = fission.run("node", *words, exit_code=2)
    assert f"{option[0]} must be an IPv4 address, an IPv6 address or a host name, but is {option[1]!r}" in done.stderr
