"""What a store of pipelines raises when its database does not take part."""

from __future__ import annotations

from fission.errors import FissionError


class StoreAway(FissionError):
    """The Router's database does not take part at the moment: its server restarts, its disk is full, it is locked. It may be back."""


class StoreLost(FissionError):
    """The Router cannot continue with its database: it is damaged, gone, or another Router has it. What was accepted is in it."""
