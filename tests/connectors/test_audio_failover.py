"""Sound through real processes that are killed: the file has every sample once."""

from __future__ import annotations

import random

import pytest

from tests.e2e.failover import Stage, project_of
from tests.waiting import CommandLine

np = pytest.importorskip("numpy")
soundfile = pytest.importorskip("soundfile")

IMPORTED = """
from fission.connectors.audio import AudioBlock, WavSourceJob
from fission.connectors.audio import WavSinkJob as AudioSinkJob

class Whole(WavSourceJob):
    CHECKPOINT = 7
    def run(self):
        time.sleep(0.002)
        return super().run()

class Counts(PythonJob):
    def run(self, block):
        return block.end
"""
LISTED = """
Whole({path!r}, block=240, outputs=[PicklePipe(1), PicklePipe(3)]),
Counts(inputs=[PicklePipe(1)], outputs=[PicklePipe(2)]),
AudioSinkJob("result.wav", inputs=[PicklePipe(3)]),
CSVSinkJob("result.csv", inputs=[PicklePipe(2)]),
"""


def test_a_file_arrives_sample_by_sample_wherever_processes_die(fission: CommandLine) -> None:
    samples = np.random.default_rng(3).integers(-(2**15), 2**15, (100_000, 2), "int16")
    path = fission.root / "voice.wav"
    soundfile.write(path, samples, 16000)
    fission.project(project_of(LISTED.format(path=str(path)), IMPORTED))
    rng = random.Random(11)

    async def script(stage: Stage) -> None:
        for victim in (1, 3, 1, 3):
            await stage.rows(stage.row_count() + rng.randint(20, 50))
            before = len(stage.failovers)
            await stage.until(lambda: stage.kill_job(victim), "its process")  # noqa: B023
            await stage.until(lambda: len(stage.failovers) > before, "its failover")  # noqa: B023

    ran = Stage(fission, sink=4).run(script)
    assert (ran.summary.exit_code, ran.summary.reason) == (0, "finished"), ran
    assert len(ran.failovers) >= 4
    found, rate = soundfile.read(ran.result.parents[1] / "3" / "result.wav", dtype="int16")
    assert rate == 16000
    assert found.shape == samples.shape
    assert (found == samples).all()
    assert not [text for kind, text in ran.console if kind.startswith("output")], ran


def test_a_bad_file_ends_the_network_with_one_line(fission: CommandLine) -> None:
    path = fission.root / "voice.wav"
    path.write_bytes(b"no sound")
    fission.project(project_of(LISTED.format(path=str(path)), IMPORTED))
    done = fission.run("net", "simulate", exit_code=1)
    lines = [line for line in (done.stdout + done.stderr).splitlines() if "voice.wav" in line]
    assert "must be a WAV, FLAC or OGG file, but is not: " in lines[0], done
    assert "Traceback" not in done.stdout + done.stderr, done
