"""Executables as relays: whatever is killed at any moment, each block arrives once or is counted; programs that break their RATIO."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Awaitable, Callable
from itertools import product

import pytest

from fission.protocol.packed import Packed
from fission.protocol.relay import Relay
from fission.runtime import program_input
from fission.runtime.program_input import Intake
from tests.e2e.failover import PATIENT, Stage, project_of
from tests.e2e.support import column, finish, network, rows
from tests.waiting import CommandLine

pytestmark = pytest.mark.usefixtures("own_modules")

LIMIT = 6000
#: A fast source, programs, and a consumer that is slower than all of them: windows and pipes are full when something is killed.
JOBS = """
class Fast(PythonJob):
    CHECKPOINT = 500
    def setup(self, *args, **kwargs):
        self.number = 0
    def run(self):
        self.number += 1
        if self.number == 6000:
            self.finish()
        return self.number

class Slow(PythonJob):
    def run(self, value):
        time.sleep(0.0002)
        return value

class Script(ExecutableJob):
    EXECUTABLE = "sh"
    PARAMETERS = "relay.sh"
    DEPENDENCIES = "net/source"

class Program(ExecutableJob):
    EXECUTABLE = sys.executable
    PARAMETERS = "program.py"
    DEPENDENCIES = "net/source"

class Varies(Script):
    RATIO = None

class Twice(Program):
    RATIO = 2

class Third(Program):
    from fractions import Fraction
    RATIO = Fraction(1, 3)

class Fives(JSONPipe):
    BLOCK_COUNT = 5

class Eights(BytesPipe):
    size = 8
    def __init__(self, id):
        super().__init__(id, self.size)
    def pack(self, data):
        return super().pack(data.to_bytes(8, "big") + bytes(self.size - 8))
    def unpack(self, data):
        assert not any(data[8:])
        return int.from_bytes(data[:8], "big")

class Middle(Eights):
    size = 16_000

class Large(Eights):
    size = 70_000
"""
TWICE = "import sys\nout = open(sys.argv[4], 'w')\nfor line in open(sys.argv[2]):\n    print(line, end=line, file=out, flush=True)\n"
THIRD = """
import sys
out = open(sys.argv[4], "w")
lines = []
for line in open(sys.argv[2]):
    lines.append(int(line))
    if len(lines) == 3:
        print(sum(lines), file=out, flush=True)
        lines = []
"""
CHAIN = """
Fast(outputs=[{into}(1)]),
{job}(inputs=[{into}(1)], outputs=[{out}(2)]),
Slow(inputs=[{out}(2)], outputs=[PicklePipe(3)]),
CSVSinkJob("result.csv", inputs=[PicklePipe(3)]),
"""
RATIOS = {
    "one for one": ("Script", "", "JSONPipe", list(range(1, LIMIT + 1))),
    "two for one": ("Twice", TWICE, "JSONPipe", [number for number in range(1, LIMIT + 1) for _ in range(2)]),
    "one for three": ("Third", THIRD, "JSONPipe", [3 * number for number in range(2, LIMIT + 1, 3)]),
    "five at a time": ("Script", "", "Fives", list(range(1, LIMIT + 1))),
    "packed": ("Script", "", "Eights", list(range(1, LIMIT + 1))),
    "packed, some in shared memory": ("Script", "", "Middle", list(range(1, LIMIT + 1))),
    "packed in shared memory": ("Script", "", "Large", list(range(1, LIMIT + 1))),
}
#: The pipe of a program's output, if it is not a JSONPipe.
OUT = {"Eights": "Eights", "Middle": "Middle", "Large": "Large"}
KILLS: dict[str, Callable[[Stage], object]] = {
    "program": lambda stage: stage.kill_program(2),
    "job": lambda stage: stage.kill_job(2),
    "job and consumer": lambda stage: (stage.kill_job(2), stage.kill_job(3)),
    "job and source": lambda stage: (stage.kill_job(1), stage.kill_job(2)),
}


def killed_at(kill: Callable[[Stage], object], *counts: int) -> Callable[[Stage], Awaitable[None]]:
    async def script(stage: Stage) -> None:
        for count in counts:
            await stage.rows(count)
            before = len(stage.failovers)
            kill(stage)
            await stage.until(lambda before=before: len(stage.failovers) > before, "a failover")

    return script


def staged(fission: CommandLine, listed: str, program: str = "", jobs: str = "", sink: int = 4) -> Stage:
    files = project_of(listed, JOBS + jobs, PATIENT)
    fission.project(files | {"net/source/program.py": program})
    return Stage(fission, sink=sink)


QUICK = [
    ("one for one", "job"),
    ("one for three", "job and source"),
    ("two for one", "program"),
    ("packed", "program"),
    ("packed, some in shared memory", "job"),
]
SOAK = [
    pytest.param(kind, kill, marks=[pytest.mark.slow, pytest.mark.soak]) for kind in RATIOS for kill in KILLS if (kind, kill) not in QUICK
]


@pytest.mark.parametrize(("kind", "kill"), [*QUICK, *SOAK])
def test_nothing_is_lost_when_an_executable_is_killed(fission: CommandLine, kind: str, kill: str) -> None:
    """Its inputs are kept until their outputs arrive: neither what the program has read nor what it has written may be lost with it."""
    job, program, pipe, wanted = RATIOS[kind]
    stage = staged(fission, CHAIN.format(job=job, into=pipe, out=OUT.get(pipe, "JSONPipe")), program)
    ran = stage.run(killed_at(KILLS[kill], len(wanted) // 6, len(wanted) // 2))
    assert ran.summary.exit_code == 0, ran
    assert column(ran.result) == wanted, ran
    counts = [pipe for job in ran.summary.jobs.values() for pipe in job.counts["inputs"].values()]
    assert not any(one["lost"] or one["dummies"] for one in counts), ran


# -- packed blocks, killed at random moments

#: Bugs that lose or confuse blocks, installed in each job's process, and the pipe that shows them.
BUGS = {
    "released when written": (
        "Eights",
        """
from fission.protocol.relay import Relay
Relay.release = lambda self, released: self.passed
""",
    ),
    "whole messages": (
        "Eights",
        """
from fission.protocol.packed import Packed
Packed.view = lambda self, index, count=1: memoryview(self.payload)
""",
    ),
    "written out of turn": (
        "Large",
        """
from fission.runtime.program_input import Intake
Intake.put = lambda self, blocks, timeout: (self.descriptor >= 0 and self._write_some(blocks)) or self.enqueue(blocks, timeout)
""",
    ),
    "a part of a block left out": (
        "Large",
        """
from fission.runtime import program_input
program_input._after = lambda pieces, count: pieces[1:]
""",
    ),
}


def killed_at_random(stage: Stage, seed: int, limit: int, bug: str = "") -> None:
    """Run a network in which a program, a job or several are killed at three random moments; check what arrived."""
    rng = random.Random(seed)
    kills = [KILLS[rng.choice(list(KILLS))] for _ in range(3)]
    moments = sorted(rng.sample(range(limit // 60, limit - limit // 12), len(kills)))

    async def script(stage: Stage) -> None:
        for kill, moment in zip(kills, moments, strict=True):
            await killed_at(kill, moment)(stage)
        if bug:  # it may also stop the network
            await stage.until(lambda: stage.row_count() >= limit, "all rows", 10.0)

    ran = stage.run(script)
    assert ran.summary.exit_code == 0, ran
    assert column(ran.result) == list(range(1, limit + 1)), ran


def packed_and_killed(fission: CommandLine, pipe: str, seed: int, bug: str = "") -> None:
    """Run a chain of packed blocks with such kills."""
    killed_at_random(staged(fission, CHAIN.format(job="Script", into=pipe, out=pipe), jobs=bug), seed, LIMIT, bug)


@pytest.mark.parametrize(
    ("pipe", "seed"),
    [("Eights", 1), *(pytest.param(*one, marks=[pytest.mark.slow, pytest.mark.soak]) for one in product(OUT, range(2, 8)))],
)
def test_packed_blocks_arrive_once_whatever_is_killed(fission: CommandLine, pipe: str, seed: int) -> None:
    packed_and_killed(fission, pipe, seed)


@pytest.mark.parametrize("bug", BUGS)
@pytest.mark.slow
def test_bugs_in_the_way_of_packed_blocks_are_caught(fission: CommandLine, bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for owner, name in ((Relay, "release"), (Packed, "view"), (Intake, "put"), (program_input, "_after")):
        monkeypatch.setattr(owner, name, getattr(owner, name))  # this process loads the jobs too: undo afterwards what they do to it
    with pytest.raises(AssertionError):
        packed_and_killed(fission, BUGS[bug][0], 1, BUGS[bug][1])


# -- blocks of all sizes, which are joined, written in pieces or alone

MIXED_LIMIT = 1200
MIXED_JOBS = """
import random

def text(number):
    size = random.Random(number).choice([0, 0, 1, 100, 4000, 4100, 9000, 65536, 70000, 300000])
    return chr(97 + number % 26) * size

class Mixed(Fast):
    def run(self):
        number = super().run()
        if number == 1200:
            self.finish()
        return [number, text(number)]

class Check(PythonJob):
    def run(self, value):
        number, got = value
        if got != text(number):
            raise RuntimeError(f"block {number} has changed")
        return number
"""
#: Reads little or much at a time, and pauses now and then.
READS_AS_IT_LIKES = """
import os, random, sys, time
source, target = os.open(sys.argv[2], os.O_RDONLY), os.open(sys.argv[4], os.O_WRONLY)
while data := os.read(source, random.choice([7, 4096, 70000, 1000000])):
    if random.random() < 0.01:
        time.sleep(0.01)
    view = memoryview(data)
    while view:
        view = view[os.write(target, view):]
"""
MIXED = """
Mixed(outputs=[{pipe}(1)]),
Program(inputs=[{pipe}(1)], outputs=[{pipe}(2)]),
Check(inputs=[{pipe}(2)], outputs=[PicklePipe(3)]),
CSVSinkJob("result.csv", inputs=[PicklePipe(3)]),
"""


def mixed_and_killed(fission: CommandLine, pipe: str, seed: int, bug: str = "") -> None:
    stage = staged(fission, MIXED.format(pipe=pipe), READS_AS_IT_LIKES, MIXED_JOBS + bug)
    killed_at_random(stage, seed, MIXED_LIMIT, bug)


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("pipe", ["JSONPipe", "PicklePipe"])
def test_blocks_of_all_sizes_arrive_once_whatever_is_killed(fission: CommandLine, pipe: str, seed: int) -> None:
    mixed_and_killed(fission, pipe, seed)


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.parametrize("bug", ["written out of turn", "a part of a block left out"])
def test_bugs_in_the_way_of_blocks_of_all_sizes_are_caught(fission: CommandLine, bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for owner, name in ((Intake, "put"), (program_input, "_after")):
        monkeypatch.setattr(owner, name, getattr(owner, name))
    with pytest.raises(AssertionError):
        mixed_and_killed(fission, "JSONPipe", 0, BUGS[bug][1])


@pytest.mark.parametrize("kill", ["program", "job"])
def test_losses_of_a_program_without_a_ratio_are_counted_exactly(fission: CommandLine, kill: str) -> None:
    stage = staged(fission, CHAIN.format(job="Varies", into="JSONPipe", out="JSONPipe"))
    ran = stage.run(killed_at(KILLS[kill], 300))
    found = column(ran.result)
    assert found == sorted(set(found))
    lost = ran.summary.jobs[2].counts["outputs"]["2"]["lost"]
    assert LIMIT - len(found) == lost, ran
    if lost:
        assert f"{lost} lost" in "\n".join(ran.summary.lines())
        assert any(kind == "warning" and "RATIO = None" in text and "the rest is lost" in text for kind, text in ran.console), ran


@pytest.mark.parametrize("kill", ["program", "job"])
def test_a_killed_sink_gets_unread_blocks_again(fission: CommandLine, kill: str) -> None:
    listed = "Fast(outputs=[JSONPipe(1)]), Reads(inputs=[JSONPipe(1)])"
    jobs = """
class Reads(Program):
    pass
"""
    # one line at a time, unbuffered, so that it has written an answer to everything that it has read
    program = """
import os, sys, time
source, target = os.open(sys.argv[2], os.O_RDONLY), os.open("kept.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
line = b""
while byte := os.read(source, 1):
    line += byte
    if byte == b"\\n":
        os.write(target, line)
        line = b""
"""
    stage = staged(fission, listed, program, jobs)

    def kept() -> list[int]:
        path = stage.folder(2) / "kept.txt"
        return [int(line) for line in path.read_text().split("\n")[:-1]] if path.exists() else []

    async def script(stage: Stage) -> None:
        for more in (500, 100):  # so that the two failures are not at the same block, which would end the network
            count = len(kept()) + more
            await stage.until(lambda count=count: len(kept()) >= count, f"{count} lines")
            before = len(stage.failovers)
            KILLS[kill](stage)
            await stage.until(lambda before=before: len(stage.failovers) > before, "a failover")

    ran = stage.run(script)
    assert ran.summary.exit_code == 0, ran
    found = kept()
    missing = set(range(1, LIMIT + 1)) - set(found)
    # the block that it had read and not written when it was killed is its own; between the last look and a kill of the whole job it may
    # have read some that are given again
    assert len(missing) <= 2, missing
    assert sorted(set(found))[-1] == LIMIT


# -- programs that break a RATIO that was set


def wrong(fission: CommandLine, job: str, program: str, exit_code: int = 1) -> str:
    files = network(
        JOBS + job, "Count(3000, outputs=[JSONPipe(1)]), Odd(inputs=[JSONPipe(1)], outputs=[JSONPipe(2)]), Show(inputs=[JSONPipe(2)])"
    )
    fission.project(files | {"net/source/program.py": program})
    client = fission.start("net", "simulate")
    client.end_input()
    return finish(client, fission.root, exit_code).stderr


ODD = "class Odd(Program):\n    {}\n"


def test_a_program_that_gives_more_than_it_promises_is_named(fission: CommandLine) -> None:
    text = wrong(fission, ODD.format("RATIO = 1"), TWICE)
    assert "Odd 2 gave a block on pipe 2 too many" in text
    assert "set RATIO to what the program does" in text
    assert text.count("Odd 2 failed") == 1  # a new incarnation would do the same


def test_a_program_that_gives_less_than_it_promises_is_named(fission: CommandLine) -> None:
    text = wrong(fission, ODD.format("RATIO = 1"), THIRD)
    assert "Odd 2 gave too few blocks: it was given 3000 compute blocks and gave 1000 on pipe 2" in text
    assert "RATIO = 1" in text or "RATIO is 1" in text


def test_a_program_that_swallows_more_than_a_window_does_not_stall(fission: CommandLine) -> None:
    """A stream without end: no end of the inputs would show it."""
    job = """
class Odd(Program):
    RATIO = 1

class Text(PythonJob):
    def run(self):
        number = 0
        while True:
            number += 1
            yield "x" * 1000

import fission.runtime.ratio_watch as watch
watch.SUSPECT_S, watch.BROKEN_S = 0.3, 1.0
"""
    listed = "Text(outputs=[JSONPipe(1)]), Odd(inputs=[JSONPipe(1)], outputs=[JSONPipe(2)]), Show(inputs=[JSONPipe(2)])"
    program = """
import sys
out = open(sys.argv[4], "w")
for number, line in enumerate(open(sys.argv[2])):
    if not number % 10:
        print(number, file=out, flush=True)
"""
    fission.project(network(JOBS + job, listed) | {"net/source/program.py": program})
    client = fission.start("net", "simulate")
    client.end_input()
    done = finish(client, fission.root, 1)
    assert re.search(r"Odd 2 was given \d+ compute blocks and gave \d+ on pipe 2, and has not answered \d+ of them", done.stderr), done
    assert "set RATIO" in done.stderr


@pytest.mark.parametrize("ratio", ["0", "-1", "0.5", "'1'", "True"])
def test_a_wrong_ratio_is_refused(fission: CommandLine, ratio: str) -> None:
    files = network(
        JOBS + ODD.format(f"RATIO = {ratio}"),
        "Count(3, outputs=[JSONPipe(1)]), Odd(inputs=[JSONPipe(1)], outputs=[JSONPipe(2)]), Show(inputs=[JSONPipe(2)])",
    )
    fission.project(files | {"net/source/program.py": ""})
    done = fission.run("net", "check", exit_code=2)
    assert "RATIO must be an int or fractions.Fraction above 0, or None" in done.stdout + done.stderr


def test_a_program_may_vary_where_it_declares_it(fission: CommandLine) -> None:
    files = network(
        JOBS,
        "Count(30, outputs=[JSONPipe(1)]), Varies(inputs=[JSONPipe(1)], outputs=[JSONPipe(2)]), CSVSinkJob('r.csv', inputs=[JSONPipe(2)])",
    )
    fission.project(files | {"net/source/relay.sh": "exec grep --line-buffered 1 <$2 >$4\n"})
    done = fission.run("net", "simulate", "--json", exit_code=0)
    assert column(fission.root / "net/simulation/3/r.csv") == [number for number in range(1, 31) if "1" in str(number)]
    assert json.loads(done.stdout)["jobs"]["2"]["outputs"]["2"]["lost"] == 0
    assert rows(fission.root / "net/simulation/3/r.csv")


def test_a_snapshot_of_a_program_is_refused(fission: CommandLine) -> None:
    files = network(
        JOBS + ODD.format("CHECKPOINT = 5"),
        "Count(3, outputs=[JSONPipe(1)]), Odd(inputs=[JSONPipe(1)], outputs=[JSONPipe(2)]), Show(inputs=[JSONPipe(2)])",
    )
    fission.project(files | {"net/source/program.py": ""})
    done = fission.run("net", "check", exit_code=2)
    assert "CHECKPOINT must be None: FISSION cannot take a snapshot of a program" in done.stdout + done.stderr
