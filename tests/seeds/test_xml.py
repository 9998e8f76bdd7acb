"""XML networks of MARVELO's users: missing sizes, empty parameters, own tags, paths relative to the current folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.project.projects import faults, loaded, one_fault, shape
from tests.waiting import CommandLine

CONFIG = "XML_FILE = 'net.xml'\n"

#: Writes three letters, as an executable of MARVELO: its pipes are descriptors that it is given by -o and -i.
SOURCE = """\
#!/usr/bin/env python3
import argparse, os
parser = argparse.ArgumentParser()
parser.add_argument("-o", type=int)
os.write(parser.parse_args().o, b"abc")
"""
SINK = """\
#!/usr/bin/env python3
import argparse, os
parser = argparse.ArgumentParser()
parser.add_argument("--word", default="seen")
parser.add_argument("-i", type=int)
arguments = parser.parse_args()
while data := os.read(arguments.i, 1):
    print(arguments.word, data.decode(), flush=True)
"""
FILES = {"net/source/a": SOURCE, "net/source/b": SINK}
XML = """\
<network>
  <node pi_id="127.0.0.2">
    <algorithm path="net/source" executable="./a"><parameter param=""/><output pipe_id="1"/></algorithm>
  </node>
  <node pi_id="127.0.0.3">
    <algorithm path="net/source" executable="./b">
      <parameter param="--word"/><parameter param=""/><parameter param="got"/><input pipe_id="1"/>
    </algorithm>
  </node>
</network>
"""


def test_a_network_as_users_have_it_runs(fission: CommandLine) -> None:
    fission.project({"net/config.py": CONFIG, "net.xml": XML, **FILES})
    for name in FILES:
        (fission.root / name).chmod(0o755)
    done = fission.run("net", "simulate").expect(0)
    assert [line for line in done.stdout.splitlines() if "got" in line] == [f"[DynamicMARVELOJob 2] got {letter}" for letter in "abc"]


def test_sizes_that_are_left_out_are_1(tmp_path: Path) -> None:
    network = loaded(tmp_path, CONFIG, {"net.xml": XML, **FILES}).network
    (pipe,) = network.jobs[1].outputs
    assert (pipe.BLOCK_SIZE, pipe.BLOCK_COUNT) == (1, 1)
    assert [job.PARAMETERS for job in network.jobs.values()] == ["", "--word got"]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("", "", (1, 1)),
        ('block_size=""', 'block_count=""', (1, 1)),
        ('block_size="8"', "", (8, 1)),
        ("", 'block_size="8" block_count="3"', (8, 3)),
        ('block_count="3"', "", (1, 3)),
    ],
)
def test_a_size_at_one_end_is_that_of_the_pipe(tmp_path: Path, first: str, second: str, expected: tuple[int, int]) -> None:
    text = XML.replace('<output pipe_id="1"', f'<output pipe_id="1" {first}').replace('<input pipe_id="1"', f'<input pipe_id="1" {second}')
    (pipe,) = loaded(tmp_path, CONFIG, {"net.xml": text, **FILES}).network.jobs[1].outputs
    assert expected == (pipe.BLOCK_SIZE, pipe.BLOCK_COUNT)


@pytest.mark.parametrize(
    "renamed",
    [
        {"algorithm": "job"},
        {"node": "machine", "algorithm": "job"},
        {"network": "net", "node": "pi", "algorithm": "prog"},
        {"network": "node", "node": "node", "algorithm": "node"},
        {"algorithm": "input"},
    ],
)
@pytest.mark.parametrize("address", ["pi_id", "ip"])
def test_root_nodes_and_jobs_have_any_tag(tmp_path: Path, renamed: Mapping[str, str], address: str) -> None:
    plain = shape(loaded(tmp_path, CONFIG, {"net.xml": XML, **FILES}))
    text = XML.replace("pi_id=", f"{address}=")
    for old, new in renamed.items():
        for mark in ("<", "</"):
            text = text.replace(f"{mark}{old}>", f"{mark}@{new}>").replace(f"{mark}{old} ", f"{mark}@{new} ")
    text = text.replace("@", "")
    assert text != XML
    assert shape(loaded(tmp_path, CONFIG, {"net.xml": text, **FILES})) == plain
    assert shape(loaded(tmp_path, f"{CONFIG}XML_ARGS = {{'ip': '{address}'}}\n", {"net.xml": text, **FILES})) == plain


@pytest.mark.parametrize(("here", "expected"), [("sub", "sub"), (".", "."), ("net", "net")])
def test_paths_begin_at_the_current_folder_then_project_then_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: str, expected: str
) -> None:
    files = {f"{folder}/{name}": text for folder in ("sub", ".", "net") for name, text in (("net.xml", XML), ("source/a", SOURCE))}
    files = {name: text.replace('path="net/source"', 'path="source"') for name, text in files.items()}
    files |= {f"{folder}/source/b": SINK for folder in ("sub", ".", "net")}
    found = {}
    for removed in ("", "sub", "."):
        for name in list(files):
            if removed and (name.startswith("sub/") if removed == "sub" else name.startswith("./")):
                (tmp_path / name).unlink()
                if not any((tmp_path / name).parent.iterdir()):
                    (tmp_path / name).parent.rmdir()
                del files[name]
        (tmp_path / here).mkdir(parents=True, exist_ok=True)
        monkeypatch.chdir(tmp_path / here)
        network = loaded(tmp_path, CONFIG, files)
        assert network.config.xml_file is not None
        folder = tmp_path / str(network.config.jobs[0].DEPENDENCIES)
        found[removed] = [str(path.resolve().parent.relative_to(tmp_path)) for path in (network.config.xml_file, folder)]
    at = {"": expected, "sub": "net" if here == "net" else ".", ".": "net"}
    assert found == {removed: [folder, folder] for removed, folder in at.items()}


STILL_REFUSED = [
    (
        XML.replace('<output pipe_id="1"', '<output pipe_id="1" block_size="8"').replace(
            '<input pipe_id="1"', '<input pipe_id="1" block_size="9"'
        ),
        "the ends of pipe 1 must have the same block_size",
    ),
    (XML.replace('<output pipe_id="1"', '<output pipe_id="1" blocksize="8"'), "unknown attribute 'blocksize'; did you mean 'block_size'?"),
    (XML.replace('executable="./a"', 'executable="./a" pathh="x"').replace('path="net/source" ', "", 1), "did you mean 'path'?"),
    (XML.replace("<network>", "<!DOCTYPE network><network>"), "document type"),
    (XML.replace("./a", "&a;"), "undefined entity"),
    ("<web/>", "XML_FILE names the file 'net.xml', which has no jobs"),
]


@pytest.mark.parametrize(("text", "expected"), STILL_REFUSED, ids=[expected for _, expected in STILL_REFUSED])
def test_mistakes_are_still_refused(tmp_path: Path, text: str, expected: str) -> None:
    assert expected in one_fault(tmp_path, CONFIG, {"net.xml": text, **FILES})


def test_a_missing_file_is_reported_with_the_places_searched(tmp_path: Path) -> None:
    assert "neither in the current folder, nor in the project, nor in net" in "\n".join(faults(tmp_path, CONFIG))
