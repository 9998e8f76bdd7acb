"""Statistics of one incarnation's pipes, reported to the client about once a second and at the end.

Numbered things are reported with the number reached in each generation. The client takes the
highest number of all incarnations, because a new incarnation processes some blocks again. All other
counts cover this incarnation only, and the client adds them up.
"""

from __future__ import annotations

from collections.abc import Sequence

from fission.protocol.endpoint_inputs import Inputs
from fission.protocol.messages.job_to_client import InputTotals, JobCounts, OutputTotals
from fission.protocol.output import Output

#: Seconds between two reports. Arbitrary: the counts of a killed process since its last report are lost.
REPORT_S = 1.0


class Counter:
    """The counts of one incarnation.

    Attributes:
        malformed: number of data messages dropped because they cannot be read.
        not_shared: number of large buffers for which shared memory had no room.
        done_before: last compute block of each older generation.
        due: time of the next `tick`, in seconds.
    """

    def __init__(self, inputs: Inputs, outputs: Sequence[Output], *, numbers_itself: bool) -> None:
        """Begin at zero.

        Args:
            inputs: inputs of the job.
            outputs: outputs of the job.
            numbers_itself: whether the job's compute blocks have the numbers of its output blocks,
                as in a source.
        """
        self._inputs, self._outputs, self._numbers_itself = inputs, outputs, numbers_itself
        self.malformed = self.not_shared = 0
        self.due = 0.0
        self.done_before: dict[int, int] = {}

    def switch(self) -> None:
        """Record the last compute block of this generation, which is about to end."""
        self.done_before[self._inputs.rule.generation] = self.done

    def tick(self, now: float) -> bool:
        """Return whether it is time to report."""
        if now < self.due:
            return False
        before, self.due = self.due, now + REPORT_S
        return before > 0

    @property
    def done(self) -> int:
        """The last compute block of this generation that is done."""
        # the loop of a plain source does not record it, for speed
        return max([self._inputs.rule.done, *(output.last[1] for output in self._outputs if self._numbers_itself)])

    def counts(self) -> JobCounts:
        """Any thread: return the counts."""
        inputs = self._inputs.counts()
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
            malformed=self.malformed,
            not_shared=self.not_shared,
        )
