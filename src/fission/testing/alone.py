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
from fission.protocol.messages.client_to_job import RunBlock
from fission.protocol.messages.job_to_client import BlockRan
from fission.runtime.endpoint_shell import EndpointShell
from fission.runtime.job_process import become_job, take_over_output
from fission.runtime.python_host import PythonHost

#: Name of the caller's main module here, as in multiprocessing: its guarded part does not run.
MAIN = "__mp_main__"


class AllowedSteps:
    """Starts a compute block of a source when the caller allows it, and reports each one."""

    def __init__(self, shell: EndpointShell) -> None:
        """Wait for `RunBlock` commands.

        Args:
            shell: shell of the job's endpoint.
        """
        self._shell = shell
        self._lock = threading.Lock()
        self._allowed = self._called = 0
        self._wanted: Mapping[int, int] = {}
        shell.commands[RunBlock] = self._allow

    def through(self, results: Iterator[Any]) -> Iterator[Any]:
        """Return the results of a source, each when it may be computed."""
        while True:
            while not self._may_start():
                self._shell.receive()
            try:
                value = next(results)
            except StopIteration:
                return
            self._called += 1  # counted here: the loop of a plain source does not stop to report its number
            yield value
            self.computed(self._called)

    def computed(self, number: int) -> None:
        """Report a compute block."""
        self._shell.say(BlockRan(number=number))

    def _allow(self, order: RunBlock) -> None:
        with self._lock:
            self._allowed, self._wanted = order.number, order.after
        self._shell.wake()

    def _may_start(self) -> bool:
        with self._lock:
            optional = self._shell.inputs.optional
            return self._called < self._allowed and all(optional[pipe].receiver.high >= upto for pipe, upto in self._wanted.items())


def stepping_host(job: PythonJob, shell: EndpointShell, bundle: JobBundle) -> PythonHost:
    """Return a host whose job computes when it is allowed to."""
    return PythonHost(job, shell, bundle, AllowedSteps(shell))


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
    become_job(bundle, int(arguments[0]), int(arguments[1]), stepping_host)


if __name__ == "__main__":
    main(sys.argv[1:])
