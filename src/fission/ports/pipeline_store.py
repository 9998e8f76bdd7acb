"""The errors of a pipeline store whose database is unavailable."""

from __future__ import annotations

from fission.errors import FissionError


class StoreAway(FissionError):
    """The Router's database is temporarily unavailable, and may recover.

    Its server restarts, its disk is full, or it is locked.
    """


class StoreLost(FissionError):
    """The Router cannot continue with its database.

    It is damaged, missing, or in use by another Router. Everything that was accepted is in it.
    """
