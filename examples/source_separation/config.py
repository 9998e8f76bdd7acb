"""The network source_separation."""

import os
from pathlib import Path

from fission.core.jobs import CSVSinkJob

from source_separation.jobs.jobs import (
    CovarianceJob,
    FourthOrderJob,
    LevelJob,
    NormJob,
    ReaderJob,
    RefinementJob,
    ReportJob,
    WhiteningJob,
    WriterJob,
)
from source_separation.pipes.pipes import BlockPipe, FirstLevelPipe, RoundPipe, SecondLevelPipe, SoundPipe
from source_separation.wavfile import load_pair

# --- What to separate -------------------------------

# Relative paths are relative to this folder.
HERE = Path(__file__).resolve().parent

# The two microphones' recordings: mono WAV files with 8 or 16 bit PCM samples, any rate, both of the same rate and length.
MICROPHONES = ("recordings/microphone_1.wav", "recordings/microphone_2.wav")

# The two voices without the other one, of the same rate and length as the recordings, to tell how well they were separated; or None.
CLEAN_VOICES = ("recordings/voice_1.wav", "recordings/voice_2.wav")

# How much sound travels at a time; 800 samples are 0.1 s of the recordings above.
SAMPLES_PER_BLOCK = 800

# How many blocks a second each microphone's recording is played with, or None: as fast as they go. The recordings above have 70
# blocks and are played five times, so this takes 5 s: time enough to watch a node being killed half-way.
PACE = 70

# Whether to listen to two microphones, the two channels of one device, instead of the recordings. So it is after
# `python3 manage.py source_separation simulate --live`. It needs the extra audio.
LIVE = "LIVE" in os.environ
LIVE_DEVICE = None  # as `fission audio devices` lists it; None: the default one
LIVE_RATE = 8000
LIVE_SECONDS = 7

# --- The network ------------------------------------

if LIVE:
    from source_separation.jobs.live import LiveReaderJob

    voices = None
    blocks = max(1, LIVE_SECONDS * LIVE_RATE // SAMPLES_PER_BLOCK)
    readers = [LiveReaderJob(blocks, SAMPLES_PER_BLOCK, LIVE_RATE, LIVE_DEVICE, outputs=[SoundPipe(1), SoundPipe(2)])]
else:
    microphones = load_pair(HERE, MICROPHONES, "MICROPHONES")
    voices = None if CLEAN_VOICES is None else load_pair(HERE, CLEAN_VOICES, "CLEAN_VOICES", like=microphones[0])
    readers = [
        ReaderJob(recording, SAMPLES_PER_BLOCK, PACE, outputs=[SoundPipe(number)]) for number, recording in enumerate(microphones, 1)
    ]

JOBS = [
    *readers,
    CovarianceJob(inputs=[SoundPipe(1), SoundPipe(2)], outputs=[SoundPipe(3)]),
    WhiteningJob(inputs=[SoundPipe(3)], outputs=[SoundPipe(4)]),
    NormJob(inputs=[SoundPipe(4)], outputs=[SoundPipe(5)]),
    FourthOrderJob(inputs=[SoundPipe(5)], outputs=[SoundPipe(6)]),
    RefinementJob(inputs=[SoundPipe(6)], outputs=[SoundPipe(7)]),
    LevelJob(
        inputs=[SoundPipe(7)],
        outputs=[
            SoundPipe(101),
            SoundPipe(102),
            SoundPipe(103),
            RoundPipe(201),
            BlockPipe(202),
            FirstLevelPipe(203),
            SecondLevelPipe(204),
        ],
    ),
    WriterJob(path="separated_1.wav", inputs=[SoundPipe(101)]),
    WriterJob(path="separated_2.wav", inputs=[SoundPipe(102)]),
    ReportJob(voices, inputs=[SoundPipe(103)]),
    CSVSinkJob(
        path="levels.csv",
        inputs=[
            RoundPipe(201),
            BlockPipe(202),
            FirstLevelPipe(203),
            SecondLevelPipe(204),
        ],
        col_pattern="{pipe.column}",
    ),
]
