"""Jobs in the main thread of their worker process, with Dask beside it: signals and whatever else wants that thread work as in a script."""

from __future__ import annotations

import os
import queue
import threading
import traceback
from collections.abc import Callable
from typing import Any

from fission.pipelines.surroundings import Surroundings


class MainThread:
    """Calls a function in the main thread for other threads, one call at a time, and puts the process's surroundings back after each."""

    def __init__(self, function: Callable[[str], Any]) -> None:
        """Args: function: called with each argument; must not raise."""
        self._function = function
        self._calls: queue.SimpleQueue[tuple[str, queue.SimpleQueue[Any]]] = queue.SimpleQueue()

    def __call__(self, argument: str) -> Any:
        """What the function returns in the main thread. To be called in another one."""
        answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._calls.put((argument, answers))
        return answers.get()

    def beside(self, body: Callable[[], object]) -> None:
        """Run *body* in a thread of its own; its end is the process's."""

        def run() -> None:
            try:
                body()
            except BaseException:
                traceback.print_exc()
            os._exit(1)

        threading.Thread(target=run, name="dask", daemon=True).start()

    def serve(self) -> None:
        """Answer the calls, for ever. In the main thread."""
        surroundings: Surroundings | None = None
        while True:
            argument, answers = self._calls.get()
            if surroundings is None:  # Dask has changed what it wants to by now
                surroundings = Surroundings()
            answer = self._function(argument)
            try:
                surroundings.put_back()
            except Exception:  # a job may have closed or changed anything: the next one starts in a fresh process
                traceback.print_exc()
                os._exit(1)
            answers.put(answer)
