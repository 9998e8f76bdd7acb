"""Statistics of one incarnation's pipes, reported to the client again and again and at the end.

Numbered things are reported with the number reached in each generation. The client takes the
highest number of all incarnations, because a new incarnation processes some blocks again. All other
counts cover this incarnation only, and the client adds them up.

A job reports once a second while it works. One that does little reports every five seconds: a
report wakes up two processes, which is most of what an idle job costs.
"""

from __future__ import annotations

from collections.abc import Sequence

from fission.protocol.endpoint_inputs import Inputs
from fission.protocol.messages.job_to_client import CountsReport, InputTotals, JobCounts, LatencySample, OutputTotals
from fission.protocol.output import Output
from fission.protocol.progress import Doing

NEVER = float("inf")

#: Seconds between two reports. Arbitrary: the counts of a killed process since its last report are lost.
REPORT_S = 1.0
#: Seconds between two reports of a job that does little. Arbitrary: a person who looks at them waits no longer.
SLOW_REPORT_S = 5.0
#: Blocks between two reports, taken or sent, that are little. Arbitrary: so few may be lost from the counts of a killed process.
LITTLE_BLOCKS = 20
#: Reports are made when the clock shows a multiple of this share of the time between them: the jobs of
#: a machine share the clock, and its client wakes up once for those that come together. Arbitrary: so
#: many reports come together that a wake-up is worth it, and so few that other work is not held up.
GRID_SHARE = 10


def next_report(now: float, interval_s: float = REPORT_S) -> float:
    """Return the time of the report after one at ``now``: the interval after the nearest time on its grid."""
    grid_s = interval_s / GRID_SHARE
    return (round(now / grid_s) + GRID_SHARE) * grid_s


class Counter:
    """The counts of one incarnation.

    Attributes:
        malformed: number of data messages dropped because they cannot be read.
        not_shared: number of large buffers for which shared memory had no room.
        done_before: last compute block of each older generation.
        due: time of the next `tick`, in seconds.
    """

    def __init__(self, inputs: Inputs, outputs: Sequence[Output], *, numbers_itself: bool, judged: bool = False) -> None:
        """Begin at zero.

        Args:
            inputs: inputs of the job.
            outputs: outputs of the job.
            numbers_itself: whether the job's compute blocks have the numbers of its output blocks,
                as in a source.
            judged: whether the client judges the job by its progress, so that it always reports
                once a second.
        """
        self._inputs, self._outputs, self._numbers_itself, self._judged = inputs, outputs, numbers_itself, judged
        self.malformed = self.not_shared = 0
        self.due = 0.0
        self.done_before: dict[int, int] = {}
        self._blocks = 0  # taken and sent until the last report
        self._done = 0  # `done` at the last report
        self._reported_waits: dict[int, float] = {}  # seconds, by output pipe
        self._busy_due = NEVER  # the time of the next report, if the job does much until then

    def switch(self) -> None:
        """Record the last compute block of this generation, which is about to end."""
        self.done_before[self._inputs.rule.generation] = self.done

    def tick(self, now: float) -> bool:
        """Return whether it is time to report; `report` must follow."""
        if now < self.due and (now < self._busy_due or abs(self.done - self._done) < LITTLE_BLOCKS):
            return False
        if self.due > 0:
            return True
        self.due = next_report(now)  # it has just begun
        return False

    def report(self, now: float, doing: Doing, latencies: tuple[LatencySample, ...] = ()) -> CountsReport:
        """Return the report that is due, and settle when the next one is.

        Args:
            now: current time, in seconds.
            doing: what the job's loop does.
            latencies: samples since the last report.
        """
        counts = self.counts(now)
        blocks = sum(counts.compute_blocks.values()) + sum(one.received for one in counts.inputs.values())
        blocks += sum(sum(one.sent.values()) for one in counts.outputs.values())
        little, none = blocks - self._blocks < LITTLE_BLOCKS, blocks == self._blocks
        # user code that does not return may hang: that is shown soon
        slow = little and not self._judged and not (none and doing in (Doing.SETUP, Doing.RUN))
        self._blocks, self._done = blocks, self.done
        self._busy_due = next_report(now)
        self.due = next_report(now, SLOW_REPORT_S) if slow else self._busy_due
        return CountsReport(counts=counts, doing=doing.name, next_s=SLOW_REPORT_S if slow else REPORT_S, latencies=latencies)

    @property
    def done(self) -> int:
        """The last compute block of this generation that is done."""
        # the loop of a plain source does not record it, for speed
        return max([self._inputs.rule.done, *(output.last[1] for output in self._outputs if self._numbers_itself)])

    def counts(self, now: float = 0.0) -> JobCounts:
        """Any thread: return the counts.

        Args:
            now: current time, in seconds; 0: without the time for which the job waits at present.
        """
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
                    blocked_s=self._waited_s(one, now),
                )
                for one in self._outputs
            },
            malformed=self.malformed,
            not_shared=self.not_shared,
        )

    def _waited_s(self, output: Output, now: float) -> float:
        """Return the seconds for which the job has waited for space, never fewer than before.

        The job's thread may end its wait meanwhile, so that the present wait seems to count never, or twice.
        """
        since = output.blocked_since
        seconds = output.blocked_s + (max(0.0, now - since) if since else 0.0)
        waited_s = self._reported_waits[output.pipe] = max(round(seconds, 6), self._reported_waits.get(output.pipe, 0.0))
        return waited_s
