"""Checks that draw their case from a generator of random numbers, run over many seeds.

hypothesis draws the same cases and shrinks what fails; plain seeds are a hundred times quicker and draw bigger ones.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest


def run_seeds(check: Callable[[Random], None], count: int) -> None:
    """Runs the check with the seeds 0 to count - 1.

    Raises:
        AssertionError: one has failed; the message names its seed.
    """
    for seed in range(count):
        try:
            check(Random(seed))
        except AssertionError as error:
            raise AssertionError(f"Random({seed}): {error}") from error


def expect_caught(check: Callable[[Random], None], within: int) -> None:
    """Runs a check of something that is broken on purpose: one of so many seeds must show it."""
    with pytest.raises(AssertionError, match=r"^Random\(\d+\): "):
        run_seeds(check, within)
