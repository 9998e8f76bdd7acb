"""What happened on the pipes of one life of a job, as it tells the client: about once a second, and at its end.

What is numbered is told with the number that it has come to in each generation: the client takes the highest one of all lives, since a
new life does some blocks again. Everything else counts what this life has met, and the client adds that up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fission.ports import SharedWriter
from fission.runtime.inputs import Inputs
from fission.runtime.output import Output

#: Seconds between two tellings. Arbitrary: what a killed process had met since the last one is told by nobody.
TELL_S = 1.0


class Counter:
    """The counts of one life.

    Attributes:
        done_before: the last compute block of older generations.
    """

    def __init__(self, inputs: Inputs, outputs: Sequence[Output], lender: SharedWriter | None, *, numbers_itself: bool) -> None:
        """Args: inlets, outlets: the pipes. lender: of shared memory. numbers_itself: whether its outputs tell its numbers."""
        self._inputs, self._outputs, self._lender, self._numbers_itself = inputs, outputs, lender, numbers_itself
        self.done_before: dict[int, int] = {}

    def switch(self) -> None:
        """The generation is about to change."""
        self.done_before[self._inputs.rule.generation] = self.done

    def tick(self, now: float) -> bool:
        """Whether it is time to tell."""
        if now < self.due:
            return False
        told, self.due = self.due, now + TELL_S
        return told > 0

    #: The moment of the next `tick`.
    due = 0.0

    @property
    def done(self) -> int:
        """The last compute block of this generation."""
        # the loop of the commonest source does not stop to say so
        return max([self._inputs.rule.done, *(output.last[1] for output in self._outputs if self._numbers_itself)])

    def counts(self) -> dict[str, Any]:
        """Any thread: return them as JSON values; ``compute_blocks`` and ``sent`` by generation."""
        inputs = self._inputs.counts()
        done = {**self.done_before, self._inputs.rule.generation: self.done}
        return {
            "compute_blocks": {str(generation): number for generation, number in done.items()},
            "inputs": {str(pipe): {name: getattr(counts, name) for name in counts.__slots__} for pipe, counts in inputs.items()},
            "outputs": {
                str(one.pipe): {
                    "sent": {str(generation): number for generation, number in one.sent_by_generation().items()},
                    "dropped": one.dropped,
                    "lost": {str(generation): number for generation, number in one.lost_before.items()},
                    "queue": one.queue,
                    "blocked_s": round(one.blocked_s, 6),
                }
                for one in self._outputs
            },
            "malformed": self._inputs.malformed,
            "not_shared": self._lender.refused if self._lender is not None else 0,
        }
