"""The process of a job that runs alone: the real host, which waits for permission to compute.

`fission.testing.stage` starts it. A job that waits for its inputs computes when they arrive. A job
that has nothing to wait for (a source, or a job whose inputs are all ASYNC) receives a `RunBlock`
for each compute block, with the numbers that must have arrived before it.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import pickle
import sys
import threading
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any, NoReturn

from fission.core.jobs import PythonJob
from fission.ports import JobBundle
from fission.protocol.batches import Batch
from fission.protocol.messages.client_to_job import RunBlock
from fission.protocol.messages.job_to_client import BlockRan
from fission.runtime.exchange import Exchange
from fission.runtime.job_process import become_job, take_over_output
from fission.runtime.python_host import PythonHost
from fission.runtime.watch import WatchedExchange

#: Name of the caller's main module here, as in multiprocessing: its guarded part does not run.
MAIN = "__mp_main__"


class SteppingHost(PythonHost):
    """A `PythonHost` that reports each compute block, and starts one of a source when allowed."""

    def __init__(self, job: PythonJob, exchange: Exchange, bundle: JobBundle) -> None:
        super().__init__(job, exchange, bundle)
        self._lock = threading.Lock()
        self._allowed = self._called = 0
        self._wanted: Mapping[int, int] = {}
        if isinstance(exchange, WatchedExchange):
            exchange.commands[RunBlock] = self._on_go

    def _on_go(self, order: RunBlock) -> None:
        with self._lock:
            self._allowed, self._wanted = order.number, order.after
        self._exchange.wake()

    def _may_go(self) -> bool:
        with self._lock:
            optional = self._exchange.inputs.optional
            return self._called < self._allowed and all(optional[pipe].receiver.high >= upto for pipe, upto in self._wanted.items())

    def _results(self) -> Iterator[Any]:
        results = super()._results()
        while True:
            while not self._may_go():
                self._exchange.receive()
            try:
                value = next(results)
            except StopIteration:
                return
            self._called += 1  # counted here: the loop of a plain source does not stop to report its number
            yield value
            self._say_ran(self._called)

    def _compute(self, batch: Batch) -> None:
        super()._compute(batch)
        self._say_ran(self._number)

    def _say_ran(self, number: int) -> None:
        self._exchange.say(BlockRan(number=number))


def preload(name: str, file: str) -> None:
    """Load a module from its file if it cannot be found by name: a test's, or the main module."""
    if name != "__main__":
        try:
            importlib.import_module(name)
            return
        except ImportError:
            pass
    spec = importlib.util.spec_from_file_location(MAIN if name == "__main__" else name, file)
    if spec is None or spec.loader is None:
        return
    module: ModuleType = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    if name == "__main__":
        sys.modules[name] = module


def main(arguments: list[str]) -> NoReturn:
    """Become the job whose bundle arrives on standard input.

    Args:
        arguments: the descriptors of the report, and of the pipe that closes when the caller ends.
    """
    bundle, modules = pickle.loads(sys.stdin.buffer.read())
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    take_over_output(1, 2)
    sys.path[:0] = [path for path in bundle.sys_path if path not in sys.path]
    for name, file in modules:
        preload(name, file)
    become_job(bundle, int(arguments[0]), int(arguments[1]), SteppingHost)


if __name__ == "__main__":
    main(sys.argv[1:])
