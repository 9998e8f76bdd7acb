"""The network wildlife."""

import os
from pathlib import Path

from fission.connectors.audio import MicrophoneJob
from fission.core.pipes import PicklePipe

from wildlife import scene
from wildlife.detector import Limits
from wildlife.jobs.jobs import ClipJob, DetectorJob, EventCSVJob, FeaturesJob, FolderJob

HERE = Path(__file__).resolve().parent

# --- What is heard ----------------------------------

# Each station's folder of mono WAV or FLAC files, on the node where its FolderJob runs. Files named like 20260401_053000.WAV have that time
# (UTC).
FOLDERS = {"north": HERE / "recordings" / "north", "south": HERE / "recordings" / "south"}

# Whether loading this config makes the recordings above, unless they are there already; False: they are your own.
MAKE = True

# How many times as fast as microphones the files are played, or None: as fast as the network can. At 20, a minute takes 3 s.
SPEED = 20.0

# Samples in a block.
BLOCK = 1600

# Whether to listen to microphones instead, until Ctrl-C. So it is after `python3 manage.py wildlife simulate --live`.
LIVE = "LIVE" in os.environ
LIVE_DEVICES = {"here": None}  # each station's, as `fission audio devices` lists it; None: the default one
LIVE_RATE = 48000

# --- What is looked for -----------------------------

# Lowest and highest frequency in Hz of each band, and what counts as an event: see detector.py.
BANDS = ((1500.0, 3000.0), (3000.0, 5000.0), (5000.0, 8000.0))
LIMITS = Limits(on_db=10.0, off_db=6.0)

# --- The network ------------------------------------

if MAKE and not LIVE:
    scene.make(HERE / "recordings", {"north": 1, "south": 2}, files=2, seconds=30.0)

# The first digit of a pipe's number is that of its station.
JOBS = []
for number, station in enumerate(LIVE_DEVICES if LIVE else FOLDERS, start=1):
    sound, copy, features, events, rows = (100 * number + digit for digit in range(1, 6))
    outputs = [PicklePipe(sound), PicklePipe(copy)]
    if LIVE:
        source = MicrophoneJob(LIVE_DEVICES[station], LIVE_RATE, 1, BLOCK, outputs=outputs)
    else:
        source = FolderJob(FOLDERS[station], BLOCK, SPEED, outputs=outputs)
    JOBS += [
        source,
        FeaturesJob(BANDS, inputs=[PicklePipe(sound)], outputs=[PicklePipe(features)]),
        DetectorJob(LIMITS, inputs=[PicklePipe(features)], outputs=[PicklePipe(events), PicklePipe(rows)]),
        ClipJob(station, LIMITS, inputs=[PicklePipe(copy), PicklePipe(events)]),
        EventCSVJob("events.csv", station, BANDS, inputs=[PicklePipe(rows)]),
    ]
