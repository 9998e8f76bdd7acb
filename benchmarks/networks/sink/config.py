"""A source and a sink with a file, configured by the environment variable FISSION_BENCH: JSON with count, kind (csv, bytes), size, sync."""

import json
import os

from fission.core.pipes import PicklePipe
from sink.jobs import SINKS, Source

LOG_LEVEL = "WARNING"

_order = {"count": 1000, "kind": "csv", "size": 8, "sync": True} | json.loads(os.environ.get("FISSION_BENCH", "{}"))

JOBS = [
    Source(_order["count"], 1 / 3 if _order["kind"] == "csv" else os.urandom(_order["size"]), outputs=[PicklePipe(1)]),
    SINKS[_order["kind"]](_order["count"], _order["sync"], inputs=[PicklePipe(1)]),
]
