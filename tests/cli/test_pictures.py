"""graph, graphviz and show: the content of the pictures."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.cli.conftest import Outcome
from tests.waiting import CommandLine

CONFIG = """\
from fission.core.jobs import CSVSinkJob, ForwardingJob, InteractiveJob, PythonJob
from fission.core.pipes import OptionalPicklePipe, PicklePipe

class SourceJob(PythonJob):
    def run(self):
        yield 1

class Gain(OptionalPicklePipe):
    OPTIONAL_DEFAULT = 1

class JoinJob(PythonJob):
    def run(self, gain, value):
        return value

JOBS = [
    InteractiveJob(outputs=[Gain(104)]),
    SourceJob(outputs=[PicklePipe(101), PicklePipe(201)]),
    JoinJob(inputs=[Gain(104), PicklePipe(101)], outputs=[PicklePipe(102), PicklePipe(103)]),
    CSVSinkJob("x.csv", inputs=[PicklePipe(201), PicklePipe(102), PicklePipe(103)]),
]
"""
BOXES = {1: ("InteractiveJob 1", True), 2: ("SourceJob 2", False), 3: ("JoinJob 3", False), 4: ("CSVSinkJob 4", True)}
ARROWS = {
    (1, 3, "104 Gain", True),
    (2, 3, "101 PicklePipe", False),
    (2, 4, "201 PicklePipe", False),
    (3, 4, "102 PicklePipe", False),
    (3, 4, "103 PicklePipe", False),
}
SVG = "{http://www.w3.org/2000/svg}"
Cli = Callable[..., Outcome]


@pytest.fixture(autouse=True)
def config(root: Path) -> None:
    (root / "net/config.py").write_text(CONFIG)


def test_mermaid(cli: Cli) -> None:
    lines = cli("net", "graph").out.splitlines()
    assert lines[0] == "graph LR"
    assert lines[1:5] == ["  subgraph network", "    2(SourceJob 2)", "    3(JoinJob 3)", "  end"]
    assert lines[5:9] == ["  subgraph locals", "    1(InteractiveJob 1)", "    4(CSVSinkJob 4)", "  end"]
    found = {re.fullmatch(r"  (\d) (-->|-\.->)\|(.*)\| (\d)", line).groups() for line in lines[9:]}
    assert {(int(one), int(other), label, kind == "-.->") for one, kind, label, other in found} == ARROWS


def test_graphviz_reads_the_dot_output(cli: Cli) -> None:
    text = cli("net", "graph", "--format", "dot").out
    plain = subprocess.run(["dot", "-Tplain"], input=text, capture_output=True, text=True, timeout=30, check=True).stdout
    rows = [line.split() for line in plain.splitlines()]
    assert {row[1] for row in rows if row[0] == "node"} == {f"job_{number}" for number in BOXES}
    arrows = {(int(row[1][4:]), int(row[2][4:])) for row in rows if row[0] == "edge"}
    assert arrows == {(one, other) for one, other, _, _ in ARROWS}
    assert sum(row[0] == "edge" for row in rows) == len(ARROWS)


def texts(element: ElementTree.Element) -> list[str]:
    return ["".join(one.itertext()) for one in element.iter(f"{SVG}text")]


def test_html_opens_anywhere(cli: Cli) -> None:
    page = cli("net", "graph", "--format", "html").out
    assert not re.search(r"<script|<link|src=|url\((?!#)|@import", page)
    assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)", page)
    svg = ElementTree.fromstring(page[page.index("<svg") : page.index("</svg>") + 6])
    groups = {group.get("id"): group for group in svg.iter(f"{SVG}g")}
    for number, (name, local) in BOXES.items():
        assert texts(groups[f"job_{number}"]) == [name]
        assert (groups[f"job_{number}"].get("class") == "job local") is local
    found = set()
    for key, group in groups.items():
        if key and key.startswith("pipe_"):
            dotted = group.find(f"{SVG}path").get("class") == "pipe optional"  # type: ignore[union-attr]
            found.add((int(group.get("data-from", "")[4:]), int(group.get("data-to", "")[4:]), texts(group)[0], dotted))
    assert found == ARROWS


def test_no_box_covers_another_and_no_arrow_a_box(cli: Cli) -> None:
    """SourceJob 2 feeds CSVSinkJob 4 past JoinJob 3."""
    page = cli("net", "graph", "--format", "html").out
    svg = ElementTree.fromstring(page[page.index("<svg") : page.index("</svg>") + 6])
    boxes = {}
    for group in svg.iter(f"{SVG}g"):
        rect = group.find(f"{SVG}rect")
        if rect is not None:
            x, y, width, height = (float(rect.get(name, 0)) for name in ("x", "y", "width", "height"))
            boxes[group.get("id")] = (x, y, x + width, y + height)
    listed = list(boxes.values())
    for index, one in enumerate(listed):
        for other in listed[index + 1 :]:
            assert one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
    (way,) = (group.find(f"{SVG}path").get("d") for group in svg.iter(f"{SVG}g") if group.get("id") == "pipe_201")  # type: ignore[union-attr]
    points = [(float(x), float(y)) for x, y in re.findall(r"(\d+) (\d+)(?=C|$)", way or "")]
    left, top, right, bottom = boxes["job_3"]
    assert len(points) == 3
    assert not any(left < x < right and top < y < bottom for x, y in points)


@pytest.mark.parametrize("kind", ["pdf", "svg", "png"])
@pytest.mark.parametrize("command", ["graphviz", "show"])
def test_files_by_their_endings(cli: Cli, root: Path, command: str, kind: str) -> None:
    done = cli("net", command, "--output", f"net.{kind}")
    assert (done.code, done.out) == (0, f"drew net into net.{kind}\n"), done.err
    beginning = {"pdf": b"%PDF", "svg": b"<?xml", "png": b"\x89PNG"}[kind]
    assert (root / f"net.{kind}").read_bytes().startswith(beginning)


def test_svg_of_graphviz_by_structure(cli: Cli, root: Path) -> None:
    assert cli("net", "graphviz", "--output", "net.svg").code == 0
    svg = ElementTree.parse(root / "net.svg").getroot()
    nodes, edges, clusters = [], [], {}
    for group in svg.iter(f"{SVG}g"):
        title = group.findtext(f"{SVG}title") or ""
        if group.get("class") == "node":
            nodes.append((title, texts(group)))
        elif group.get("class") == "edge":
            edges.append((title, texts(group)))
        elif group.get("class") == "cluster":
            clusters[title] = texts(group)
    assert sorted(nodes) == [(f"job_{number}", [name]) for number, (name, _) in BOXES.items()]
    assert sorted(edges) == sorted((f"job_{one}->job_{other}", [label]) for one, other, label, _ in ARROWS)
    assert clusters == {"cluster_network": ["network"], "cluster_locals": ["locals"]}


def test_svg_of_matplotlib_by_structure(cli: Cli, root: Path) -> None:
    assert cli("net", "show", "--output", "net.svg").code == 0
    svg = ElementTree.parse(root / "net.svg").getroot()
    keys = {group.get("id") for group in svg.iter(f"{SVG}g")}
    assert {f"job_{number}" for number in BOXES} | {f"pipe_{label.split()[0]}" for _, _, label, _ in ARROWS} <= keys
    assert {name for name, _ in BOXES.values()} | {label for _, _, label, _ in ARROWS} <= set(texts(svg))


def test_the_pdf_has_its_place(cli: Cli, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    assert cli("net", "graphviz").out == f"drew net into {root / 'net/network.pdf'}\n"
    assert (root / "net/network.pdf").exists()


def test_an_incomplete_network_is_drawn_with_question_marks(cli: Cli, root: Path) -> None:
    (root / "net/config.py").write_text(CONFIG.replace("    SourceJob(outputs=[PicklePipe(101), PicklePipe(201)]),\n", ""))
    done = cli("net", "graph")
    assert "Warning: " in done.err
    assert "pipe 101 has no source" in done.err
    assert "  open_101_in((?))" in done.out
    assert "  open_101_in -->|101 PicklePipe| 2" in done.out
    for kind in ("dot", "html"):
        assert cli("net", "graph", "--format", kind).code == 0
    assert cli("net", "show", "--output", "net.png").code == 0


@pytest.mark.slow
def test_colours_tell_where_jobs_run(fission: CommandLine) -> None:
    text = CONFIG.replace("        yield 1", "        import time\n        while True:\n            yield 1\n            time.sleep(0.05)")
    fission.project({"net/config.py": text.replace("class ", "class ", 1)})
    (fission.root / "net/jobs.py").write_text(text[: text.index("JOBS")])
    (fission.root / "net/config.py").write_text("from net.jobs import *\n" + text[text.index("JOBS") :])
    client = fission.start("net", "simulate", "--nodes", "2", env={"DISPLAY": None})
    client.wait_for("JoinJob 3 started", stream="stderr")
    client.wait_for("CSVSinkJob 4 started", stream="stderr")
    page = fission.run("net", "graph", "--format", "html", exit_code=0).stdout
    fills = dict(re.findall(r'id="(job_\d)"><title>.*?</title><rect [^>]*fill="([^"]+)"', page, re.DOTALL))
    assert fills["job_1"] == fills["job_4"]  # both on the client
    assert len({fills["job_2"], fills["job_3"], fills["job_1"]}) == 3
    assert "node client" in page
    mermaid = fission.run("net", "graph", exit_code=0).stdout
    assert re.search(r"classDef node\d fill:#\w+\n  class 1,4 node\d", mermaid)
    dot = fission.run("net", "graph", "--format", "dot", exit_code=0).stdout
    assert len(set(re.findall(r'job_[23] \[.*fillcolor="(#\w+)"', dot))) == 2
    client.interrupt()
    client.wait(exit_code=130)


# -- what goes wrong --------------------------------------------------------------------------------------------------


def test_graphviz_is_not_installed(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.fspath(Path(shutil.which("true") or "/bin/true").parent / "nowhere"))
    done = cli("net", "graphviz", "--output", "x.pdf")
    assert done.code == 2
    assert (
        "graphviz is not installed: there is no program dot on PATH; install it (Debian, Raspberry Pi OS: apt install graphviz)" in done.err
    )


@pytest.mark.parametrize("command", ["graphviz", "show"])
def test_files_that_cannot_be(cli: Cli, command: str) -> None:
    assert "must be a .pdf, .svg or .png file, but is 'x.jpg'" in cli("net", command, "--output", "x.jpg").err
    done = cli("net", command, "--output", "no/x.svg")
    assert (done.code, "no/x.svg cannot be written: No such file or directory" in done.err) == (2, True)


def test_no_desktop(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    done = cli("net", "show")
    assert (done.code, "there is no desktop to open a window on" in done.err) == (2, True)


def test_a_config_that_cannot_be_run(cli: Cli, root: Path) -> None:
    (root / "net/config.py").write_text("JOBS = [\n")
    done = cli("net", "graph")
    assert (done.code, "SyntaxError" in done.err, "Traceback" in done.err) == (2, True, False)
