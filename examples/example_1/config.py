# ----------------------------------------------------
# FISSION CONFIG FILE of example_1
# ----------------------------------------------------

from fission.core.jobs import CSVSinkJob
from fission.core.nodes import BaseNode
from fission.core.pipes import PicklePipe

from example_1.jobs.jobs import MiddleJob, SourceJob

# An output and an input with the same pipe id are the two ends of one pipe.
JOBS = [
    SourceJob(
        outputs=[
            PicklePipe(1),
        ]
    ),
    MiddleJob(
        inputs=[
            PicklePipe(1),
        ],
        outputs=[
            PicklePipe(2),
        ],
    ),
    CSVSinkJob(
        path="test.csv",
        inputs=[
            PicklePipe(2),
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
