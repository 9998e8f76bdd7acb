"""Commands that users of MARVELO know: their names, their output and their files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import fission as package
from tests.waiting import CommandLine, Running

CONFIG = """\
import os
import time

from fission.core.jobs import PythonJob
from fission.core.pipes import PicklePipe

LOG_FILE = "FISSION.log"
CLIENT_IP = {client_ip!r}
NODES = []


class Mic(PythonJob):
    def run(self):
        number = 0
        while not os.path.exists({end!r}):
            time.sleep(0.01)
            print("sample", number)
            yield number
            number += 1


class Speaker(PythonJob):
    def run(self, number):
        print("heard", number)


JOBS = [Mic(outputs=[PicklePipe(101)]), Speaker(inputs=[PicklePipe(101)])]
"""


@pytest.fixture
def project(fission: CommandLine) -> Iterator[Path]:
    """A project with the network ``room``, which runs until ``end`` is there; it ends here."""
    end = fission.root / "end"
    fission.project({"room/config.py": CONFIG.format(end=str(end), client_ip="127.0.0.1")})
    yield fission.root
    end.touch()


def debug_script(root: Path, *words: str) -> subprocess.Popen[str]:
    """``fission_debug.py``, as its installed script does it."""
    env = {**os.environ, "PYTHONPATH": str(Path(package.__path__[0]).parent), "COLUMNS": "80"}
    command = [sys.executable, "-c", "from fission.cli.main import debug; debug()", *words]
    return subprocess.Popen(command, cwd=root, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(client: Running, root: Path) -> None:
    (root.parent / "end").touch()
    client.wait(exit_code=0)


# collect


def test_collect_has_the_names_of_both(fission: CommandLine, project: Path) -> None:
    """NODE.log as now, and fission-IP-with-dashes.log as MARVELO wrote it, which scripts of users look for."""
    client = fission.start("room", "run")
    client.wait_for("[Speaker 2] heard")
    ended(client, project)
    found = json.loads(fission.run("room", "collect", "--json", exit_code=0).stdout)
    folder = project / "room" / "collection"
    assert sorted(path.name for path in folder.iterdir()) == ["client.log", "fission-127-0-0-1.log"]
    assert found == {"client": str(folder / "client.log")}
    assert (folder / "fission-127-0-0-1.log").read_text() == (folder / "client.log").read_text()
    assert "Speaker 2 starts" in (folder / "fission-127-0-0-1.log").read_text()


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("192.168.4.2", "fission-192-168-4-2.log"),
        ("kitchen.local", "fission-kitchen-local.log"),
        ("fd79::12", "fission-fd79--12.log"),
        ("../../etc/passwd", "fission-------etc-passwd.log"),
    ],
)
def test_names_of_logs(address: str, name: str) -> None:
    from fission.client.attach.collect import marvelo_name

    assert marvelo_name(address) == name


# debug


def test_fission_debug_shows_the_jobs_of_an_address(fission: CommandLine, project: Path) -> None:
    """``fission_debug.py --ip IP`` in the project's folder shows the output of the jobs there until the network ends."""
    client = fission.start("room", "run")
    client.wait_for("[Speaker 2] heard", count=2)
    shown = debug_script(project, "--ip", "127.0.0.1")
    by_port = debug_script(project, "--ip", "127.0.0.1", "--port", "1996")
    try:
        for process, expected in ((shown, "[Mic 1] sample "), (by_port, "[Speaker 2] heard ")):
            assert process.stdout is not None
            assert any(expected in line for line in process.stdout), process.communicate()
    finally:
        ended(client, project)
    rest, errors = by_port.communicate(timeout=30)
    assert (by_port.returncode, "[Mic 1]" in rest, errors) == (0, False, "")
    shown.communicate(timeout=30)
    assert shown.returncode == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "no network of {root} is running on this machine; networks: room"),
        (("--ip", "127.0.0.1", "--port", "1995"), "--port must be that of a job, 2000 less twice the job's id (job 2: 1996), but is 1995"),
        (("--ip", "127.0.0.1", "--port", "2000"), "but is 2000"),
        (("-p", "/tmp/debug.fifo"), "--pipe is not needed"),
        (("lights", "--ip", "127.0.0.1"), "there is no network 'lights'"),
    ],
)
def test_fission_debug_says_what_is_wrong(project: Path, words: tuple[str, ...], message: str) -> None:
    out, errors = debug_script(project, *words).communicate(timeout=60)
    assert message.format(root=project) in errors
    assert "Traceback" not in errors
    assert out == ""


def test_debug_by_node(fission: CommandLine, project: Path) -> None:
    client = fission.start("room", "simulate", "--nodes", "2")
    client.wait_for("[Speaker 2] heard", count=2)
    nodes = {row["name"]: row["node"] for row in json.loads(fission.run("room", "status", "--json", exit_code=0).stdout)["jobs"]}
    assert len(set(nodes.values())) == 2
    views = {job: fission.start("room", "debug", "--node", node) for job, node in nodes.items()}
    for job, view in views.items():
        view.wait_for(f"[{job}] ", count=3)
    done = fission.run("room", "debug", "--node", "3")
    assert (done.exit_code, done.stderr) == (2, "Error: there is no node 3. Nodes: 1, 127.0.0.1, 2, 127.0.0.1, client, 127.0.0.1\n")
    ended(client, project)
    for job, view in views.items():
        others = [other for other in nodes if other != job]
        assert not any(f"[{other}]" in view.wait(exit_code=0).stdout for other in others)


# pictures


def test_graphviz_draws_into_network_pdf(project: Path, fission: CommandLine) -> None:
    done = fission.run("room", "graphviz", exit_code=0)
    assert done.stdout == f"drew room into {project / 'room' / 'network.pdf'}\n"
    assert (project / "room" / "network.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize("engine", ["dot", "circo", "fdp", "neato", "sfdp", "twopi"])
def test_graphviz_lays_out_with_any_engine(project: Path, fission: CommandLine, engine: str) -> None:
    fission.run("room", "graphviz", "--engine", engine, "--output", f"{engine}.svg", exit_code=0)
    drawn = (project / f"{engine}.svg").read_text()
    assert "Mic 1" in drawn
    assert "Speaker 2" in drawn


# functions that draw, of fission.visualize

PLACED = """
from fission.core.nodes import BaseNode

NODES = [BaseNode("10.0.0.1", name="kitchen"), BaseNode("10.0.0.2", name="hall")]
Mic.DEFAULT_NODE = "kitchen"
Speaker.DEFAULT_NODE = "10.0.0.2"
"""
DRAWS = """
from fission.visualize import generate_detailed_graph, generate_job_graph
generate_job_graph(network, "drawn")
generate_detailed_graph(network)
"""


def test_functions_draw_from_the_console(project: Path, fission: CommandLine) -> None:
    """`network` of the interactive console can be handed to them, as in MARVELO's."""
    done = fission.run("room", "interactive", "--console", "plain", stdin=DRAWS, exit_code=0)
    assert "Error" not in done.stdout + done.stderr
    for name in ("drawn.pdf", "temp_network.pdf"):
        assert (project / name).read_bytes().startswith(b"%PDF"), done


def test_pictures_have_a_frame_for_each_node(project: Path, fission: CommandLine) -> None:
    config = project / "room" / "config.py"
    config.write_text(config.read_text() + PLACED)
    fission.run("room", "graphviz", "--by-node", "--engine", "fdp", "--output", "nodes.svg", exit_code=0)
    drawn = (project / "nodes.svg").read_text()
    frames = {group.split("</title>")[0]: group for group in drawn.split("<g ")[1:] if 'class="cluster"' in group}
    assert len(frames) == 2
    assert all(any(f">{node}<" in group for group in frames.values()) for node in ("kitchen", "hall"))
    plain = project / "plain.svg"
    fission.run("room", "graphviz", "--output", str(plain), exit_code=0)
    assert "kitchen" not in plain.read_text(), "where jobs would go is only shown when asked for"


def test_functions_draw_in_scripts(project: Path, fission: CommandLine) -> None:
    """Outside of a console, with any network, and without a desktop."""
    script = project / "draw.py"
    script.write_text(
        "from fission.core.base import collecting\nfrom fission.core.network import Network\n"
        "from fission.visualize import generate_detailed_graph, show_job_graph\nfrom fission.errors import UserError\n"
        "with collecting() as found:\n    from room.config import JOBS\n"
        "network = Network.from_registry('room', found)\n"
        "generate_detailed_graph(network, {1: 'a', 2: 'b'})\n"
        "try:\n    show_job_graph(network)\nexcept UserError as why:\n    print(why)\n"
    )
    env = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
    env["PYTHONPATH"] = os.pathsep.join([str(Path(package.__path__[0]).parent), str(project)])
    done = subprocess.run([sys.executable, str(script)], cwd=project, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "there is no desktop to open a window on" in done.stdout
    assert (project / "temp_network.pdf").read_bytes().startswith(b"%PDF")
