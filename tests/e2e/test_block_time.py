"""Real processes that are killed: at every sink, each block keeps the time that its source has given it."""

from __future__ import annotations

import pytest

from tests.e2e.failover import Stage, gated, project_of, seeded
from tests.e2e.support import rows
from tests.waiting import CommandLine

pytestmark = pytest.mark.usefixtures("own_modules")

#: A source, two ways that meet again before the first sink, and a third one to the second sink; ids 1 to 6.
FAN_OUT = """
Numbers({limit}, outputs=[PicklePipe(1), PicklePipe(2), Twos(3)]),
Double(inputs=[PicklePipe(1)], outputs=[PicklePipe(4)]),
Pass(inputs=[PicklePipe(2)], outputs=[Twos(5)]),
Total(inputs=[PicklePipe(4)], outputs=[Twos(6)]),
CSVSinkJob("result.csv", inputs=[Twos(5), Twos(6)], time=True),
CSVSinkJob("other.csv", inputs=[Twos(3)], time=True),
"""


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.soak)])
def test_two_sinks_agree_on_the_time_of_each_block(fission: CommandLine, seed: int) -> None:
    """The source, too, is killed: it makes blocks again that only one of the sinks has."""
    limit, kills = 1200, 14
    rng = seeded(seed)
    fission.project(project_of(gated(FAN_OUT.format(limit=limit))))

    async def script(stage: Stage) -> None:
        for number in range(kills):
            await stage.rows(20 * number)
            job = rng.choice([1, 1, 2, 3, 4, 5, 6])
            await stage.running(1, 2, 3, 4, 5, 6)
            stage.kill_job(job)
            await stage.until(lambda: len(stage.failovers) > number, "a failover")  # noqa: B023
        stage.let_end()

    ran = Stage(fission).run(script, nodes=2)
    assert ran.summary.exit_code == 0, ran
    assert ran.restarts(1) > 1, ran
    result, other = rows(ran.result)[1:], rows(ran.root / "net/simulation/6/other.csv")[1:]
    assert len(result) == len(other) == limit // 2
    assert [row[2] for row in result] == [row[2] for row in other]
    assert [row[:2] for row in result] == [row[:2] for row in other]
    every = [float(second) for row in result for second in row[:2]]
    assert all(row[0] < row[1] for row in result), "a pair of blocks has the time of its first and of its second block"
    assert len(set(every)) == len(every)


NETWORK_TIMES = """
class Asks(PythonJob):
    def setup(self, *args, **kwargs):
        self.first = self.network_time()
    def run(self, value):
        now = self.network_time()
        print(self.first.error_s, now.error_s, abs(now - time.time()) < 0.5)
"""


@pytest.mark.slow
def test_the_networks_time_in_a_simulation_is_that_of_this_machine(fission: CommandLine) -> None:
    fission.project(project_of("Numbers(3, outputs=[PicklePipe(1)]), Asks(inputs=[PicklePipe(1)])", jobs=NETWORK_TIMES))
    ran = Stage(fission, sink=2).run()
    assert ran.summary.exit_code == 0, ran
    assert ran.printed(2) == ["inf 0.0 True"] * 3
