"""Many pairs of a slow source and a sink, configured by the environment variable FISSION_BENCH: JSON with pairs, rate (blocks/s), numpy
(true: each job imports it) and preload (modules for PRELOAD)."""

import json
import os

from fission.core.pipes import PicklePipe
from many.jobs import NumpySink, NumpySource, Sink, Source

LOG_LEVEL = "WARNING"
PULSE_INTERVAL = 0.1

_order = {"pairs": 50, "rate": 1, "numpy": False} | json.loads(os.environ.get("FISSION_BENCH", "{}"))
if "preload" in _order:
    PRELOAD = _order["preload"]
_source, _sink = (NumpySource, NumpySink) if _order["numpy"] else (Source, Sink)

JOBS = []
for pair in range(1, _order["pairs"] + 1):
    JOBS += [_source(_order["rate"], outputs=[PicklePipe(pair)]), _sink(inputs=[PicklePipe(pair)])]
