"""Pipelines: directed graphs of jobs over stored data, run by a Router, Brokers and Pipeliners;
pypelinin's names.

Public: the names in ``__all__``. The modules are internal.

`Pipeline`, `Job` and `Worker` describe the work; `PipelineManager` submits pipelines;
`Router`, `Broker` and `Pipeliner` are the daemons. Nothing heavy is loaded before a daemon starts.
"""

from fission.pipelines.broker import Broker
from fission.pipelines.errors import DaemonError, PipelineError, PipelineRefused, RouterAnswer, RouterUnreachable, StoreLost
from fission.pipelines.executables import ExecutableFailed, ExecutableWorker
from fission.pipelines.manager import PipelineManager
from fission.pipelines.model import Job, Pipeline, Worker
from fission.pipelines.pipeliner import Pipeliner
from fission.pipelines.router import Router

__all__ = [
    "Broker",
    "DaemonError",
    "ExecutableFailed",
    "ExecutableWorker",
    "Job",
    "Pipeline",
    "PipelineError",
    "PipelineManager",
    "PipelineRefused",
    "Pipeliner",
    "Router",
    "RouterAnswer",
    "RouterUnreachable",
    "StoreLost",
    "Worker",
]
