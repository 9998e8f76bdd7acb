"""Streams of sound through real processes that are killed: the results are those of the whole sound."""

from __future__ import annotations

import random

import pytest

from tests.e2e.failover import Stage, project_of
from tests.waiting import CommandLine

np = pytest.importorskip("numpy")
signal = pytest.importorskip("scipy.signal")
soundfile = pytest.importorskip("soundfile")

IMPORTED = """
from fission.connectors.audio import (
    AudioBlock, LevelJob, MergeChannelsJob, ResampleJob, SplitChannelsJob, StftJob, WavSinkJob, WavSourceJob
)
from fission.core.jobs import NpySinkJob

class Gated(WavSourceJob):
    '''Sends its last second only when there is a file "go": all faults meet a running network.'''
    def run(self):
        time.sleep(0.001)
        while self.next_sample >= 48_000 and not os.path.exists("go"):
            time.sleep(0.005)
        return super().run()

class Plain(PythonJob):
    def run(self, block):
        return block.spectra
"""
#: Split, resampled apart, and merged again; the merged sound into a file, as spectra and as levels.
LISTED = """
Gated({path!r}, block=160, outputs=[PicklePipe(1), PicklePipe(7)]),
SplitChannelsJob(inputs=[PicklePipe(1)], outputs=[PicklePipe(2), PicklePipe(3)]),
ResampleJob(22050, inputs=[PicklePipe(2)], outputs=[PicklePipe(4)]),
ResampleJob(22050, inputs=[PicklePipe(3)], outputs=[PicklePipe(5)]),
MergeChannelsJob(inputs=[PicklePipe(4), PicklePipe(5)], outputs=[PicklePipe(6)]),
WavSinkJob("result.wav", inputs=[PicklePipe(6)]),
StftJob(256, 64, inputs=[PicklePipe(7)], outputs=[PicklePipe(8), PicklePipe(9)]),
Plain(inputs=[PicklePipe(8)], outputs=[PicklePipe(10)]),
NpySinkJob("result.npy", concatenate=True, inputs=[PicklePipe(10)]),
CSVSinkJob("result.csv", inputs=[PicklePipe(9)]),
"""


@pytest.mark.slow
@pytest.mark.soak
def test_results_are_those_of_the_whole_sound_wherever_processes_die(fission: CommandLine) -> None:
    samples = np.random.default_rng(3).uniform(-0.7, 0.7, (64_000, 2))
    path = fission.root / "voices.wav"
    soundfile.write(path, samples, 16000, subtype="DOUBLE")
    fission.project(project_of(LISTED.format(path=str(path)), IMPORTED))
    rng = random.Random(4)

    async def script(stage: Stage) -> None:
        for victim in (3, 7, 5, 1):
            await stage.rows(stage.row_count() + rng.randint(10, 60))
            before = len(stage.failovers)
            await stage.until(lambda: stage.kill_job(victim), "its process")  # noqa: B023
            await stage.until(lambda: len(stage.failovers) > before, "its failover")  # noqa: B023
        (stage.folder(1) / "go").touch()

    ran = Stage(fission, sink=10).run(script)
    assert (ran.summary.exit_code, ran.summary.reason) == (0, "finished"), ran
    folder = ran.result.parents[1]
    found, rate = soundfile.read(folder / "6" / "result.wav", dtype="float64")
    assert rate == 22050
    np.testing.assert_allclose(found, signal.resample_poly(samples, 441, 320), rtol=0, atol=1e-12)
    spectra = signal.ShortTimeFFT(signal.get_window("hann", 256), 64, 16000, phase_shift=None).stft(samples, axis=0)
    np.testing.assert_allclose(np.load(folder / "9" / "result.npy"), np.moveaxis(spectra, -1, 0), rtol=0, atol=1e-10)
    assert not [text for kind, text in ran.console if kind.startswith("output")], ran
