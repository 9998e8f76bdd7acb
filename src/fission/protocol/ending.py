"""The end of a job: in which order its pipes end, and what it waits for in between.

    OPEN -> RELEASING -> REPORTED -> CLOSING -> OVER

The outputs are ended first. When every block is released, no new incarnation of the job can be
needed: the client is sent a `WorkDone`, which it records before the inputs are closed. From then on
the job counts as ended even if its process dies. The inputs are closed before the ends of the
outputs have arrived, because these ends may wait for jobs that the producers of this job also feed.

A source that enters a new generation after its last block has none there. If it has CHECKPOINT, a
new incarnation would send blocks there again, from its snapshot, so its consumers are notified
only when none can follow: these ends are *late*, they are sent between REPORTED and CLOSING.

A job that is stopped has not ended: `JobEnd.abandon` leads from every stage to OVER, and the client
is sent nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum

from fission.errors import LocalProtocolError
from fission.protocol.endpoint_inputs import Inputs
from fission.protocol.output import Output


class EndStage(Enum):
    """What a job that ends waits for."""

    OPEN = "it has not ended"
    RELEASING = "the release of every block"
    REPORTED = "the acknowledgement of the client"
    CLOSING = "the arrival of the ends of its outputs"
    OVER = "nothing"


class JobEnd:
    """The end of one job.

    Attributes:
        stage: what the job waits for.
        sends_ends: whether the ends of the outputs were sent, or will be; set by `begin`.
        late: whether they are sent only when the client has recorded the `WorkDone`.
    """

    def __init__(self, outputs: Sequence[Output], inputs: Inputs, report: Callable[[], None] | None) -> None:
        """Prepare.

        Args:
            outputs: outputs of the job.
            inputs: inputs of the job.
            report: sends the client a `WorkDone`; None without a client.
        """
        self.stage = EndStage.OPEN
        self.sends_ends = self.late = False
        self._outputs, self._inputs, self._report = outputs, inputs, report
        self._acknowledged = report is None
        # (condition to leave a stage, action, next stage)
        self._steps: dict[EndStage, tuple[Callable[[], bool], Callable[[], None], EndStage]] = {
            EndStage.RELEASING: (self._all_released, self.repeat_report, EndStage.REPORTED),
            EndStage.REPORTED: (lambda: self._acknowledged, self._finalize, EndStage.CLOSING),
            EndStage.CLOSING: (self._all_closed, lambda: None, EndStage.OVER),
        }

    def begin(self, *, sends_ends: bool) -> None:
        """End the outputs; call `step` afterwards and after each event.

        Args:
            sends_ends: whether the consumers are notified.

        Raises:
            LocalProtocolError: the job has ended before.
        """
        if self.stage is not EndStage.OPEN:
            raise LocalProtocolError(f"a job ends once; this one waits for {self.stage.value}")
        self.sends_ends = sends_ends
        # in a cycle of jobs, the job that must release our outputs may itself wait for us to take the blocks that it sends
        self._inputs.close_optional()
        for output in self._outputs:
            if sends_ends and not self.late:
                output.end()
            output.flush()
        self.stage = EndStage.RELEASING

    def step(self) -> None:
        """Go as far as possible."""
        while self.stage in self._steps:
            leaves, act, after = self._steps[self.stage]
            if not leaves():
                return
            act()
            self.stage = after

    def acknowledge(self) -> None:
        """Record that the client has recorded the `WorkDone`."""
        self._acknowledged = True

    def abandon(self) -> None:
        """Any thread, at any time: end without a report, because the job is stopped."""
        self.stage = EndStage.OVER

    def repeat_report(self) -> None:
        """Send the client the `WorkDone`, unless it has acknowledged it."""
        if self._report is not None and not self._acknowledged:
            self._report()

    @property
    def over(self) -> bool:
        """Whether the end is over: the job's process may end."""
        return self.stage is EndStage.OVER

    def _all_released(self) -> bool:
        return all(output.all_released for output in self._outputs)

    def _all_closed(self) -> bool:
        return all(output.all_closed for output in self._outputs)

    def _finalize(self) -> None:
        for output in self._outputs:
            if self.sends_ends and self.late:
                output.end()
            output.finalize()
        self._inputs.close()
