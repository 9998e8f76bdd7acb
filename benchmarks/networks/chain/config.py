"""A chain of jobs, as the environment variable FISSION_BENCH says: JSON with what chain/meter.py lists, and some of

pipe (pickle, bytes, length, own_pickle), checkpoint (CHECKPOINT of the jobs between) and state (bytes of a snapshot of theirs), in_place
(jobs that change an array compute it where the next one reads it), program (path of an executable that runs in place of each job
between), windows (false: links without windows and releases), times (the sinks ask for the times of their blocks), hosts (the machines
to run on), apart (the source on the host of the group FIRST, the hops on that of SECOND).
"""

import json
import os

from chain import jobs, meter, pipes
from fission.core.jobs import DynamicExecutableJob
from fission.core.nodes import BaseNode
from fission.core.pipes import BytesPipe, PicklePipe

LOG_LEVEL = "WARNING"

_order = meter.DEFAULTS | {"pipe": "pickle"} | json.loads(os.environ.get("FISSION_BENCH", "{}"))
if "hosts" in _order:
    CLIENT_IP = _order["hosts"]["client_ip"]
    NODES = [type("Host", (BaseNode,), {"GROUPS": groups})(ip, name) for ip, name, groups in _order["hosts"]["nodes"]]
    PULSE_INTERVAL = 0.1
    if _order.get("apart"):
        jobs.Source.GROUPS, jobs.Forward.GROUPS = "FIRST", "SECOND"


def _pipe(number):
    if _order["pipe"] == "bytes":
        return BytesPipe(number, _order["size"])
    return {"pickle": PicklePipe, "length": pipes.LengthPipe, "own_pickle": pipes.OwnPicklePipe}[_order["pipe"]](number)


def _between(hop):
    ends = {"inputs": [_pipe(hop)], "outputs": [_pipe(hop + 1)]}
    if _order.get("program"):
        return DynamicExecutableJob(executable=_order["program"], **ends)
    if _order.get("checkpoint"):
        return jobs.Stateful(_order["checkpoint"], _order["state"], **ends)
    if _order["work"] == "double":
        return (jobs.DoubleInPlace if _order.get("in_place") else jobs.Double)(**ends)
    return jobs.Forward(**ends)


jobs.Sink.BLOCK_TIME = bool(_order.get("times"))
_sinks, _last = _order["sinks"], _order["hops"]
JOBS = [
    jobs.Source(_order, outputs=[_pipe(1)] if _last > 1 else [_pipe(number) for number in range(1, _sinks + 1)]),
    *[_between(hop) for hop in range(1, _last)],
    *[jobs.Sink(_order, inputs=[_pipe(_last + number)]) for number in range(_sinks)],
]
