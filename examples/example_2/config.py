# ----------------------------------------------------
# FISSION CONFIG FILE of example_2
# ----------------------------------------------------

from fission.core.jobs import CSVSinkJob, InteractiveJob
from fission.core.nodes import BaseNode
from fission.core.pipes import PicklePipe

from example_2.jobs.jobs import AppendJob, MiddleJob, SourceJob
from example_2.pipes.pipes import IntPipe

JOBS = [
    SourceJob(
        outputs=[
            PicklePipe(1),
        ]
    ),
    InteractiveJob(
        outputs=[
            PicklePipe(2),
        ]
    ),
    MiddleJob(
        inputs=[
            PicklePipe(1),
            PicklePipe(2),
        ],
        outputs=[
            PicklePipe(3),
            IntPipe(4),
        ],
    ),
    CSVSinkJob(
        path="sums.csv",
        inputs=[
            PicklePipe(3),
        ],
    ),
    AppendJob(
        inputs=[
            IntPipe(4),
        ]
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
