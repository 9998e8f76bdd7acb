"""What the process of a job reports at its end, over a pipe, to the engine that started it.

An engine on a node passes it on to the client in an `ExitReport`.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from fission.errors import RemoteProtocolError
from fission.protocol.messages.codec import Codec, Message, Whole
from fission.protocol.messages.job_to_client import JobCounts

#: How a process ended (`fission.runtime.report`), or "node fault" (`fission.ports.NODE_FAULT`).
ProcessOutcome: TypeAlias = Literal["finished", "ended", "stopped", "failed", "node fault"]


class ProcessReport(Message, frozen=True, tag="process_report"):
    """The job's process ends.

    Attributes:
        outcome: "finished", "ended", "stopped", "failed", or "node fault": the node could not start
            or keep it.
        error: of a failure, for the user; for a node fault, its cause.
        counts: what it has counted; None: it had not begun.
        block: number of the compute block at which it failed; 0: it had not begun.
        hopeless: whether a new incarnation would fail too.
    """

    outcome: ProcessOutcome
    error: str = ""
    counts: JobCounts | None = None
    block: Whole = 0
    hopeless: bool = False


PROCESS_TO_ENGINE: Codec[ProcessReport] = Codec("process to engine", ProcessReport)


def read_report(data: bytes) -> ProcessReport | None:
    """Return the report that a process has written; None if it is missing, incomplete or malformed.

    This happens if the process died before or while it wrote the report.
    """
    try:
        return PROCESS_TO_ENGINE.decode(data)
    except RemoteProtocolError:
        return None
