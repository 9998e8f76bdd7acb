"""`preference` of users' jobs, which the client calls while it places a job: bounded, for it stands in the client's own loop."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from typing import Any

from fission.core.nodes import NodeInfo

#: Seconds that a `preference` may take. Arbitrary: it compares some numbers, and pulses wait for it.
PREFERENCE_S = 0.5


def bounded(name: str, preference: Callable[[list[NodeInfo]], object], warn: Callable[[str], None]) -> Callable[[list[NodeInfo]], object]:
    """Return a `preference` that always returns soon: None, after a warning, when the job's own does not return in time or raises.

    One that did not return is not called again: its thread cannot be ended.

    Args:
        name: of the job.
        preference: the job's.
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
            except BaseException as why:  # SystemExit among them: it must not end the client
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
