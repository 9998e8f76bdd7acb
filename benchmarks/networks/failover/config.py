"""A source, a job that is lost, and a sink, configured by the environment variable FISSION_BENCH: JSON with count, rate and the hosts."""

import json
import os

from failover.jobs import Sink, Source, Total
from fission.core.nodes import BaseNode
from fission.core.pipes import PicklePipe

LOG_LEVEL = "WARNING"
PULSE_INTERVAL = 0.1
RESTARTS = 1000
RESTART_WINDOW = 0.001  # each loss counts as the first one: no back-off

_order = {"count": 1000, "rate": 200} | json.loads(os.environ.get("FISSION_BENCH", "{}"))

if "hosts" in _order:
    CLIENT_IP = _order["hosts"]["client_ip"]
    NODES = [type("Host", (BaseNode,), {"GROUPS": groups})(ip, name) for ip, name, groups in _order["hosts"]["nodes"]]
    Source.GROUPS, Total.GROUPS = "FIRST", "OTHERS"

JOBS = [
    Source(_order["count"], _order["rate"], outputs=[PicklePipe(1)]),
    Total(inputs=[PicklePipe(1)], outputs=[PicklePipe(2), PicklePipe(3)]),
    Sink(inputs=[PicklePipe(2), PicklePipe(3)]),
]
