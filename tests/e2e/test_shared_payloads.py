"""Large bytes in shared memory, in real processes that are killed, stopped and resumed: no block changes while it is sent or held."""

from __future__ import annotations

import pytest

from tests.e2e.failover import OFTEN, PATIENT, Ran, Stage, killed_at_once, project_of, random_faults, seeded
from tests.waiting import CommandLine

JOBS = """
import pickle
from fission.core.pipes import BasePipe, BytesPipe

SIZE = 300_000

class ViewPipe(BytesPipe):
    VIEW = True

class OwnPipe(BasePipe):
    BLOCK_SIZE = "pickle"
    def read(self, file):
        return pickle.load(file)
    def write(self, file, data):
        pickle.dump(data, file, 5)

def number_of(block):
    number = int(bytes(block[:10]))
    if block != b"%010d" % number * (SIZE // 10):
        raise RuntimeError(f"block {number} has changed")
    return number

class Blocks(Gated):
    '''As its base, with a buffer full of the number, which it uses again.'''
    buffer = bytearray(SIZE)
    def run(self):
        self.buffer[:] = b"%010d" % super().run() * (SIZE // 10)
        return self.buffer, self.buffer, bytes(self.buffer)

class Checked(CSVSinkJob):
    '''Keeps the last views, looks at all of them with each block, and writes their numbers.'''
    def setup(self, *args, **kwargs):
        super().setup(*args, **kwargs)
        self.kept = []
    def run(self, *blocks):
        numbers = [number_of(block) for block in blocks]
        self.kept += zip(numbers, blocks)
        for number, block in self.kept:
            if not block[:10] == block[-10:] == b"%010d" % number:
                raise RuntimeError(f"block {number} has changed")
        del self.kept[:-9]
        return super().run(*numbers)
"""
#: Three ways: bytes that are views and are handed on, bytes that are copied, pickles by a pipe of its own.
WAYS = """
Blocks({limit}, outputs=[ViewPipe(1, SIZE), BytesPipe(2, SIZE), OwnPipe(3)]),
Pass(inputs=[ViewPipe(1, SIZE)], outputs=[ViewPipe(4, SIZE)]),
Pass(inputs=[BytesPipe(2, SIZE)], outputs=[BytesPipe(5, SIZE)]),
Checked("result.csv", inputs=[ViewPipe(4, SIZE), BytesPipe(5, SIZE), OwnPipe(3)]),
"""
SINK = 4

pytestmark = pytest.mark.usefixtures("own_modules")


def check(ran: Ran, limit: int) -> None:
    """The sink has each block once and in order, and no block was ever other than it was sent."""
    assert not [text for text in ran.failed if "has changed" in text], ran
    assert (ran.summary.exit_code, ran.summary.reason) == (0, "finished"), ran
    expected = b"pipe_4,pipe_5,pipe_3\r\n" + b"".join(b"%d,%d,%d\r\n" % (number, number, number) for number in range(1, limit + 1))
    assert ran.result.read_bytes() == expected, ran


def of(fission: CommandLine, limit: str, extra: str = OFTEN, keep: int = 9, jobs: str = "") -> Stage:
    fission.project(project_of(WAYS.format(limit=limit), JOBS.replace("[:-9]", f"[:-{keep}]") + jobs, extra=extra))
    return Stage(fission, sink=SINK)


@pytest.mark.slow
def test_thirty_random_faults(fission: CommandLine) -> None:
    limit = 1000
    faults = random_faults(seeded(1), 30, rows=limit // 2, jobs=SINK)

    async def script(stage: Stage) -> None:
        await faults(stage)
        stage.let_end()

    ran = of(fission, str(limit)).run(script, nodes=3)
    check(ran, limit)
    assert len(ran.failovers) >= 5, ran


@pytest.mark.slow
def test_neighbours_that_are_killed_at_once(fission: CommandLine) -> None:
    limit = 600
    check(of(fission, str(limit), PATIENT).run(killed_at_once([(1, 2), (2, 4), (1, 4), (1, 3), (3, 4)])), limit)


def test_at_full_speed(fission: CommandLine) -> None:
    check(of(fission, "300, upto=300, pace=0", keep=300).run(), 300)


#: In the process of the source, memory is used again while a consumer holds it.
FREES_TOO_EARLY = """
if os.path.basename(os.getcwd()) == "1":
    from fission.adapters.shared_memory.arena import Arena
    Arena._is_held = lambda self, slot: False
"""


def test_memory_that_is_freed_too_early_is_caught(fission: CommandLine) -> None:
    with pytest.raises(AssertionError, match="has changed"):
        check(of(fission, "300, upto=300, pace=0", keep=300, jobs=FREES_TOO_EARLY).run(), 300)
