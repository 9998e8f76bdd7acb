"""The network block_head."""

from fission.core.jobs import CSVSinkJob, InteractiveJob
from fission.core.pipes import PicklePipe

from block_head.jobs.jobs import HeadJob, MiddleJob

JOBS = [
    InteractiveJob(outputs=[PicklePipe(1)]),
    InteractiveJob(outputs=[PicklePipe(2)]),
    MiddleJob(
        inputs=[PicklePipe(1), PicklePipe(2)],
        outputs=[PicklePipe(3)],
    ),
    HeadJob(
        inputs=[PicklePipe(3)],
        outputs=[PicklePipe(4)],
    ),
    CSVSinkJob(
        path="digits.csv",
        inputs=[PicklePipe(4)],
    ),
]
