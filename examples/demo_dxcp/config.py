"""The network demo_dxcp."""

import os
from pathlib import Path

from fission.connectors.audio import MicrophoneJob, WavSinkJob
from fission.core.jobs import CSVSinkJob
from fission.core.pipes import PicklePipe

from demo_dxcp import scene
from demo_dxcp.jobs.jobs import FRAME, RecordingJob, SynchroniserJob
from demo_dxcp.pipes.pipes import FramePipe, RateOffsetPipe, ResidualPipe, SecondsPipe, TimeOffsetPipe

# --- What is recorded -------------------------------

# Loading this config makes the recordings, unless they are there already.
SECONDS = 60.0
RATE_OFFSET_PPM = 75.0  # by how much the second microphone's sampling rate is above the first one's: -1000 to 1000
TIME_OFFSET_MS = 12.5  # how much later it starts: -100 to 100
SNR_DB = 20.0  # the voice's power over that of each microphone's noise

# How many times as fast as microphones the recordings are played, or None: as fast as the network can. At 20, a minute takes 3 s: time
# enough to watch a node being killed half-way.
SPEED = 20.0

# Whether to listen to two microphones instead, until Ctrl-C. So it is after `python3 manage.py demo_dxcp simulate --live`.
LIVE = "LIVE" in os.environ
LIVE_DEVICES = (None, None)  # as `fission audio devices` lists them; None: the default one

# A file for the second recording at the first one's rate, or None. With a file, the network has a fifth job.
SYNCHRONISED = None

# --- The network ------------------------------------

if LIVE:
    truth = None
    sources = [MicrophoneJob(device, scene.RATE, 1, FRAME, outputs=[FramePipe(number)]) for number, device in enumerate(LIVE_DEVICES, 1)]
else:
    truth = (RATE_OFFSET_PPM, TIME_OFFSET_MS)
    scene.make(Path(__file__).resolve().parent / "recordings", scene.Scene(SECONDS, *truth, SNR_DB))
    sources = [RecordingJob(name, FRAME, SPEED, outputs=[FramePipe(number)]) for number, name in enumerate(scene.FILES, 1)]

SOUND = [] if SYNCHRONISED is None else [PicklePipe(105)]

JOBS = [
    *sources,
    SynchroniserJob(
        truth,
        inputs=[FramePipe(1), FramePipe(2)],
        outputs=[SecondsPipe(101), RateOffsetPipe(102), TimeOffsetPipe(103), ResidualPipe(104), *SOUND],
    ),
    CSVSinkJob(
        path="offsets.csv",
        inputs=[SecondsPipe(101), RateOffsetPipe(102), TimeOffsetPipe(103), ResidualPipe(104)],
        col_pattern="{pipe.column}",
    ),
    *(WavSinkJob(SYNCHRONISED, inputs=SOUND) for _ in SOUND),
]
