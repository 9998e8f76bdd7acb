"""Runs a PythonJob: `setup`, the loop of its kind, `teardown`."""

from __future__ import annotations

from collections.abc import Iterator
from threading import get_ident
from typing import Any

from fission.core.block_time import BlockTime
from fission.core.network_time import NetworkTime
from fission.errors import DefinitionError
from fission.protocol.align import Aligner
from fission.protocol.block_times import UNKNOWN, unpack
from fission.protocol.messages.job_to_client import JobWarning
from fission.runtime import report
from fission.runtime.connector_loop import ConnectorLoop
from fission.runtime.sink_position import make_sink_sync
from fission.runtime.source_loop import SourceLoop


class PythonHost(SourceLoop, ConnectorLoop):
    """Runs one PythonJob on the shell of its endpoint, in the calling thread."""

    _thread = 0

    @property
    def ends_with(self) -> str:
        """The outcome of the job; empty until it is decided."""
        return self._over

    def run(self) -> str:
        """Call `setup`, then `run` until the end; return the outcome (`fission.runtime.report`).

        Raises:
            ValueFitError: a value or a head does not fit its output.
            BlockError: a block cannot be read.
            Exception: any exception of the job's code.
        """
        for waits in self.turns():
            if waits:
                self._shell.receive()
        if self._sink is not None:
            self._sink.finish()
        self._shell.finish(sends_ends=self._over != report.ENDED)
        self._shell.rule.done = self._number
        return self._over or report.FINISHED

    def turns(self) -> Iterator[bool]:
        """Process everything up to the last compute block, in turns of a few blocks.

        Yields True when there is nothing to do until a message arrives.
        """
        job, shell = self._job, self._shell
        job.__dict__["_fission_console"] = shell.console
        job.__dict__["_fission_head_size"] = self._head_size
        job.__dict__["_fission_host"] = self
        job.__dict__["_fission_restarted"] = self._restarted
        self._thread = get_ident()
        # the `setup` of a sink may ask for its position, which only its producers know
        waits = self._restarted and not job.outputs and shell.inputs.aligner is not None
        if waits:
            shell.start()
            yield from self._opening(shell.inputs.aligner)
        job.setup()
        self._set_up = True
        self._sink = shell.sink = make_sink_sync(job, lambda text: shell.say(JobWarning(text=text)))
        if not waits:
            shell.start()
        while shell.endpoint.retained.settling:
            yield True
        if job._fission_is_source:
            if self._checkpointer is not None:
                first = self._checkpointer.begin(self._generation, 1)
                shell.begin(first)
                self._number = first - 1
                while self._settles and not shell.endpoint.unwanted:
                    yield True
            while shell.endpoint.asks_times and shell.endpoint.reset_to == self._generation and not shell.endpoint.unwanted:
                yield True
            shell.endpoint.begun = True
            yield from self._source_turns()
        else:
            yield from self._connector_turns()
        # before the end is sent: if `teardown` raises, the job fails while its last blocks can still be replayed
        self.teardown()

    def new_memory(self, size: int) -> Any:
        """Return shared memory for an array, as `Lending.allocate`; None if there is none."""
        lending = self._shell.lending
        if lending is None or get_ident() != self._thread:  # another thread must not take memory while the job's own sends a block
            return None
        return lending.allocate(size)

    def release(self) -> None:
        """Acknowledge what is done. For a `run` that waits: otherwise that is done after all blocks that have arrived together."""
        self._shell.release()

    def teardown(self) -> None:
        """Call the job's `teardown`, if its `setup` has returned. Idempotent."""
        if self._set_up:
            self._set_up = False
            with self.limit():
                self._job.teardown()

    def _opening(self, aligner: Aligner | None) -> Iterator[bool]:
        """Wait until all producers have reported where their blocks begin."""
        while aligner is not None and aligner.beginning is None and not (self._shell.inputs.final or self._shell.endpoint.unwanted):
            yield True
        if aligner is not None and aligner.beginning is not None:
            self._job.__dict__["_fission_position"] = aligner.beginning

    @property
    def block_time(self) -> BlockTime:
        """The time of the compute block that `run` is processing; for a source the present.

        In `setup` and `teardown` there is no block: for a job with inputs, it is unknown.

        Raises:
            DefinitionError: the job does not ask for times.
        """
        job = self._job
        if not job.BLOCK_TIME or not (job._fission_is_source or self._timed_in):
            hint = f"write BLOCK_TIME = True in class {type(job).__name__}"
            raise DefinitionError(f"{job._fission_name}: block_time is known only to jobs that ask for it; {hint}")
        if job._fission_is_source:
            return BlockTime.now()
        if not self._set_up:
            return BlockTime(*unpack(UNKNOWN))
        return BlockTime(*unpack(self._shell.endpoint.times.of(self.current_number)))

    def network_time(self) -> NetworkTime:
        """Return the client's time of day; see `PythonJob.network_time`."""
        return self._network_time.read(asks=self._set_up)

    @property
    def current_number(self) -> int:
        """The number of the compute block that `run` is processing, for a job with inputs."""
        return self._number + 1
