"""Sound through spectra and levels into two files, configured by the environment variable FISSION_BENCH: JSON with path."""

import json
import os

from fission.connectors.audio import LevelJob, StftJob, WavSinkJob, WavSourceJob
from fission.core.jobs import CSVSinkJob
from fission.core.pipes import PicklePipe
from sound.jobs import BLOCK, HOP, SIZE, BandLevels

LOG_LEVEL = "WARNING"

_order = {"path": "sound.wav"} | json.loads(os.environ.get("FISSION_BENCH", "{}"))

JOBS = [
    WavSourceJob(_order["path"], block=BLOCK, outputs=[PicklePipe(1), PicklePipe(2)]),
    StftJob(size=SIZE, hop=HOP, inputs=[PicklePipe(1)], outputs=[PicklePipe(3)]),
    BandLevels(inputs=[PicklePipe(3)], outputs=[PicklePipe(4)]),
    CSVSinkJob("bands.csv", inputs=[PicklePipe(4)]),
    LevelJob(interval=0.125, inputs=[PicklePipe(2)], outputs=[PicklePipe(5)]),
    WavSinkJob("levels.wav", inputs=[PicklePipe(5)]),
]
