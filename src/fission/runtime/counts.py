"""What happened on the pipes of one incarnation of a job, as it reports to the client: about once a second, and at its end.

What is numbered is reported with the number reached in each generation: the client takes the highest one of all incarnations, since a
new one processes some blocks again. Everything else counts what this incarnation has met, and the client adds that up.
"""

from __future__ import annotations

from collections.abc import Sequence

from fission.ports import SharedWriter
from fission.protocol.messages.job_to_client import InputTotals, JobCounts, OutputTotals
from fission.protocol.output import Output
from fission.runtime.inputs_shell import InputsShell

#: Seconds between two reports. Arbitrary: what a killed process had counted since the last one is unknown.
REPORT_S = 1.0


class Counter:
    """The counts of one incarnation.

    Attributes:
        done_before: the last compute block of older generations.
    """

    def __init__(self, inputs: InputsShell, outputs: Sequence[Output], lender: SharedWriter | None, *, numbers_itself: bool) -> None:
        """Begin at zero.

        Args:
            inputs: of the job.
            outputs: of the job.
            lender: of shared memory.
            numbers_itself: whether the numbers of its outputs are those of its compute blocks, as a source's are.
        """
        self._inputs, self._outputs, self._lender, self._numbers_itself = inputs, outputs, lender, numbers_itself
        self.done_before: dict[int, int] = {}

    def switch(self) -> None:
        """The generation is about to change."""
        self.done_before[self._inputs.rule.generation] = self.done

    def tick(self, now: float) -> bool:
        """Return whether it is time to report."""
        if now < self.due:
            return False
        before, self.due = self.due, now + REPORT_S
        return before > 0

    #: The moment of the next `tick`.
    due = 0.0

    @property
    def done(self) -> int:
        """The last compute block of this generation."""
        # the loop of the commonest source does not stop to say so
        return max([self._inputs.rule.done, *(output.last[1] for output in self._outputs if self._numbers_itself)])

    def counts(self) -> JobCounts:
        """Any thread: return them."""
        inputs = self._inputs.machine.counts()
        return JobCounts(
            compute_blocks={**self.done_before, self._inputs.rule.generation: self.done},
            inputs={pipe: InputTotals(**{name: getattr(counts, name) for name in counts.__slots__}) for pipe, counts in inputs.items()},
            outputs={
                one.pipe: OutputTotals(
                    sent=one.sent_by_generation(),
                    dropped=one.dropped,
                    lost=dict(one.lost_before),
                    queue=one.queue,
                    blocked_s=round(one.blocked_s, 6),
                )
                for one in self._outputs
            },
            malformed=self._inputs.malformed,
            not_shared=self._lender.refused if self._lender is not None else 0,
        )
