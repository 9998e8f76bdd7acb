"""`preference` of users' jobs, called with a time limit.

The client calls it in its own loop while it places a job.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from typing import Any

from fission.core.nodes import NodeInfo

#: Seconds that a `preference` may take. Arbitrary: it compares some numbers, and pulses wait for it.
PREFERENCE_S = 0.5


def bounded(name: str, preference: Callable[[list[NodeInfo]], object], warn: Callable[[str], None]) -> Callable[[list[NodeInfo]], object]:
    """Return a `preference` that always returns soon.

    It returns None, after a warning, when the job's own does not return in time or raises. A
    `preference` that did not return is not called again: its thread cannot be ended.

    Args:
        name: name of the job.
        preference: `preference` of the job.
        warn: called with each warning.
    """
    given_up = False

    def ask(infos: list[NodeInfo]) -> object:
        nonlocal given_up
        if given_up:
            return None
        outcome: list[Any] = []

        def call() -> None:
            try:
                outcome.append(preference(infos))
            except BaseException as why:  # includes SystemExit, which must not end the client
                outcome.append(why)

        context = contextvars.copy_context()
        thread = threading.Thread(target=context.run, args=(call,), name=f"preference of {name}", daemon=True)
        thread.start()
        thread.join(PREFERENCE_S)
        if not outcome:
            given_up = True
            warn(f"{name}: preference has not returned within {PREFERENCE_S:g} s; it is not asked again, and the job is placed without it")
            return None
        if isinstance(outcome[0], BaseException):
            why = outcome[0]
            warn(f"{name}: preference raised {type(why).__name__}: {why}; the job is placed without it")
            return None
        return outcome[0]

    return ask
