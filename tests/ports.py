"""Ports of loopback for daemons that need to know theirs before they start.

Another program may take a port between its choice and its use. These ports are therefore outside
the range that the kernel assigns by itself, and each process of a parallel run has its own part.
"""

from __future__ import annotations

import itertools
import os
import random
import socket
from collections.abc import Iterator

#: Below 32768, where the kernel's range begins, and below `tests/conformance/test_dask_engine.py`.
FIRST, EACH, PARTS = 10_000, 1_500, 6


def _numbers() -> Iterator[int]:
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first = FIRST + worker % PARTS * EACH
    # not always the same ports: another run may be active, or have just ended
    start = random.randrange(EACH)
    return (first + (start + index) % EACH for index in itertools.count())


_next = _numbers()


def free_ports(number: int) -> list[int]:
    """Return ports of loopback that are free now and that no other test gets soon."""
    found: list[int] = []
    while len(found) < number:
        port = next(_next)
        with socket.socket() as one:
            try:
                one.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
    return found
