"""Arrays of `new_array` in real processes that are killed, stopped and resumed: no block changes while it is sent or held."""

from __future__ import annotations

import pytest

from tests.e2e.failover import OFTEN, PATIENT, Ran, Stage, killed_at_once, project_of, random_faults, seeded
from tests.waiting import CommandLine

JOBS = """
import numpy as np

def number_of(array, factor=1):
    number = int(array[0]) // factor
    if len(array) != 10_000 + 50 * (number % 200) or (array != number * factor).any():
        raise RuntimeError(f"block {number} has changed")
    return number

class Blocks(Gated):
    '''As its base, with an array full of the number, which it keeps for a while and uses for other things if it can.'''
    def setup(self, *args, **kwargs):
        super().setup(*args, **kwargs)
        self.kept = []
    def snapshot(self):
        return {"number": self.number}
    def run(self):
        number = super().run()
        array = self.new_array(10_000 + 50 * (number % 200), int)
        array[:] = number
        for kept in self.kept:
            if kept.flags.writeable:
                kept[:] = 0
        self.kept = self.kept[-2:] + [array]
        return [number, array]

class Doubles(PythonJob):
    '''Changes each array, and writes into all the others that it may write into.'''
    def run(self, value):
        number, array = value
        number_of(array)
        wasted = self.new_array(array.shape, array.dtype)
        wasted[:] = -1
        return [number, np.multiply(array, 2, out=self.new_array(array.shape, array.dtype))]

class Checked(CSVSinkJob):
    '''Keeps the last arrays, looks at all of them with each block, and writes their numbers.'''
    def setup(self, *args, **kwargs):
        super().setup(*args, **kwargs)
        self.kept = []
    def run(self, *values):
        self.kept += [(array, 1 << way) for way, (_, array) in enumerate(values)]
        for array, factor in self.kept:
            number_of(array, factor)
        del self.kept[:-30]
        return super().run(*(number_of(array, 1 << way) for way, (_, array) in enumerate(values)))
"""
#: Three ways: the block itself, doubled once, and doubled twice after it was handed on.
WAYS = """
Blocks({limit}, outputs=[PicklePipe(1), PicklePipe(2), PicklePipe(3)]),
Doubles(inputs=[PicklePipe(2)], outputs=[PicklePipe(4)]),
Pass(inputs=[PicklePipe(3)], outputs=[PicklePipe(5)]),
Twice(inputs=[PicklePipe(5)], outputs=[PicklePipe(6)]),
Checked("result.csv", inputs=[PicklePipe(1), PicklePipe(4), PicklePipe(6)]),
"""
TWICE = """
class Twice(Doubles):
    def run(self, value):
        number, array = super().run(value)
        return [number, np.multiply(array, 2, out=self.new_array(array.shape, array.dtype))]
"""
SINK = 5

pytestmark = pytest.mark.usefixtures("own_modules")


def check(ran: Ran, limit: int) -> None:
    """The sink has each block once and in order, and no array was ever other than it was returned."""
    assert not [text for text in ran.failed if "has changed" in text], ran
    assert (ran.summary.exit_code, ran.summary.reason) == (0, "finished"), ran
    expected = b"pipe_1,pipe_4,pipe_6\r\n" + b"".join(b"%d,%d,%d\r\n" % (number, number, number) for number in range(1, limit + 1))
    assert ran.result.read_bytes() == expected, ran


def of(fission: CommandLine, limit: str, extra: str = OFTEN, jobs: str = "") -> Stage:
    fission.project(project_of(WAYS.format(limit=limit), JOBS + TWICE + jobs, extra=extra))
    return Stage(fission, sink=SINK)


def at_full_speed(limit: int) -> str:
    return f"{limit}, upto={limit}, pace=0"


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.soak)])
def test_thirty_random_faults(fission: CommandLine, seed: int) -> None:
    limit = 1600
    faults = random_faults(seeded(seed), 30, rows=limit // 2, jobs=SINK)

    async def script(stage: Stage) -> None:
        await faults(stage)
        stage.let_end()

    ran = of(fission, str(limit)).run(script, nodes=3)
    check(ran, limit)
    assert len(ran.failovers) >= 5, ran


@pytest.mark.slow
def test_neighbours_that_are_killed_at_once(fission: CommandLine) -> None:
    limit, pairs = 900, [(1, 2), (2, 5), (1, 5), (3, 4), (4, 5), (1, 3)]
    check(of(fission, str(limit), PATIENT).run(killed_at_once(pairs)), limit)


def test_at_full_speed(fission: CommandLine) -> None:
    check(of(fission, at_full_speed(400)).run(), 400)


#: In the process of the source, a lease forgets the memory that it is of, which another array then gets.
FREES_TOO_EARLY = """
if os.path.basename(os.getcwd()) == "1":
    from fission.adapters.shared_memory.arena import Arena, ArrayLease
    def lend_memory(self, memory, readers):
        self._returned.append((memory.descriptor.stamp, -1))
        return ArrayLease(memory, readers)
    Arena.lend_memory = lend_memory
    Arena._is_held = lambda self, slot: False
"""


def test_memory_that_is_freed_too_early_is_caught(fission: CommandLine) -> None:
    with pytest.raises(AssertionError, match="has changed"):
        check(of(fission, at_full_speed(400), jobs=FREES_TOO_EARLY).run(), 400)
