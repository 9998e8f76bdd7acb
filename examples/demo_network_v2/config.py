# ----------------------------------------------------
# FISSION CONFIG FILE of demo_network_v2
# ----------------------------------------------------

from fission.core.nodes import BaseNode
from fission.core.pipes import PicklePipe

from demo_network_v2.jobs.jobs import JoinJob, ReduceJob
from demo_network_v2.pipes.pipes import ReducePipe
from shared.jobs.jobs import SourceJob

JOBS = [
    SourceJob(
        outputs=[
            PicklePipe(101),
        ],
    ),
    SourceJob(
        start=20,
        step=2,
        outputs=[
            PicklePipe(102),
        ],
    ),
    SourceJob(
        step=-1,
        outputs=[
            PicklePipe(103),
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
        ],
    ),
    ReduceJob(
        inputs=[
            ReducePipe(105),
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
