"""A loudspeaker of a real sound server: what it plays is what was sent, in its order."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.failover import Stage, project_of
from tests.sound_server import SoundServer
from tests.waiting import CommandLine, eventually

np = pytest.importorskip("numpy")
pytest.importorskip("sounddevice")

pytestmark = pytest.mark.timeout(180)  # the server, then the network

RATE, BLOCK, GAP = 16000, 160, 1000

IMPORTED = """
import numpy
from fission.connectors.audio import AudioBlock, LoudspeakerJob

class Counts(PythonJob):
    '''Blocks of a counter; before the 100th, frames are missing.'''
    def __init__(self, blocks, **more):
        super().__init__(**more)
        self.blocks = blocks
    def run(self):
        for number in range(self.blocks):
            first = number * 160 + (1000 if number >= 99 else 0)
            yield AudioBlock(numpy.arange(first + 1, first + 161, dtype="int32") << 8, 16000, first)

class Counted(PythonJob):
    def run(self, block):
        return block.first_sample
"""
LISTED = """
Counts({blocks}, outputs=[PicklePipe(1), PicklePipe(2)]),
LoudspeakerJob(delay=0.3, inputs=[PicklePipe(1)]),
Counted(inputs=[PicklePipe(2)], outputs=[PicklePipe(3)]),
CSVSinkJob("result.csv", inputs=[PicklePipe(3)]),
"""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[SoundServer]:
    with SoundServer(RATE, devices=["room"], latency_ms=None) as found:
        for name, value in found.environment.items():
            monkeypatch.setenv(name, value)
        yield found


def played(server: SoundServer) -> Any:
    """Return the counter's numbers that were played, and 0 for silence; without the silence around them."""
    found = np.fromfile(server.played, "int32") >> 8 if server.played.exists() else np.zeros(0, int)
    sound = np.flatnonzero(found)
    return found[sound[0] : sound[-1] + 1] if sound.size else found[:0]


def test_each_sample_is_played_once_in_its_place(fission: CommandLine, server: SoundServer) -> None:
    blocks = 250
    fission.project(project_of(LISTED.format(blocks=blocks), IMPORTED))
    began = time.monotonic()
    ran = Stage(fission, sink=4).run()
    took = time.monotonic() - began
    assert (ran.summary.exit_code, ran.summary.reason) == (0, "finished"), ran
    total = blocks * BLOCK + GAP
    eventually(lambda: played(server)[-1:].tolist() == [total], 5, "the last sample")
    found = played(server)
    before, after = 99 * BLOCK, 99 * BLOCK + GAP
    expected = [*range(1, before + 1), *range(after + 1, total + 1)]
    heard = found[found > 0]
    assert (np.diff(heard) > 0).all(), "a sample is in another place, or played twice"
    underruns = [line for line in ran.printed(2) if "underrun" in line]
    # a busy server plays silence where it likes; what it had taken before an underrun may be lost, and is reported
    assert heard.tolist() == expected or (underruns and len(expected) - heard.size < RATE), ran
    silence = np.flatnonzero(found > after)[0] - np.flatnonzero((found > 0) & (found <= before))[-1] - 1
    assert silence >= GAP
    assert [line for line in ran.printed(2) if "gap of" in line] == [
        f"LoudspeakerJob 2: gap of {GAP} frames before frame {after} played as silence"
    ], ran
    assert took > total / RATE, "the device's clock sets the pace"


@pytest.mark.soak
def test_a_killed_loudspeaker_repeats_or_loses_some_tenths_of_a_second(fission: CommandLine, server: SoundServer) -> None:
    blocks = 600
    fission.project(project_of(LISTED.format(blocks=blocks), IMPORTED))

    async def script(stage: Stage) -> None:
        await stage.until(lambda: played(server).size > 2 * RATE, "two seconds of sound")
        stage.kill_job(2)

    ran = Stage(fission, sink=4).run(script)
    assert (ran.summary.exit_code, ran.summary.reason) == (0, "finished"), ran
    assert ran.restarts(2) == 1
    total = blocks * BLOCK + GAP
    eventually(lambda: played(server)[-1:].tolist() == [total], 5, "the last sample")
    heard = played(server)
    heard = heard[heard > 0]
    back = np.flatnonzero(np.diff(heard) < 0)
    assert len(back) <= 1, "it goes back once at most"
    again = heard.size - len(set(heard.tolist()))
    missing = total - GAP - len(set(heard.tolist()))
    assert again < RATE
    assert missing < RATE


@pytest.mark.soak
def test_a_loudspeaker_that_comes_back_plays_on(fission: CommandLine, server: SoundServer) -> None:
    blocks = 800
    fission.project(project_of(LISTED.format(blocks=blocks), IMPORTED))

    async def script(stage: Stage) -> None:
        await stage.until(lambda: played(server).size > RATE, "a second of sound")
        server.unplug("room")
        await stage.until(lambda: [text for kind, text in stage.console if "plays nothing" in text], "the report")
        server.plug_in()

    ran = Stage(fission, sink=4).run(script)
    assert (ran.summary.exit_code, ran.summary.reason) == (0, "finished"), ran
    total = blocks * BLOCK + GAP
    eventually(lambda: played(server)[-1:].tolist() == [total], 5, "the last sample")
    heard = played(server)
    heard = heard[heard > 0]
    assert (np.diff(heard) > 0).all(), "no sample is played twice"
    missing = total - GAP - heard.size
    assert missing < RATE, "what the device had taken is lost, and nothing else"
