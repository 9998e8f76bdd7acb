"""Tests of the tests: a property that a deliberately broken variant satisfies proves nothing.

For each guarantee there is a variant that breaks it, and one of the two functions below asserts that the property finds it. They look
for an example without shrinking it, so they are quick, and with a fixed seed, so they find the same one each time.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, Phase, find, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

T = TypeVar("T")

LOOKING = settings(
    phases=[Phase.generate], max_examples=2000, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
)

#: Raised by a variant whose signatures are out of date: to be found by this proves nothing.
DOES_NOT_FIT = (TypeError, AttributeError, NameError)


def assert_caught(check: Callable[[T], None], strategy: st.SearchStrategy[T]) -> None:
    """Fail unless ``check``, which uses a broken variant, fails for some example of the strategy."""

    def fails(example: T) -> bool:
        try:
            check(example)
        except DOES_NOT_FIT:
            raise
        except Exception:
            return True
        return False

    try:
        find(strategy, fails, settings=LOOKING, random=Random(0))
    except NoSuchExample:
        pytest.fail("the property does not notice the broken variant", pytrace=False)


def assert_machine_catches(machine: type[RuleBasedStateMachine], steps: int = 40) -> None:
    """Fail unless the state machine, which uses a broken variant, fails in some run."""
    try:
        run_state_machine_as_test(machine, settings=settings(LOOKING, stateful_step_count=steps))
    except DOES_NOT_FIT:
        raise
    except Exception:
        return
    pytest.fail("the state machine does not notice the broken variant", pytrace=False)
