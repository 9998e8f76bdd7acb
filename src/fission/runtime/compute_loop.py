"""What the loops of a PythonJob share: their state, and the way of results to the outputs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

from fission.core.head import FINISHED, RESET, bit_mask
from fission.core.jobs import PythonJob
from fission.errors import Stopped
from fission.ports import JobBundle
from fission.runtime import report
from fission.runtime.arguments import ArgumentsIn
from fission.runtime.checkpointer import make_checkpointer
from fission.runtime.codec import NOT_FROZEN
from fission.runtime.endpoint_shell import EndpointShell
from fission.runtime.heads import HeadsIn
from fission.runtime.network_time import NetworkTimeSource
from fission.runtime.results import ResultsOut
from fission.runtime.sink_position import SinkSync

log = logging.getLogger("fission.runtime")


class Steps(Protocol):
    """Decides when a job computes, and hears what it has computed. See `fission.testing.alone`."""

    def through(self, results: Iterator[Any]) -> Iterator[Any]:
        """Return the results of a source, each when it may be computed."""
        ...

    def computed(self, number: int) -> None:
        """Take note that a job with inputs has processed compute blocks up to ``number``."""
        ...


class ComputeLoop:
    """The state that all loops of a PythonJob share, and the way of their results to the outputs.

    Attributes:
        turn: largest number of blocks in one turn of a plain source. Arbitrary: large enough that a
            turn costs nothing.
    """

    turn = 256

    def __init__(self, job: PythonJob, shell: EndpointShell, bundle: JobBundle, steps: Steps | None = None) -> None:
        """Prepare; `run` or `turns` runs the job.

        Args:
            job: job to run.
            shell: shell of its endpoint.
            bundle: settings of the job.
            steps: decides when the job computes; None for a job that computes when it can.
        """
        self._job = job
        self._steps = steps
        self._shell = shell
        self._outputs = shell.outputs
        self._results_out = ResultsOut(job, shell, bundle)
        self._send_to_all = self._sender_to_all() if len(self._outputs) > 1 else None
        self._arguments_in = ArgumentsIn(job, shell, bundle)
        self._detours = job.HEAD or any(self._arguments_in.optional)
        self._head_size = bundle.head_size
        self._heads_in = HeadsIn(job, bundle.head_size)
        self._reset_head = bit_mask(RESET, bundle.head_size)
        self._finished_head = bit_mask(FINISHED, bundle.head_size)
        self._generation = bundle.generation if job._fission_is_source else 0
        self._begun = False
        self._checkpointer = make_checkpointer(job, shell, bundle)
        self._sink: SinkSync | None = None
        self._restarted = bundle.incarnation > 1
        self._network_time = NetworkTimeSource(shell)
        self._timed_in = any(pipe.id in bundle.timed for pipe in job.inputs)
        self._timed_out = any(pipe.id in bundle.timed for pipe in job.outputs)
        self._number = 0
        self._first = 1
        self._over = ""
        self._set_up = False
        #: Makes the context manager in which the job's `teardown` runs.
        self.limit: Callable[[], AbstractContextManager[None]] = nullcontext

    # results of `run` -> outputs

    def _sender_to_all(self) -> Callable[[Any, int], None]:
        """Return the function that sends a value to all of several outputs, the fast way.

        It gets a result that is neither None nor a tuple, of a job that has not finished and sets no
        heads, and the number of the compute block; `_send` would do the same. It raises ValueFitError
        if the value does not fit.
        """
        results, outputs, rule = self._results_out, self._outputs, self._shell.rule
        encode = results.for_all
        if encode is None:

            def send_each(value: Any, number: int) -> None:
                rule.done = number - 1
                self._send(value, None)

            return send_each
        freeze = results.freezers[0] if all(results.freezers) else None
        puts, puts_value = [output.put for output in outputs], [output.put_value for output in outputs]
        machines = [output.machine for output in outputs]

        def send(value: Any, number: int) -> None:
            if freeze is not None and (kept := freeze(value)) is not NOT_FROZEN:
                for put_value in puts_value:
                    put_value(kept, wait=False)
            else:
                try:
                    payload = encode(value)
                except Stopped:
                    raise
                except BaseException as why:
                    raise results.misfit(0, value, why, number) from why
                for put in puts:
                    put(payload, wait=False)
            for machine in machines:
                if not machine.allow:  # only now, as in `_send`
                    for output in outputs:
                        output.wait_for_room()
                    return

        return send

    def _send(self, result: Any, heads: list[int] | None) -> None:
        if result is None:
            if self._job.finished:
                return  # `finish` was called, perhaps as `return self.finish()`: the job ends after its last result
            self._over = report.ENDED
            log.warning("%s returned None and has outputs: it ends here, and the jobs after it are not notified", self._job._fission_name)
            return
        payloads = self._results_out.payloads(result)
        flags = self._finished_head if self._job.finished else 0
        if self._number == 1 and self._job._fission_is_source:
            flags |= self._reset_head
        if len(self._outputs) == 1:
            self._outputs[0].put(payloads[0], (heads[0] if heads else 0) | flags)
            return
        # put all blocks before waiting for room on any output: a join may hold the blocks whose release would make room until it has
        # this block's other outputs
        for index, output in enumerate(self._outputs):
            output.put(payloads[index], (heads[index] if heads else 0) | flags, wait=False)
        for output in self._outputs:
            output.wait_for_room()
