"""Sinks whose process, client or file is lost: their files have every block once, in order."""

from __future__ import annotations

import random
import sqlite3
import wave
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.failover import Stage, project_of
from tests.e2e.support import GONE_S, column, remains
from tests.waiting import DEADLINE_S, CommandLine, eventually

np = pytest.importorskip("numpy")

JOBS = """
import numpy

class Spread(PythonJob):
    def run(self, number):
        return (
            numpy.full(300, number / 3),
            b"%d\\n" % number,
            numpy.full((5, 2), number % 1000, "int16"),
            numpy.full(3, number, "float32"),
            numpy.arange(number % 4) + number,
        )
"""
LISTED = """
Until(pace=0.02, outputs=[PicklePipe(1)]),
Spread(inputs=[PicklePipe(1)], outputs=[PicklePipe(number) for number in range(2, 7)]),
CSVSinkJob("result.csv", inputs=[PicklePipe(2)]),
BytesSinkJob("result.bin", inputs=[PicklePipe(3)]),
WavSinkJob("result.wav", rate=8000, channels=2, inputs=[PicklePipe(4)]),
NpySinkJob("result.npy", inputs=[PicklePipe(5)]),
NpySinkJob("joined.npy", inputs=[PicklePipe(6)], concatenate=True),
"""
SINKS = range(3, 8)


def check(folder: Path, *, ended: bool = True) -> int:
    """Look at all files; return how many blocks the longest of them has."""
    import csv
    import json

    with open(folder / "3/result.csv", newline="") as file:
        cells = [json.loads(cell) for (cell,) in list(csv.reader(file))[1:]]
    count = len(cells)
    assert cells == [[number / 3] * 300 for number in range(1, count + 1)]
    lines = (folder / "4/result.bin").read_bytes().split(b"\n")[:-1]
    assert lines == [b"%d" % number for number in range(1, len(lines) + 1)]
    with wave.open(str(folder / "5/result.wav"), "rb") as sound:
        assert sound.getparams()[:3] == (2, 2, 8000)
        frames = np.frombuffer(sound.readframes(sound.getnframes()), "<i2").reshape(-1, 2)
    sounds = len(frames) // 5
    assert (frames == np.repeat(np.arange(1, sounds + 1) % 1000, 5)[:, None]).all()
    if not ended and not all((folder / path).stat().st_size for path in ("6/result.npy", "7/joined.npy")):
        return max(count, len(lines), sounds)  # without a block there is no dtype
    items = np.load(folder / "6/result.npy")
    assert (items == np.arange(1, len(items) + 1)[:, None]).all()
    joined = np.load(folder / "7/joined.npy")
    whole = np.concatenate([np.arange(number % 4) + number for number in range(1, count + 1)])
    assert (joined[: len(whole)] == whole[: len(joined)]).all()
    if ended:
        assert len(lines) == sounds == len(items) == count
        assert (joined == whole).all()
        assert (folder / "5/result.wav").stat().st_size == 96 + 20 * count
    return max(count, len(lines), sounds, len(items), int((len(joined) + 0.5) / 1.5))


def headers_fit(folder: Path) -> bool:
    """Check all files; return whether no NPY file had less than its header says when it was read."""
    try:
        check(folder, ended=False)
    except ValueError:
        return False
    return True


def test_every_sink_continues_its_file(fission: CommandLine) -> None:
    fission.project(project_of(LISTED, JOBS))
    rng = random.Random(5)

    async def script(stage: Stage) -> None:
        for _ in range(10):
            await stage.rows(stage.row_count() + rng.randint(1, 12))
            victim = rng.choice(SINKS)
            before = len(stage.failovers)
            await stage.until(lambda: stage.kill_job(victim), "its process")  # noqa: B023
            await stage.until(lambda: len(stage.failovers) > before, "its failover")  # noqa: B023
            # its new process cuts off what was not recorded, and then corrects the header
            await stage.until(lambda: headers_fit(stage.folder(3).parent), "headers that count what is there")
        await stage.rows(stage.row_count() + 20)
        (stage.folder(1) / "stop").touch()

    ran = Stage(fission, sink=3).run(script)
    assert (ran.summary.exit_code, ran.summary.reason) == (0, "finished"), ran
    assert check(ran.result.parent.parent) > 20
    assert not [text for kind, text in ran.console if kind == "warning" and "restarted with" in text], ran


@pytest.mark.slow
@pytest.mark.soak
def test_every_sink_continues_its_file_with_another_client(fission: CommandLine) -> None:
    fission.project(project_of(LISTED, JOBS))
    folder = fission.root / "net/local"
    count = 0
    for resume in ([], ["--resume"], ["--resume"]):
        client = fission.start("net", "run", *resume)
        eventually(lambda: len(column_of(folder / "4/result.bin")) > count + 20, DEADLINE_S, "20 more blocks")  # noqa: B023
        client.process.kill()
        client.wait()
        eventually(lambda: not remains(fission.root), GONE_S, lambda: "; ".join(remains(fission.root)))
        count = check(folder, ended=False)
    client = fission.start("net", "run", "--resume")
    # a source that was stopped earlier than before would have sent less than the files have
    eventually(lambda: len(column_of(folder / "4/result.bin")) > count + 20, DEADLINE_S, "20 more blocks")
    (folder / "1/stop").touch()
    client.wait(exit_code=0)
    assert check(folder) > count


def column_of(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines() if path.exists() else []


@pytest.mark.parametrize("harm", ["shorter", "missing", "folder empty"])
def test_a_resume_that_finds_less_than_was_acknowledged_fails(fission: CommandLine, harm: str) -> None:
    listed = 'Until(outputs=[PicklePipe(1)]), CSVSinkJob("result.csv", inputs=[PicklePipe(1)])'
    fission.project(project_of(listed))
    folder = fission.root / "net/local"
    path = folder / "2/result.csv"
    client = fission.start("net", "run")
    # the source has a stable snapshot, so it has been acknowledged what comes before
    eventually(lambda: path.exists() and len(path.read_bytes().splitlines()) > 200, DEADLINE_S, "200 rows")
    client.process.kill()
    client.wait()
    eventually(lambda: not remains(fission.root), GONE_S, lambda: "; ".join(remains(fission.root)))
    if harm == "shorter":
        path.write_bytes(path.read_bytes()[:50])
    else:
        for one in (path, *([folder / "2/.fission-sink"] if harm == "folder empty" else [])):
            one.unlink()
    done = fission.run("net", "run", "--resume", exit_code=1)
    text = {
        "shorter": "but has 50, so blocks are lost",
        "missing": "but has 0, so blocks are lost",
        "folder empty": "is missing in the job's folder, but all",
    }
    assert text[harm] in done.stderr + done.stdout, done
    assert "Traceback" not in done.stderr


OWN = """
class Prints(PythonJob):
    def run(self, number):
        print(number)

class Counts(Prints):
    CHECKPOINT = 1000

class Asks(PythonJob):
    def setup(self, *args, **kwargs):
        print("begins with", self.position)
    def run(self, number):
        print(f"block {self.block_number} of {self.generation} is {number}, begun with {self.position}")

class Keeps(PythonJob):
    '''Rows with a key in a database: a repeated block replaces itself.'''
    def setup(self, *args, **kwargs):
        self.db = sqlite3.connect("rows.db")
        self.db.execute("CREATE TABLE IF NOT EXISTS blocks (generation, number, value, PRIMARY KEY (generation, number))")
    def run(self, number):
        with self.db:
            self.db.execute("INSERT OR REPLACE INTO blocks VALUES (?, ?, ?)", (self.generation, self.block_number, number))
"""


def test_own_sinks_know_where_they_are_or_are_warned_about(fission: CommandLine) -> None:
    listed = "Until(pace=0.01, outputs=[PicklePipe(number) for number in range(1, 6)]), " + ", ".join(
        f"{kind}(inputs=[PicklePipe({number})])" for number, kind in enumerate(["Prints", "Counts", "Asks", "Keeps"], 1)
    )
    listed += ', CSVSinkJob("result.csv", inputs=[PicklePipe(5)])'
    fission.project(project_of(listed, "import sqlite3\n" + OWN))

    async def script(stage: Stage) -> None:
        for _ in range(2):
            for job in range(2, 7):
                await stage.rows(stage.row_count() + 8)
                before = len(stage.failovers)
                await stage.until(lambda: stage.kill_job(job), "its process")  # noqa: B023
                await stage.until(lambda: len(stage.failovers) > before, "its failover")  # noqa: B023
        await stage.rows(stage.row_count() + 30)
        (stage.folder(1) / "stop").touch()

    ran = Stage(fission, sink=6).run(script)
    assert ran.summary.exit_code == 0, ran
    warnings = [text for kind, text in ran.console if kind == "warning" and "restarted with" in text]
    assert len(warnings) == 1, ran
    assert warnings[0].startswith("Prints 2: restarted with compute block ")
    assert "a file that it opens with mode 'w' is emptied. Derive it from FileSinkJob" in warnings[0]
    assert "docs/sinks.md" in warnings[0]
    begins = [int(line.split()[-1]) for line in ran.printed(4) if line.startswith("begins")]
    assert begins[0] == 1
    assert 1 < begins[1] < begins[2]
    blocks: list[Any] = [line.replace(",", "").split() for line in ran.printed(4) if line.startswith("block")]
    assert {line[1] == line[5] and line[3] == "0" for line in blocks} == {True}
    assert {int(line[-1]) for line in blocks} == set(begins)
    assert {int(line[1]) for line in blocks} == set(range(1, len(column(ran.result)) + 1))
    with sqlite3.connect(ran.result.parent.parent / "5/rows.db") as database:
        assert database.execute("SELECT number, value FROM blocks ORDER BY number").fetchall() == [
            (number, number) for number in column(ran.result)
        ]
