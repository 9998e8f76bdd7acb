"""The interfaces between the decisions and the outside world, and the values that cross them.

Internal: may change without notice.

A job's process receives a `Links`; the client receives an `Engine` and an `Observer`. Every
interface has a real implementation and an in-memory one in `fission.adapters`, and both pass the
same conformance suite.
"""

from __future__ import annotations

from fission.ports.bundle import Archive, JobArchives, JobBundle, Place, Wiring, bundle_of, job_payload
from fission.ports.client import CheckpointStore, Observer
from fission.ports.engine import (
    NODE_FAULT,
    Engine,
    EngineEvent,
    EngineNode,
    EngineNotice,
    JobExited,
    JobOutput,
    LinksMeasured,
    NodeGone,
    NodeJoined,
    NodePulse,
)
from fission.ports.links import Links
from fission.ports.names import JobId, NodeName, PipeId, Seconds
from fission.ports.shared import Lease, SharedReader, SharedWriter, Taken

__all__ = [
    "NODE_FAULT",
    "Archive",
    "CheckpointStore",
    "Engine",
    "EngineEvent",
    "EngineNode",
    "EngineNotice",
    "JobArchives",
    "JobBundle",
    "JobExited",
    "JobId",
    "JobOutput",
    "Lease",
    "Links",
    "LinksMeasured",
    "NodeGone",
    "NodeJoined",
    "NodeName",
    "NodePulse",
    "Observer",
    "PipeId",
    "Place",
    "Seconds",
    "SharedReader",
    "SharedWriter",
    "Taken",
    "Wiring",
    "bundle_of",
    "job_payload",
]
