"""The network optional_input."""

from fission.core.jobs import CSVSinkJob, InteractiveJob
from fission.core.pipes import PicklePipe

from optional_input.jobs.jobs import MiddleJob
from optional_input.pipes.pipes import OperatorPipe
from shared.jobs.jobs import SourceJob

JOBS = [
    SourceJob(
        start=10,
        step=10,
        outputs=[PicklePipe(1)],
    ),
    SourceJob(outputs=[PicklePipe(2)]),
    InteractiveJob(outputs=[OperatorPipe(3)]),
    MiddleJob(
        inputs=[OperatorPipe(3), PicklePipe(1), PicklePipe(2)],
        outputs=[PicklePipe(4), PicklePipe(5)],
    ),
    CSVSinkJob(
        path="results.csv",
        inputs=[PicklePipe(4), PicklePipe(5)],
    ),
]
