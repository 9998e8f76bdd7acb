"""A chain of jobs, as the environment variable FISSION_BENCH says: JSON with count, and some of

size (bytes of a payload), rate (blocks a second, 0 = as fast as they go), hops, numpy (payloads are arrays), keep (the sink
keeps all delays; else it only counts), windows (false: links without windows and releases), hosts (the machines to run on),
apart (the source on the host of the group FIRST, the hops on that of SECOND).
"""

import json
import os

from chain.jobs import CountingSink, Forward, Sink, Source
from fission.core.nodes import BaseNode
from fission.core.pipes import PicklePipe

LOG_LEVEL = "WARNING"

_order = {"count": 1000, "size": 8, "rate": 0, "hops": 2, "numpy": False, "keep": True, "windows": True}
_order |= json.loads(os.environ.get("FISSION_BENCH", "{}"))
if "hosts" in _order:
    CLIENT_IP = _order["hosts"]["client_ip"]
    NODES = [type("Host", (BaseNode,), {"GROUPS": groups})(ip, name) for ip, name, groups in _order["hosts"]["nodes"]]
    PULSE_INTERVAL = 0.1
    if _order.get("apart"):
        Source.GROUPS, Forward.GROUPS = "FIRST", "SECOND"
_payload = b"12345678" if _order["size"] == 8 else os.urandom(_order["size"])
if _order["numpy"]:
    import numpy

    _payload = numpy.frombuffer(_payload, numpy.uint8).copy()

JOBS = [
    Source(_order["count"], _payload, _order["rate"], outputs=[PicklePipe(1)]),
    *[Forward(inputs=[PicklePipe(hop)], outputs=[PicklePipe(hop + 1)]) for hop in range(1, _order["hops"])],
    (Sink if _order["keep"] else CountingSink)(_order["count"], inputs=[PicklePipe(_order["hops"])]),
]
