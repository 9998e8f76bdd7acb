"""A microphone of a real sound server, whose node or device is taken away: what is recorded is exact."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.e2e.failover import Ran, Stage, project_of
from tests.e2e.support import rows
from tests.sound_server import SoundServer
from tests.waiting import CommandLine

np = pytest.importorskip("numpy")
soundfile = pytest.importorskip("soundfile")
pytest.importorskip("sounddevice")

pytestmark = pytest.mark.timeout(180)  # the server, then the network

RATE, BLOCK = 16000, 160
#: Frames by which the length of a gap may differ from the time lost (docs/audio.md): 20 ms.
ERROR = RATE // 50
#: Blocks that one consumer may have, and another one not, when their source dies. Arbitrary: those of 0.1 s, for a busy machine.
BORDER = 10

IMPORTED = """
from fission.connectors.audio import MicrophoneJob, WavSinkJob

class Records(MicrophoneJob):
    '''Until there is a file "stop" in the job's folder.'''
    def run(self):
        if os.path.exists("stop"):
            self.finish()
        return super().run()

class Shows(PythonJob):
    HEAD = True
    def run(self, block):
        return block.first_sample, int(self.head[0]), block.time
"""
LISTED = f"""
Records(rate={RATE}, block={BLOCK}, dtype="int32", outputs=[PicklePipe(1), PicklePipe(2)]),
WavSinkJob("result.wav", inputs=[PicklePipe(1)]),
Shows(inputs=[PicklePipe(2)], outputs=[PicklePipe(3), PicklePipe(4), PicklePipe(5)]),
CSVSinkJob("result.csv", inputs=[PicklePipe(3), PicklePipe(4), PicklePipe(5)]),
"""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[SoundServer]:
    with SoundServer(RATE, devices=["mic"]) as found:
        for name, value in found.environment.items():
            monkeypatch.setenv(name, value)
        yield found


async def sound_again(stage: Stage) -> None:
    """Wait for a gap, then for more than a second of sound; a busy machine needs seconds for the former."""
    await stage.until(lambda: any(row[1] != "0" for row in rows(stage.result)[1:]), "a dummy")
    await stage.until(lambda: rows(stage.result)[-1][1] == "0", "sound")
    await stage.rows(stage.row_count() + 120)


def check(ran: Ran, server: SoundServer, error: int = ERROR) -> None:
    """Check that a recording has one gap, which is as long as the time lost, and that all else is exact."""
    assert (ran.summary.exit_code, ran.summary.reason) == (0, "finished"), ran
    sound, _ = soundfile.read(ran.result.parents[1] / "2" / "result.wav", dtype="int32")
    heard = sound >> 8
    assert (sound == heard << 8).all()
    table = np.array([[float(cell) for cell in row] for row in rows(ran.result)[1:]])
    numbers, dummies, times = table.T
    assert (np.diff(numbers) == BLOCK).all(), "a number is missing, or there twice"
    assert len(sound) == BLOCK * len(table)
    # the counter counts what was heard: every frame before the gap, and every frame after it
    lost = np.flatnonzero(heard == 0)
    assert lost.size, ran
    first, last = lost[0], lost[-1]
    assert lost.size == last - first + 1, "the gap is in one piece"
    assert (np.diff(heard[:first]) == 1).all()
    assert (np.diff(heard[last + 1 :]) == 1).all()
    assert len(heard) - last > 100 * BLOCK
    assert lost.size == pytest.approx(heard[last + 1] - heard[first - 1] - 1, abs=error)
    # exactly the blocks with lost frames are declared dummies; of the last ones before a death, one consumer may have more than the other
    zeros = np.flatnonzero([(heard[at : at + BLOCK] == 0).any() for at in range(0, len(heard), BLOCK)])
    declared = np.flatnonzero(dummies)
    assert (np.diff(declared) == 1).all(), "the gap is in one piece"
    assert declared[-1] == zeros[-1]
    assert abs(declared[0] - zeros[0]) <= BORDER
    # times are when the counter was heard, as far as the sound server knows
    firsts = heard[::BLOCK]
    errors = times - (time.time() - time.monotonic()) - server.began - firsts / RATE
    assert max(abs(errors[firsts > 0])) < error / RATE
    assert numbers[0] / RATE == pytest.approx(times[0], abs=1 / RATE + error / RATE)


def test_a_killed_node_leaves_a_gap_of_the_time_lost(fission: CommandLine, server: SoundServer) -> None:
    fission.project(project_of(LISTED, IMPORTED))

    async def script(stage: Stage) -> None:
        await stage.rows(150)  # 1.5 s: a snapshot is stored
        stage.kill_node(stage.node_of(1))
        await sound_again(stage)
        (stage.folder(1) / "stop").touch()

    check(Stage(fission, sink=4).run(script, nodes=2), server)


def test_a_job_killed_in_its_first_second_leaves_a_gap_of_the_time_lost(fission: CommandLine, server: SoundServer) -> None:
    """Its first number is stored before its first block is sent; a snapshot comes only after a second."""
    fission.project(project_of(LISTED, IMPORTED))

    async def script(stage: Stage) -> None:
        sound = stage.folder(2) / "result.wav"
        await stage.until(lambda: sound.exists() and sound.stat().st_size > 20 * BLOCK * 4, "sound in the file")
        await stage.rows(20)
        stage.kill_job(1)
        await sound_again(stage)
        (stage.folder(1) / "stop").touch()

    check(Stage(fission, sink=4).run(script), server, RATE // 10)  # the first times of a busy machine are less exact


def test_a_device_that_comes_back_continues(fission: CommandLine, server: SoundServer) -> None:
    fission.project(project_of(LISTED, IMPORTED))
    gone: list[int] = []

    async def script(stage: Stage) -> None:
        await stage.rows(50)
        server.unplug("mic")
        await stage.until(lambda: [text for kind, text in stage.console if "no sound" in text], "the report")
        gone.append(stage.row_count())
        await stage.rows(gone[0] + 30)  # dummies come in time
        server.plug_in()
        await sound_again(stage)
        (stage.folder(1) / "stop").touch()

    ran = Stage(fission, sink=4).run(script)
    check(ran, server)
    assert ran.restarts(1) == 0
    reports = [line for line in ran.printed(1) if "Records 1: " in line]
    assert reports[0] == "Records 1: the device gives no sound; declared dummies are sent until it does", ran
    assert reports[-1].startswith("Records 1: the device gives sound again; "), ran


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            'device="Shure"',
            "must have the microphone 'Shure', but there are: 0 'pulse, ALSA', 1 'default, ALSA'; see fission audio devices",
        ),
        pytest.param("channels=99", "channels must be at most 32 for the microphone 'default, ALSA', but is 99", marks=pytest.mark.soak),
        pytest.param(
            "rate=10**7", "1 channel of int16 at 1e+07 frames per second, but is not: Invalid sample rate", marks=pytest.mark.soak
        ),
    ],
)
def test_a_device_that_cannot_be_used_ends_the_network_with_one_line(
    fission: CommandLine, server: SoundServer, arguments: str, text: str
) -> None:
    fission.project(project_of(LISTED.replace(f'rate={RATE}, block={BLOCK}, dtype="int32"', arguments), IMPORTED))
    done = fission.run("net", "simulate", exit_code=1)
    lines = [line for line in (done.stdout + done.stderr).splitlines() if text in line]
    assert lines, done
    assert "Traceback" not in done.stdout + done.stderr, done
    assert "Expression" not in done.stdout + done.stderr, done
