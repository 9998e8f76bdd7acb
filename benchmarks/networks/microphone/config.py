"""A microphone and the job after it, configured by the environment variable FISSION_BENCH: JSON with blocks, began, rate and block."""

import json
import os

from fission.core.pipes import PicklePipe
from microphone.jobs import Hears, Notes

LOG_LEVEL = "WARNING"

_order = {"blocks": 100, "began": 0.0, "rate": 16000, "block": 160} | json.loads(os.environ.get("FISSION_BENCH", "{}"))

JOBS = [
    Hears(rate=_order["rate"], block=_order["block"], dtype="int32", outputs=[PicklePipe(1)]),
    Notes(_order["blocks"], _order["began"], inputs=[PicklePipe(1)]),
]
