"""Programs of projects that do not set RATIO: they run, whatever they send, and every lost block is counted."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.e2e.failover import Stage
from tests.e2e.support import column
from tests.e2e.test_relays import KILLS, LIMIT, staged
from tests.waiting import CommandLine

pytestmark = pytest.mark.usefixtures("own_modules")

#: One for one up to this block, so that a kill has a time before anything shows.
TURNS = 1500
PROGRAM = f"""
import sys
out = open(sys.argv[4], "w")
for line in open(sys.argv[2]):
    number = int(line)
    count = 1 if number <= {TURNS} else int({{0}})
    for _ in range(count):
        print(number, file=out, flush=True)
"""
#: What a program gives for a number, after that.
KINDS = {
    "decimator": "number % 10 == 0",
    "detector": "number in (2000, 5990)",
    "doubler": "2",
    "none at all": "0",
}
#: An old project's filter: decimates all of its blocks of four bytes, one for ten, between descriptors; and a sink that keeps what comes.
XML = """\
<?xml version="1.0"?>
<network>
  <node pi_id="192.168.4.2">
    <algorithm path="net/source" executable="python3 numbers.py">
      <output target_pi_id="192.168.4.2" pipe_id="1" block_size="4" block_count="{count}"></output>
    </algorithm>
    <algorithm path="net/source" executable="python3 filter.py">
      <input source_pi_id="192.168.4.2" pipe_id="1" block_size="4" block_count="{count}"></input>
      <output target_pi_id="192.168.4.2" pipe_id="2" block_size="4" block_count="1"></output>
    </algorithm>
    <algorithm path="net/source" executable="python3 keep.py">
      <input source_pi_id="192.168.4.2" pipe_id="2" block_size="4" block_count="1"></input>
    </algorithm>
  </node>
</network>
"""
OLD = {
    "net/source/numbers.py": """
import os, sys
for number in range(20000):
    os.write(int(sys.argv[2]), b"%04d" % (number % 10000))
""",
    "net/source/filter.py": """
import os, sys
source, target = os.fdopen(int(sys.argv[2]), "rb"), os.fdopen(int(sys.argv[4]), "wb", 0)
while block := source.read(40):
    target.write(block[:4])
""",
    "net/source/keep.py": """
import os, sys
with open("kept", "wb") as file:
    while data := os.read(int(sys.argv[2]), 65536):
        file.write(data)
""",
}
CHAIN = """
{source}(outputs=[JSONPipe(1)]),
Program(inputs=[JSONPipe(1)], outputs=[JSONPipe(2)]),
Slow(inputs=[JSONPipe(2)], outputs=[PicklePipe(3)]),
CSVSinkJob("result.csv", inputs=[PicklePipe(3)]),
"""
#: A source that waits for `Stage.let_go` before the program turns.
GATED = f"Gated({2 * LIMIT}, pace=0, upto={TURNS - 300}, "
WARNING = "it does not give one block for one, and its RATIO is not set"


def given_by(kind: str, limit: int = LIMIT) -> list[int]:
    counts = ((number, 1 if number <= TURNS else int(eval(KINDS[kind], {"number": number}))) for number in range(1, limit + 1))
    return [number for number, count in counts for _ in range(count)]


def warnings(stage: Stage) -> list[str]:
    return [text for kind, text in stage.console if kind == "warning" and WARNING in text]


def stage_of(fission: CommandLine, kind: str, source: str = "Fast(") -> Stage:
    return staged(fission, CHAIN.replace("{source}(", source), PROGRAM.format(KINDS[kind]))


async def killed(stage: Stage, kill: str) -> None:
    before = len(stage.failovers)
    KILLS[kill](stage)
    await stage.until(lambda: len(stage.failovers) > before, "a failover")


SOON = ("decimator", "detector", "doubler")


@pytest.mark.parametrize("kind", [*SOON, pytest.param("none at all", marks=[pytest.mark.slow, pytest.mark.soak])])
def test_a_program_that_knows_no_ratio_runs_on(fission: CommandLine, kind: str) -> None:
    stage = stage_of(fission, kind)
    ran = stage.run()
    assert ran.summary.exit_code == 0, ran
    assert column(ran.result) == given_by(kind), ran
    (text,) = warnings(stage)
    assert "until this was noticed, it was given" in text
    assert "blocks that it has read and not answered are lost, and counted" in text
    assert "Set RATIO to what the program does" in text
    assert not ran.failed
    assert ran.restarts(2) == 0


SOAK = [
    pytest.param(kind, kill, marks=[pytest.mark.slow, pytest.mark.soak])
    for kind in KINDS
    for kill in ("program", "job")
    if (kind, kill) not in [("decimator", "job"), ("doubler", "program")]
]


@pytest.mark.parametrize(("kind", "kill"), [("decimator", "job"), ("doubler", "program"), *SOAK])
@pytest.mark.slow
@pytest.mark.soak
def test_it_is_killed_before_and_after_it_turns(fission: CommandLine, kind: str, kill: str) -> None:
    """Before, it has the guarantee of one for one; afterwards, its answers are kept, and a new process starts in its initial state."""
    stage = stage_of(fission, kind, GATED)
    first = LIMIT + 2000
    before = given_by(kind, first)

    async def script(stage: Stage) -> None:
        await stage.rows(500)
        await killed(stage, kill)
        await stage.rows(TURNS - 300)
        assert not warnings(stage)
        stage.let_go(first)
        await stage.until(lambda: warnings(stage), "the warning")
        await stage.rows(len(before))
        await killed(stage, kill)
        stage.let_end()

    ran = stage.run(script)
    assert ran.summary.exit_code == 0, ran
    found, wanted = Counter(column(ran.result)), Counter(given_by(kind, 2 * LIMIT))
    assert not wanted - found, ran
    # what it answered last may not be released yet, and is given to the new process again; the kill may come before it has read the rest
    assert all(before[-1] - 1000 < number <= first for number in found - wanted), ran
    assert len(warnings(stage)) == 1, ran
    assert ran.restarts(2) == 2


@pytest.mark.parametrize(
    ("kind", "kill"), [pytest.param("decimator", "program", marks=[pytest.mark.slow, pytest.mark.soak]), ("doubler", "job")]
)
@pytest.mark.slow
@pytest.mark.soak
def test_it_is_killed_with_work_in_hand_after_it_turns(fission: CommandLine, kind: str, kill: str) -> None:
    stage = stage_of(fission, kind, GATED)

    async def script(stage: Stage) -> None:
        stage.let_go(2 * LIMIT - 1000)  # all of it may be in the program's hand
        await stage.until(lambda: warnings(stage), "the warning")
        await stage.rows(TURNS + 100)
        await killed(stage, kill)
        stage.let_end()

    ran = stage.run(script)
    assert ran.summary.exit_code == 0, ran
    found, wanted = column(ran.result), given_by(kind, 2 * LIMIT)
    assert found == sorted(found), ran
    missing = len(wanted) - len(found)
    assert missing >= 0, "a block came twice"
    assert found[-100:] == wanted[-100:], "what comes after the kill is whole"
    assert any("runs as with RATIO = None" in text for _, text in ran.console), ran
    assert len(warnings(stage)) == 1, ran


@pytest.mark.parametrize("count", [1, 4])
def test_an_old_network_in_xml_runs_as_it_is(fission: CommandLine, count: int) -> None:
    fission.project({"net/config.py": "XML_FILE = 'net.xml'\n", "net.xml": XML.format(count=count), **OLD})
    done = fission.run("net", "simulate", exit_code=0)
    kept = (fission.root / "net/simulation/3/kept").read_bytes()
    assert kept == b"".join(b"%04d" % (number % 10000) for number in range(0, 20000, 10)), done
    assert (done.stdout + done.stderr).count(WARNING) == 1, done


@pytest.mark.parametrize("kind", ["decimator", pytest.param("doubler", marks=[pytest.mark.slow, pytest.mark.soak])])
def test_its_source_begins_again(fission: CommandLine, kind: str) -> None:
    """Before a new generation, the program must answer all that it was given; one that cannot reveals its ratio."""
    stage = stage_of(fission, kind, "Forgetful(3000, pace=0, ")

    async def script(stage: Stage) -> None:
        await stage.rows(TURNS + 50)
        stage.kill_job(1)

    ran = stage.run(script)
    assert ran.summary.exit_code == 0, ran
    wanted = given_by(kind, 3000)
    found = column(ran.result)
    assert found[-len(wanted) :] == wanted, ran
    assert len(warnings(stage)) == 1, ran


#: Reads and answers one block every few milliseconds, so that releases lag behind what it has answered, and then is killed.
ONE_BY_ONE = """
import os, signal, sys, time
source, target = os.open(sys.argv[2], os.O_RDONLY), os.open(sys.argv[4], os.O_WRONLY)
line, number = b"", 0
while byte := os.read(source, 1):
    line += byte
    if byte == b"\\n":
        os.write(target, line)
        line, number = b"", number + 1
        time.sleep(0.003)
        if number == {limit} and not os.path.exists("../killed"):
            open("../killed", "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
"""
COUNTS = """
class Counts(PythonJob):
    CHECKPOINT = 10
    def setup(self, *args, **kwargs):
        self.number = 0
    def run(self):
        self.number += 1
        if self.number == 400:
            self.finish()
        return self.number

class Any(Program):
    RATIO = None
"""


@pytest.mark.parametrize("limit", [1, 7, 100, 250])
def test_answers_of_a_killed_program_do_not_come_again(fission: CommandLine, limit: int) -> None:
    chain = (
        "Counts(outputs=[JSONPipe(1)]), Any(inputs=[JSONPipe(1)], outputs=[JSONPipe(2)]), CSVSinkJob('result.csv', inputs=[JSONPipe(2)]),"
    )
    stage = staged(fission, chain, ONE_BY_ONE.format(limit=limit), COUNTS, sink=3)
    ran = stage.run()
    assert ran.summary.exit_code == 0, ran
    assert len(stage.failovers) == 1, ran
    assert column(ran.result) == list(range(1, 401)), ran


NAPS = """
class Naps(PythonJob):
    def run(self, value):
        if value == 100:
            time.sleep(2)
        return value
"""


def test_a_consumer_may_be_late_to_say_what_it_has(fission: CommandLine) -> None:
    """All inputs have reached the new program's job by then: no further message ends the wait for the number of its first block."""
    chain = """
Counts(outputs=[JSONPipe(1)]),
Any(inputs=[JSONPipe(1)], outputs=[JSONPipe(2)]),
Naps(inputs=[JSONPipe(2)], outputs=[JSONPipe(3)]),
CSVSinkJob('result.csv', inputs=[JSONPipe(3)]),
"""
    ran = staged(fission, chain, ONE_BY_ONE.format(limit=100), COUNTS + NAPS).run()
    assert ran.summary.exit_code == 0, ran
    assert column(ran.result) == list(range(1, 401)), ran
