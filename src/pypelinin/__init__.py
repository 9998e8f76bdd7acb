"""The import path of the published pypelinin: its names, and its behaviour where it differs.

`Job` and `Pipeline` compare, print and serialize as in pypelinin; `PipelineManager.start` waits for
a Router; `Client` speaks its wire protocol. New programs import `fission.pipelines`.
"""

from fission.pipelines import (
    Broker,
    DaemonError,
    ExecutableFailed,
    ExecutableWorker,
    PipelineError,
    Pipeliner,
    PipelineRefused,
    Router,
    RouterAnswer,
    RouterUnreachable,
    StoreLost,
    Worker,
)
from pypelinin.client import Client
from pypelinin.manager import PipelineManager
from pypelinin.pipeline import Job, Pipeline, PipelineForPipeliner

#: The published version that has this interface.
__version__ = "0.1.1"

__all__ = [
    "Broker",
    "Client",
    "DaemonError",
    "ExecutableFailed",
    "ExecutableWorker",
    "Job",
    "Pipeline",
    "PipelineError",
    "PipelineForPipeliner",
    "PipelineManager",
    "PipelineRefused",
    "Pipeliner",
    "Router",
    "RouterAnswer",
    "RouterUnreachable",
    "StoreLost",
    "Worker",
]
