"""What ``run --resume-or-start`` does: the last run of the network continues, or a new one begins."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True)
class RunRecord:
    """What the files of a run say about it.

    Attributes:
        began: whether it has ever ordered the start of a job, so that it may hold data.
        exit_code: exit code with which the network ended; None: the network has not ended. Its client
            was stopped or killed, or its machine failed.
        reason: why the network ended; empty: it has not.
    """

    began: bool
    exit_code: int | None = None
    reason: str = ""


class Beginning(Enum):
    """How a client begins."""

    START = "a new run begins"
    RESUME = "the last run continues"


def resume_or_start(last: RunRecord | None) -> Beginning:
    """Return how a client begins that must lose nothing and do nothing twice.

    A network that failed, or had no place for a job, still holds blocks and states, so it continues: the
    cause may be gone. One that finished has nothing left to do.

    Args:
        last: the last run that has started a job, or else the last one; None: there is none.
    """
    if last is None or not last.began or last.exit_code == 0:
        return Beginning.START
    return Beginning.RESUME
