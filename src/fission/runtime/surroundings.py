"""The environment of a job's pipes: a clock, a control thread, and a source of snapshots.

A process uses the defaults. Code that runs many jobs in one thread (the simulated cluster,
`fission_network`) supplies its own.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from fission.core.block_time import BlockTime
from fission.ports import JobBundle, Links
from fission.protocol.block_times import pack
from fission.runtime.control import Control, Served
from fission.runtime.snapshots import reader

log = logging.getLogger("fission.runtime")


def log_malformed(text: str) -> None:
    """Log the fault of a dropped control message."""
    log.warning("dropped a malformed control message: %s", text)


@dataclass(frozen=True)
class Surroundings:
    """Everything that a job's pipes take from their process.

    Attributes:
        clock: function that returns the time in seconds.
        control: function that makes the object which serves the pipes while the job computes.
        waits: whether `put` may wait for room; if False, the caller checks for room first.
        snapshots: function that makes the reader of a job's snapshots, by generation and block.
        block_time: function that returns the present as the time of a block, packed.
        malformed: function called with the fault of a dropped control message.
    """

    clock: Callable[[], float] = perf_counter
    control: Callable[[Links, Served], Any] = Control
    waits: bool = True
    snapshots: Callable[[JobBundle, Any], Callable[[int, int], bytes]] = reader
    malformed: Callable[[str], None] = log_malformed
    block_time: Callable[[], bytes] = lambda: pack(BlockTime.now())


#: The surroundings in a job's own process.
PROCESS = Surroundings()
