# ----------------------------------------------------
# FISSION CONFIG FILE of demo_network_v3
# ----------------------------------------------------

from fission.core.jobs import CSVSinkJob
from fission.core.nodes import BaseNode
from fission.core.pipes import PicklePipe

from demo_network_v3.jobs.jobs import JoinJob, ReduceJob
from demo_network_v3.pipes.pipes import ReducePipe
from shared.jobs.jobs import SourceJob

# The first digit of a pipe's id tells which part of the network it belongs to: 1 the values, 2 and 3 the two files.
JOBS = [
    SourceJob(
        outputs=[
            PicklePipe(101),
            PicklePipe(201),
        ],
    ),
    SourceJob(
        outputs=[
            PicklePipe(102),
            PicklePipe(202),
        ],
    ),
    SourceJob(
        outputs=[
            PicklePipe(103),
            PicklePipe(203),
        ],
    ),
    JoinJob(
        inputs=[
            PicklePipe(101),
            PicklePipe(102),
            PicklePipe(103),
        ],
        outputs=[
            ReducePipe(105),
            PicklePipe(205),
        ],
    ),
    ReduceJob(
        inputs=[
            ReducePipe(105),
        ],
        outputs=[
            PicklePipe(301),
        ],
    ),
    CSVSinkJob(
        path="join.csv",
        inputs=[
            PicklePipe(201),
            PicklePipe(202),
            PicklePipe(203),
            PicklePipe(205),
        ],
    ),
    CSVSinkJob(
        path="reduce.csv",
        inputs=[
            PicklePipe(301),
        ],
    ),
]

# --- The machines (simulate needs none of these) ----

# Replace these addresses, which exist only in documents, by those of your machines.
USER = "pi"
REMOTE_ROOT = f"/home/{USER}/fission/"
CLIENT_IP = "192.0.2.1"
NODES = [
    BaseNode("192.0.2.11"),
    BaseNode("192.0.2.12"),
    BaseNode("192.0.2.13"),
]

LOG_LEVEL = "INFO"
LOG_FILE = "FISSION.log"
