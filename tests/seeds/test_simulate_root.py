"""``simulate ROOT``: the jobs work in another folder, and the user's files there stay."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.seeds.old import ROWS, old_project, table
from tests.waiting import CommandLine

ENDLESS = """\
import time
from fission.core.jobs import PythonJob
from fission.core.pipes import PicklePipe

class Ticks(PythonJob):
    def run(self):
        while True:
            yield 1
            time.sleep(0.01)

class Show(PythonJob):
    def run(self, value):
        print("got", value)

JOBS = [Ticks(outputs=[PicklePipe(1)]), Show(inputs=[PicklePipe(1)])]
"""


@pytest.fixture
def project(fission: CommandLine) -> Path:
    return old_project(fission.project({}))


def rows(folder: Path) -> str:
    return table(folder / "3/tone.csv")


@pytest.mark.parametrize("name", ["out/deep er", "../beside", "absolute", "net/simulation"])
def test_the_jobs_work_in_the_folder(fission: CommandLine, project: Path, name: str) -> None:
    folder = project / name
    for _ in range(2):  # the second finds the first one's
        fission.run("net", "simulate", str(folder) if name == "absolute" else name).expect(0)
        assert rows(folder).endswith(ROWS)
        assert "Tone 1" in (folder / "info.txt").read_text()
        assert (folder / "events.jsonl").is_file()
    assert (project / "net/simulation").exists() == (name == "net/simulation")


def test_files_in_the_folder_stay(fission: CommandLine, project: Path) -> None:
    folder = project / "out"
    mine = {"notes.txt": "mine", "9/result.csv": "mine", "data/1/x": "mine"}
    for name, text in mine.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    for _ in range(2):
        fission.run("net", "simulate", "out").expect(0)
        assert {name: (folder / name).read_text() for name in mine} == mine
        (folder / "3/old").write_text("of the last run")
    fission.run("net", "simulate", "out").expect(0)
    assert not (folder / "3/old").exists()


@pytest.mark.parametrize("what", ["folder", "file", "link"])
def test_a_folder_of_the_user_is_not_emptied_for_a_job(fission: CommandLine, project: Path, what: str) -> None:
    (project / "out").mkdir()
    taken = project / "out/2"
    if what == "folder":
        taken.mkdir()
        (taken / "thesis.txt").write_text("years of work")
    elif what == "file":
        taken.write_text("years of work")
    else:
        taken.symlink_to(project)
    done = fission.run("net", "simulate", "out").expect(2)
    assert "out/2 must not exist" in done.stderr
    assert taken.exists()
    assert what != "folder" or (taken / "thesis.txt").read_text() == "years of work"
    assert sorted(path.name for path in (project / "out").iterdir()) == [".fission-simulation", "2"]


@pytest.mark.parametrize("root", [".", "net", "net/source", "net/source/out"])
def test_the_folder_may_be_or_be_in_the_dependencies(fission: CommandLine, project: Path, root: str) -> None:
    config = project / "net/config.py"
    config.write_text(config.read_text() + "\nJOBS[0].DEPENDENCIES = 'net/source'\nJOBS[1].DEPENDENCIES = 'net'\n")
    (project / "net/source/data.txt").write_text("data")
    for _ in range(2):
        fission.run("net", "simulate", root).expect(0)
        assert rows(project / root).endswith(ROWS)
        assert (project / root / "1/data.txt").read_text() == "data"
        assert (project / root / "2/source/data.txt").read_text() == "data"
        assert not list((project / root / "1").rglob("tone.csv"))
    assert (project / "net/source/data.txt").read_text() == "data"


def test_a_file_in_the_place_of_the_folder_is_refused(fission: CommandLine, project: Path) -> None:
    (project / "out").write_text("mine")
    done = fission.run("net", "simulate", "out").expect(2)
    assert "out must be a folder that you can write" in done.stderr
    assert (project / "out").read_text() == "mine"


def test_other_terminals_find_it_and_another_network_keeps_out(fission: CommandLine) -> None:
    fission.project({"net/config.py": ENDLESS, "more/config.py": ENDLESS})
    with fission.start("net", "simulate", "out") as running:
        running.wait_for("got 1")
        assert "Ticks 1" in fission.run("net", "status").expect(0).stdout
        refused = fission.run("more", "simulate", "out").expect(2)
        assert "another network works in" in refused.stderr
        fission.run("net", "stop").expect(0)
        running.wait()
    gone = fission.run("net", "status")
    assert "net simulate" in gone.stdout + gone.stderr
    fission.run("net", "simulate", "--for", "1").expect(0)
    assert (fission.root / "net/.fission-lock").read_text() == ""
