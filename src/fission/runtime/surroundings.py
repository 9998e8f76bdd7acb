"""What a job's pipes are run with: a clock, a control thread, and where snapshots are read.

A process has the defaults. What plays many jobs in one thread (the simulated cluster, `fission_network`) hands in its own.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from fission.ports import JobBundle, Links
from fission.runtime.control import Control, Served
from fission.runtime.snapshots import reader

log = logging.getLogger("fission.runtime")


def log_malformed(text: str) -> None:
    """Log what was wrong with a control message."""
    log.warning("dropped a malformed control message: %s", text)


@dataclass(frozen=True)
class Surroundings:
    """Everything that a job's pipes take from the process that they are in.

    Attributes:
        clock: gives the time in seconds.
        control: makes what serves the pipes while the job computes.
        waits: whether `put` may wait for room; if not, the caller asks for room first.
        snapshots: gives what reads the snapshots of a job, by generation and block.
        malformed: called with what was wrong with a control message that was dropped.
    """

    clock: Callable[[], float] = perf_counter
    control: Callable[[Links, Served], Any] = Control
    waits: bool = True
    snapshots: Callable[[JobBundle, Any], Callable[[int, int], bytes]] = reader
    malformed: Callable[[str], None] = log_malformed


#: Of a job's own process.
PROCESS = Surroundings()
