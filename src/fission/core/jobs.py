"""The base classes of jobs, and the predefined jobs."""

from __future__ import annotations

from fission.core.base_job import BaseJob
from fission.core.executable_job import DynamicExecutableJob, DynamicMARVELOJob, ExecutableJob, MARVELOJob
from fission.core.file_sinks import BytesSinkJob, FileSinkJob, NpySinkJob
from fission.core.head import Head
from fission.core.predefined import ClockJob, ForwardingJob, InteractiveJob
from fission.core.python_job import LocalJob, PythonJob
from fission.core.record_jobs import CSVSinkJob, LoggingJob, LoggingSinkJob
from fission.core.wav_sink import WavSinkJob

__all__ = [
    "BaseJob",
    "BytesSinkJob",
    "CSVSinkJob",
    "ClockJob",
    "DynamicExecutableJob",
    "DynamicMARVELOJob",
    "ExecutableJob",
    "FileSinkJob",
    "ForwardingJob",
    "Head",
    "InteractiveJob",
    "LocalJob",
    "LocalNode",
    "LoggingJob",
    "LoggingSinkJob",
    "MARVELOJob",
    "NpySinkJob",
    "PythonJob",
    "WavSinkJob",
]

#: The published text calls LocalJob so in one place. The node of this name is in `fission.core.nodes`.
LocalNode = LocalJob
