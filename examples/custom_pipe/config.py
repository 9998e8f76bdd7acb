"""The network custom_pipe."""

from fission.core.jobs import CSVSinkJob, InteractiveJob
from fission.core.pipes import PicklePipe

from custom_pipe.jobs.jobs import AppendJob, MiddleJob, SourceJob
from custom_pipe.pipes.pipes import IntPipe

JOBS = [
    SourceJob(outputs=[PicklePipe(1)]),
    InteractiveJob(outputs=[PicklePipe(2)]),
    MiddleJob(
        inputs=[PicklePipe(1), PicklePipe(2)],
        outputs=[PicklePipe(3), IntPipe(4)],
    ),
    CSVSinkJob(
        path="sums.csv",
        inputs=[PicklePipe(3)],
    ),
    AppendJob(inputs=[IntPipe(4)]),
]
