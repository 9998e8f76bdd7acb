"""Takes the snapshots of a job with CHECKPOINT, and restores them in a new incarnation.

`fission.protocol.checkpointing` decides when, and which one.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from time import perf_counter
from typing import Any

from fission.core.python_job import PythonJob
from fission.errors import SnapshotError, Stopped, ValueFitError, error_text
from fission.ports import JobBundle
from fission.protocol.checkpointing import AS_MADE, Checkpointing
from fission.runtime.endpoint_shell import EndpointShell

#: Largest snapshot in bytes. Arbitrary: the job, its links and the client each hold several copies in memory.
MOST_BYTES = 4 << 30


class Checkpointer:
    """Calls `snapshot` and `restore` of one job. All calls belong to the thread of its loop.

    Attributes:
        points: when a snapshot is due; the loop need not call `after` before ``points.look_at``.
    """

    def __init__(
        self,
        job: Any,
        decisions: Checkpointing,
        read: Callable[[int, int], bytes],
        do: Callable[[Callable[[], None]], None] = lambda act: act(),
        clock: Callable[[], float] = perf_counter,
    ) -> None:
        """Prepare; `begin` restores.

        Args:
            job: job that the snapshots belong to.
            decisions: decides about the snapshots.
            read: function that returns the state of a stored snapshot, or raises SnapshotError.
            do: calls a function with the lock of the decisions held, and performs their effects.
            clock: function that returns the time in seconds.
        """
        self._job = job
        self._decisions = decisions
        self.points = decisions.points
        self._read = read
        self._do = do
        self._clock = clock
        self._uncovered = ""  # the reason why no compute block can follow: the state before it is missing

    @property
    def settling(self) -> bool:
        """See `Checkpointing.settling`."""
        return self._decisions.settling

    def begin(self, generation: int, first: int) -> int:
        """Restore the state for inputs that can begin with ``first``; return the first block.

        If the state before the first block is missing, `check` raises.

        Args:
            generation: generation of the numbering.
            first: first compute block that the inputs can provide.

        Raises:
            SnapshotError: the required snapshot is damaged or missing.
        """
        restoration = self._decisions.restoration(generation, first)
        state = AS_MADE
        if restoration.snapshot is not None:
            try:
                state = self._read(*restoration.snapshot)
            except SnapshotError as why:
                raise self._decisions.lost(str(why)) from why
        stored_first = False
        if state != AS_MADE:
            self._job.restore(pickle.loads(state))
        elif restoration.first and isinstance(self._job, PythonJob) and self._job._fission_begins_once():
            state, stored_first = self._pickled(), True
        self._uncovered = restoration.uncovered
        self._do(lambda: self._decisions.begin(restoration, state, self._clock(), stored_first=stored_first))
        return restoration.block + 1

    def check(self) -> None:
        """Check that the state before the next compute block was restored.

        Raises:
            SnapshotError: the snapshot with that state is missing.
        """
        if self._uncovered:
            raise self._decisions.lost(self._uncovered)

    def first_of_generation(self, generation: int, first: int) -> int:
        """Continue a running job in a new generation; return its first block.

        This is ``first`` or a later one. A new incarnation would begin with the job's current
        state, unless an earlier incarnation had already reached this generation.
        """
        if not self._decisions.keeps_state(generation):
            return self.begin(generation, first)
        self._uncovered = ""
        state = self._pickled()
        self._do(lambda: self._decisions.continue_in(generation, state, self._clock()))
        return first

    def after(self, block: int, *, pressed: bool = False) -> None:
        """Take a snapshot after compute block ``block``, if one is due (see `Checkpoints.due`)."""
        # without the lock: only this thread takes snapshots, and another one can only make them less urgent
        if self._decisions.due(block, self._clock(), pressed=pressed):
            state = self._pickled()
            self._do(lambda: self._decisions.take(block, state))

    def _pickled(self) -> bytes:
        state = self._job.snapshot()
        try:
            pickled = pickle.dumps(state, 5)
        except Stopped:
            raise
        except BaseException as why:
            text = f"{self._job._fission_name}: what snapshot gave ({type(state).__name__}) cannot be pickled: {error_text(why)}"
            raise ValueFitError(text) from why
        if len(pickled) > MOST_BYTES:
            raise ValueFitError(
                f"{self._job._fission_name}: what snapshot gave has {len(pickled)} bytes; a snapshot must have at most "
                f"{MOST_BYTES}: give less of "
                "the job's state, or write it to a file of your own and give its name"
            )
        return pickled


def make_checkpointer(job: Any, shell: EndpointShell, bundle: JobBundle) -> Checkpointer | None:
    """Return the checkpointer of an incarnation of a job; None without CHECKPOINT.

    Args:
        job: job that the snapshots belong to.
        shell: shell of its endpoint.
        bundle: settings of the job.
    """
    decisions = shell.endpoint.checkpoints
    if decisions is None:
        return None
    return Checkpointer(job, decisions, shell.surroundings.snapshots(bundle, shell.say), shell.do, shell.clock)
