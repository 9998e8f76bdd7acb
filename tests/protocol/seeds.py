"""Runs checks that draw their case from a random generator, over many seeds.

hypothesis draws the same cases and shrinks failing ones; plain seeds are a hundred times quicker and draw larger cases.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest


def run_seeds(check: Callable[[Random], None], count: int) -> None:
    """Run the check with the seeds 0 to count - 1.

    Raises:
        AssertionError: a seed failed; the message names it.
    """
    for seed in range(count):
        try:
            check(Random(seed))
        except AssertionError as error:
            raise AssertionError(f"Random({seed}): {error}") from error


def expect_caught(check: Callable[[Random], None], within: int) -> None:
    """Fail unless one of this many seeds shows that the checked thing is broken on purpose."""
    with pytest.raises(AssertionError, match=r"^Random\(\d+\): "):
        run_seeds(check, within)
