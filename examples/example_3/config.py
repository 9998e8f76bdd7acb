# ----------------------------------------------------
# FISSION CONFIG FILE of example_3
# ----------------------------------------------------

from fission.core.jobs import CSVSinkJob, InteractiveJob
from fission.core.nodes import BaseNode
from fission.core.pipes import PicklePipe

from example_3.jobs.jobs import MiddleJob
from example_3.pipes.pipes import OperatorPipe
from shared.jobs.jobs import SourceJob

JOBS = [
    SourceJob(
        start=10,
        step=10,
        outputs=[
            PicklePipe(1),
        ],
    ),
    SourceJob(
        outputs=[
            PicklePipe(2),
        ]
    ),
    InteractiveJob(
        outputs=[
            OperatorPipe(3),
        ]
    ),
    MiddleJob(
        inputs=[
            OperatorPipe(3),
            PicklePipe(1),
            PicklePipe(2),
        ],
        outputs=[
            PicklePipe(4),
            PicklePipe(5),
        ],
    ),
    CSVSinkJob(
        path="results.csv",
        inputs=[
            PicklePipe(4),
            PicklePipe(5),
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
