"""Ports of loopback for daemons that must be told theirs before they start.

Between the choice and the use of a port somebody else may take it, so they are of a range that the kernel gives to nobody by itself,
and each process of a parallel run has a part of it for itself.
"""

from __future__ import annotations

import itertools
import os
import random
import socket
from collections.abc import Iterator

#: Below 32768, where the kernel's own begin, and below those of `tests/conformance/test_dask_engine.py`.
FIRST, EACH, PARTS = 10_000, 1_500, 6


def _numbers() -> Iterator[int]:
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first = FIRST + worker % PARTS * EACH
    # not always the same ones: another run may be going on, or have just ended
    start = random.randrange(EACH)
    return (first + (start + index) % EACH for index in itertools.count())


_next = _numbers()


def free_ports(number: int) -> list[int]:
    """Ports of loopback that nobody uses now, and that no other test is given soon."""
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
