"""Many pairs of a slow source and a sink, configured by the environment variable FISSION_BENCH: JSON with pairs and rate (blocks/s)."""

import json
import os

from fission.core.pipes import PicklePipe
from many.jobs import Sink, Source

LOG_LEVEL = "WARNING"
PULSE_INTERVAL = 0.1

_order = {"pairs": 50, "rate": 1} | json.loads(os.environ.get("FISSION_BENCH", "{}"))

JOBS = []
for pair in range(1, _order["pairs"] + 1):
    JOBS += [Source(_order["rate"], outputs=[PicklePipe(pair)]), Sink(inputs=[PicklePipe(pair)])]
