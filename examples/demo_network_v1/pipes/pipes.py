"""The pipes of demo_network_v1."""

from __future__ import annotations

from fission.core.pipes import PicklePipe


class ReducePipe(PicklePipe):
    """Hands over five values at a time, as a list."""

    BLOCK_COUNT = 5
