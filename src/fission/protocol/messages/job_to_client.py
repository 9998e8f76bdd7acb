"""The reports of one job to the client, each in a `fission.protocol.link_messages.JobMessage` with
the job and a payload.

The payload is opaque bytes after the JSON: a snapshot, a retained value, or copies for a tap.
`BlockRan` goes to the emulator of a job.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from fission.protocol.messages.codec import Codec, Message, Part, Whole


class InputTotals(Part, frozen=True):
    """What happened on one input in one incarnation of the job, in blocks
    (`fission.protocol.inputs.InputCounts`).

    Attributes:
        received: arrived for the first time.
        duplicates: arrived again, or belong to an earlier incarnation.
        lost: never arrived.
        dropped: given up because of MAX_QUEUE.
        dummies: delivered in place of lost and dropped ones.
        unmatched: dropped because their partners on other inputs are missing.
    """

    received: int = 0
    duplicates: int = 0
    lost: int = 0
    dropped: int = 0
    dummies: int = 0
    unmatched: int = 0


class OutputTotals(Part, frozen=True):
    """What happened on one output in one incarnation of the job.

    Attributes:
        sent: the number of the last block sent, by generation.
        lost: blocks that no consumer can get, by generation.
        dropped: blocks dropped because of MAX_QUEUE.
        queue: blocks that are not released now, with those that wait to be sent.
        blocked_s: seconds for which the job waited for space in the output's window.
    """

    sent: dict[Whole, Whole]
    lost: dict[Whole, Whole] = msgspec.field(default_factory=dict)
    dropped: Whole = 0
    queue: Whole = 0
    blocked_s: float = 0.0


class JobCounts(Part, frozen=True):
    """What one incarnation of a job has counted so far (`fission.protocol.counts`).

    Attributes:
        compute_blocks: the number of the last compute block, by generation.
        inputs: by pipe.
        outputs: by pipe.
        malformed: messages that were dropped because they are malformed.
        not_shared: large blocks that found no space in shared memory.
    """

    compute_blocks: dict[Whole, Whole]
    inputs: dict[Whole, InputTotals]
    outputs: dict[Whole, OutputTotals]
    malformed: Whole = 0
    not_shared: Whole = 0


class InputMeasures(Part, frozen=True):
    """One input, as `top` shows it.

    Attributes:
        done: blocks that are worked off.
    """

    done: Whole


class OutputMeasures(Part, frozen=True):
    """One output, as `top` shows it.

    Attributes:
        sent: blocks sent.
        queue: blocks that are not released, with those that wait to be sent.
        dropped: blocks dropped because of MAX_QUEUE.
        way_s: seconds from sending to release, summed over the measured blocks.
        way_blocks: measured blocks.
    """

    sent: Whole
    queue: Whole
    dropped: Whole
    way_s: float
    way_blocks: Whole


class JobHello(Message, frozen=True, tag="job_hello"):
    """The job's process runs.

    Attributes:
        process: its process id; 0 if unknown.
        addresses: where other machines reach its links, by name of the link.
    """

    process: Whole = 0
    addresses: dict[str, str] = msgspec.field(default_factory=dict)


class LatencySample(Part, frozen=True):
    """How long a block was under way from its source to here (`fission.protocol.stamps`).

    Attributes:
        source: id of the job that made it.
        incarnation: of the source.
        seconds: difference of two clocks: of this machine when the block was done, and of the
            source's machine when it was made.
    """

    source: Whole
    incarnation: Whole
    seconds: float


class CountsReport(Message, frozen=True, tag="counts_report"):
    """What the job has counted, about once a second; every five seconds if it does little.

    Attributes:
        counts: so far.
        doing: what its loop does: the name of a `fission.protocol.progress.Doing`.
        next_s: seconds until its next report.
        latencies: samples since its last report; of sinks, and of jobs with a DEADLINE.
    """

    counts: JobCounts
    doing: str = ""
    next_s: float = 1.0
    latencies: tuple[LatencySample, ...] = ()


class BlocksReplayed(Message, frozen=True, tag="blocks_replayed"):
    """The job has replayed unreleased blocks to a new incarnation of a consumer.

    Attributes:
        job: id of the consumer.
        incarnation: of the consumer.
        pipe: id of the output.
        blocks: how many.
    """

    job: Whole
    incarnation: Whole
    pipe: Whole
    blocks: Whole


class WorkDone(Message, frozen=True, tag="work_done"):
    """All the job's work is done and released; its process waits for `AcknowledgeEnd`.

    Attributes:
        ends: by output pipe: the generation and number of its last block; without those whose
            consumers have ended.
        counts: the final ones.
    """

    ends: dict[Whole, tuple[Whole, Whole]]
    counts: JobCounts


class LinesTaken(Message, frozen=True, tag="lines_taken"):
    """A console job has read lines.

    Attributes:
        lines: how many in all, in this incarnation.
    """

    lines: Whole


class JobWarning(Message, frozen=True, tag="job_warning"):
    """The user should know something.

    Attributes:
        text: of the warning.
        once: its subject; the client shows one warning per job and subject. None: it shows all.
    """

    text: str
    once: str | None = None


class SnapshotNeeded(Message, frozen=True, tag="snapshot_needed"):
    """The job needs a stored snapshot that is on the client's disk.

    Attributes:
        generation: of the snapshot.
        block: the compute block after which it was taken.
    """

    generation: Whole
    block: Whole


class SaveSnapshot(Message, frozen=True, tag="save_snapshot"):
    """Store the payload, a snapshot; the answer is `CheckpointStored`.

    Attributes:
        generation: of the snapshot.
        block: the compute block after which it was taken.
    """

    generation: Whole
    block: Whole


class SnapshotStable(Message, frozen=True, tag="snapshot_stable"):
    """A stored snapshot is stable: older ones are not needed.

    Attributes:
        generation: of the snapshot.
        block: the compute block after which it was taken.
    """

    generation: Whole
    block: Whole


class RetainValue(Message, frozen=True, tag="retain_value"):
    """Store the payload, a value that a new incarnation of the job begins with; the answer is
    `ValueStored`.

    Attributes:
        pipe: id of the pipe of the value; the newest value of a pipe replaces the one before.
        number: comes back in the answer.
    """

    pipe: Whole
    number: Whole


class TapCopies(Message, frozen=True, tag="tap_copies"):
    """The payload has copies of what an output sent, for a tap (`fission.protocol.tapped`).

    Attributes:
        tap: number of the tap, as in `OpenTap`.
        last: whether the job ends and nothing follows.
    """

    tap: Whole
    last: bool = False


class JobMeasured(Message, frozen=True, tag="job_measured"):
    """The answer to `MeasureJob`.

    Attributes:
        key: as in the question.
        at: seconds on the job's own clock; only differences are meaningful.
        blocks: compute blocks done.
        inputs: by pipe.
        outputs: by pipe.
        busy_s: seconds for which the job computed, as the next three: `fission.protocol.activity`.
        idle_s: seconds for which it slept in `run` or `setup`.
        starved_s: seconds for which it waited for blocks.
        blocked_s: seconds for which it waited for room in an output.
        cpu_s: seconds of processor time of its process and those it has started.
        memory: bytes of memory in use by the same.
    """

    key: Whole
    at: float
    blocks: Whole
    inputs: dict[Whole, InputMeasures]
    outputs: dict[Whole, OutputMeasures]
    busy_s: float
    idle_s: float
    starved_s: float
    blocked_s: float
    cpu_s: float
    memory: Whole


class BlockRan(Message, frozen=True, tag="block_ran"):
    """Emulator only: a compute block is done.

    Attributes:
        number: of the block.
    """

    number: Whole


class AskClock(Message, frozen=True, tag="ask_clock"):
    """Report the client's clock to this job, now and whenever it has been measured again."""


JobToClient: TypeAlias = (
    "JobHello | CountsReport | BlocksReplayed | WorkDone | LinesTaken | JobWarning | SnapshotNeeded | SaveSnapshot | SnapshotStable"
    " | RetainValue | TapCopies | JobMeasured | AskClock | BlockRan"
)

CODEC: Codec[JobToClient] = Codec(
    "job to client",
    JobHello,
    CountsReport,
    BlocksReplayed,
    WorkDone,
    LinesTaken,
    JobWarning,
    SnapshotNeeded,
    SaveSnapshot,
    SnapshotStable,
    RetainValue,
    TapCopies,
    JobMeasured,
    AskClock,
    BlockRan,
)
