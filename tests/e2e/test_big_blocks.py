"""Large blocks that jobs hand on, in real processes that are killed, stopped and resumed: no block changes while it is held."""

from __future__ import annotations

import pytest

from tests.e2e.failover import OFTEN, PATIENT, Ran, Stage, killed_at_once, project_of, random_faults, seeded
from tests.waiting import CommandLine

JOBS = """
import numpy as np

def block(number):
    return np.full(10_000 + 50 * (number % 200), number, dtype=np.int64)

def number_of(array):
    number = int(array[0])
    if not np.array_equal(array, block(number)):
        raise RuntimeError(f"block {number} has changed")
    return number

class Blocks(Gated):
    '''As its base, with an array full of the number.'''
    def run(self):
        return block(super().run())

class Late(PythonJob):
    '''Gives the array of the compute block before.'''
    CHECKPOINT = 15
    def setup(self, *args, **kwargs):
        self.before = block(0)
    def run(self, value):
        before, self.before = self.before, value
        return before

class Checked(CSVSinkJob):
    '''Keeps the last arrays, looks at all of them with each block, and writes their numbers.'''
    def setup(self, *args, **kwargs):
        super().setup(*args, **kwargs)
        self.kept = []
    def run(self, *arrays):
        self.kept += arrays
        for array in self.kept:
            number_of(array)
        del self.kept[:-30]
        return super().run(*map(number_of, arrays))
"""
#: Two ways; on one each block is handed on twice, on the other it is handed on and then kept for one block longer than it may be.
WAYS = """
Blocks({limit}, outputs=[PicklePipe(1), PicklePipe(2)]),
Pass(inputs=[PicklePipe(1)], outputs=[PicklePipe(3)]),
Pass(inputs=[PicklePipe(3)], outputs=[PicklePipe(4)]),
Pass(inputs=[PicklePipe(2)], outputs=[PicklePipe(5)]),
Late(inputs=[PicklePipe(5)], outputs=[PicklePipe(6)]),
Checked("result.csv", inputs=[PicklePipe(4), PicklePipe(6)]),
"""
SINK = 6

pytestmark = pytest.mark.usefixtures("own_modules")


def check(ran: Ran, limit: int) -> None:
    """The sink has each block once and in order, and no array was ever other than it was sent."""
    assert (ran.summary.exit_code, ran.summary.reason) == (0, "finished"), ran
    assert not [text for text in ran.failed if "has changed" in text], ran
    expected = b"pipe_4,pipe_6\r\n" + b"".join(b"%d,%d\r\n" % (number, number - 1) for number in range(1, limit + 1))
    assert ran.result.read_bytes() == expected, ran


def of(fission: CommandLine, listed: str, extra: str = OFTEN, jobs: str = "") -> Stage:
    fission.project(project_of(listed, JOBS + jobs, extra=extra))
    return Stage(fission, sink=SINK)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.soak)])
def test_thirty_random_faults(fission: CommandLine, seed: int) -> None:
    limit = 1600
    faults = random_faults(seeded(seed), 30, rows=limit // 2, jobs=6)

    async def script(stage: Stage) -> None:
        await faults(stage)
        stage.let_end()

    ran = of(fission, WAYS.format(limit=limit)).run(script, nodes=3)
    check(ran, limit)
    assert len(ran.failovers) >= 5, ran


@pytest.mark.slow
def test_neighbours_that_are_killed_at_once(fission: CommandLine) -> None:
    """The producer of handed-on blocks, the jobs that handed them on, and those that hold them, in pairs."""
    limit, pairs = 900, [(1, 2), (2, 3), (3, 6), (1, 3), (2, 6), (1, 6), (1, 4), (4, 5), (5, 6), (4, 6)]
    check(of(fission, WAYS.format(limit=limit), PATIENT).run(killed_at_once(pairs)), limit)


def test_values_that_a_job_keeps_do_not_change(fission: CommandLine) -> None:
    """The sink keeps its arrays far longer than any window does."""
    limit = 600
    keeps = JOBS.replace("del self.kept[:-30]", "del self.kept[:-300]")
    ran = of(fission, WAYS.format(limit=f"{limit}, upto={limit}, pace=0"), jobs=keeps).run()
    check(ran, limit)


SEES_ONLY_ITS_OWN = """
if os.path.basename(os.getcwd()) == "1":  # in the process of the source
    from fission.adapters.shared_memory.arena import Arena
    Arena._downstream_incarnations = lambda self, segment: [2**32 - 1] * self._downstream
"""


def test_a_producer_that_sees_only_its_own_readers_is_caught(fission: CommandLine) -> None:
    limit = 600
    keeps = JOBS.replace("del self.kept[:-30]", "del self.kept[:-300]")
    stage = of(fission, WAYS.format(limit=f"{limit}, upto={limit}, pace=0"), jobs=keeps + SEES_ONLY_ITS_OWN)
    with pytest.raises(AssertionError, match="has changed"):
        check(stage.run(), limit)
