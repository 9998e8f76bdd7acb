"""Jobs in the main thread of their worker process, with Dask in another one, so that signals work
in jobs as they do in a script.
"""

from __future__ import annotations

import os
import queue
import threading
import traceback
from collections.abc import Callable
from typing import Any

from fission.pipelines.process_state import ProcessState


class MainThread:
    """Calls a function in the main thread for other threads, one call at a time, and puts the
    process's state back after each.
    """

    def __init__(self, function: Callable[[str], Any]) -> None:
        """Prepare; `serve` answers calls.

        Args:
            function: called with each argument; must not raise.
        """
        self._function = function
        self._calls: queue.SimpleQueue[tuple[str, queue.SimpleQueue[Any]]] = queue.SimpleQueue()

    def __call__(self, argument: str) -> Any:
        """Return what the function returns in the main thread. Call it in another thread."""
        answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._calls.put((argument, answers))
        return answers.get()

    def run_beside(self, body: Callable[[], object]) -> None:
        """Run *body* in a thread of its own; the process ends with it."""

        def run() -> None:
            try:
                body()
            except BaseException:
                traceback.print_exc()
            os._exit(1)

        threading.Thread(target=run, name="dask", daemon=True).start()

    def serve(self) -> None:
        """Answer calls forever. Call it in the main thread."""
        state: ProcessState | None = None
        while True:
            argument, answers = self._calls.get()
            if state is None:  # Dask has changed what it wants to by now
                state = ProcessState()
            answer = self._function(argument)
            try:
                state.restore()
            except Exception:  # a job may have closed or changed anything: the next one starts in a fresh process
                traceback.print_exc()
                os._exit(1)
            answers.put(answer)
