"""What the client of a running network sends to other terminals: one line of JSON as the answer to
each request, and packets.

A packet is its length (u32, little-endian) and bytes: for those who follow the run a message of
`fission.protocol.messages.run_events`; for a tap the pipe (u32) and copies
(`fission.protocol.tapped`).
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from fission.protocol.messages.codec import Codec, Message, Part, Whole
from fission.protocol.messages.job_to_client import InputMeasures, InputTotals, OutputMeasures

#: Bytes of an answer or an event. Arbitrary: above the logs of all nodes, and above the longest line that a job writes.
MAX_ANSWER_BYTES = 1 << 30


class JobStandstill(Part, frozen=True):
    """A job makes no progress.

    Attributes:
        seconds: for how long.
        reason: in words, as far as it is known.
    """

    seconds: float
    reason: str


class MeasuredJob(Part, frozen=True):
    """What a job has answered (`fission.protocol.messages.job_to_client.JobMeasured`).

    Attributes:
        incarnation: of the job.
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

    incarnation: Whole
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


class PathRow(Part, frozen=True):
    """How long blocks are under way from a source to a job, in the last minute
    (`fission.protocol.latency`).

    Attributes:
        source: id of the job that makes them.
        sink: id of the job that is done with them.
        blocks: number of blocks that were measured.
        min_s: the least, seconds, as the next three.
        p50_s: half of them took no longer.
        p99_s: 99 of 100 took no longer.
        uncertainty_s: largest error that the clocks of two machines cause; 0 on one machine.
    """

    source: Whole
    sink: Whole
    blocks: Whole
    min_s: float
    p50_s: float
    p99_s: float
    uncertainty_s: float


class JobRow(Part, frozen=True):
    """One job.

    Attributes:
        id: its number.
        name: class and id.
        state: of the job; when it is over, how it ended.
        node: where it runs; None: nowhere.
        restarts: incarnations after the first one.
        pid: id of its process on its node; None: unknown.
        measured: None: it has not answered.
        standing: None: it makes progress.
        placed: why it is on its node; empty: it stayed there when it was started again, or is
            nowhere.
        late: number of measured blocks that came after its DEADLINE; None, as the next: it has none.
        judged: number of measured blocks that were compared with it.
    """

    id: Whole
    name: str
    state: str
    node: str | None
    restarts: Whole
    pid: int | None
    measured: MeasuredJob | None
    standing: JobStandstill | None
    placed: str = ""
    late: Whole | None = None
    judged: Whole | None = None


class LinkRow(Part, frozen=True):
    """A measured link from one node to another.

    Attributes:
        TQ: quality, 0 to 255.
        rtt: round trip in seconds; None: not measured.
    """

    TQ: int
    rtt: float | None


class NodeRow(Part, frozen=True):
    """One node (`fission.core.nodes.NodeInfo`).

    Attributes:
        name: as in NODES.
        ip: as in NODES.
        groups: as in NODES.
        cpu: free processor time, percent; None, as in the next three: not measured.
        memory: free memory, bytes.
        disk: free disk space, bytes.
        swap: swap in use, percent.
        TQ: quality of the link from the client, 0 to 255.
        jobs: names of its jobs.
        max_jobs: how many it takes.
        rtt: round trip to it, seconds; None: not measured.
        up: whether it pulses.
        links: by the name of the other node.
        clock_offset: seconds by which its time of day is ahead of the client's; None, as the next two:
            not measured, or it has the client's clock.
        clock_error: largest error of that, seconds.
        clock_drift: seconds per second by which it becomes more ahead.
    """

    name: str
    ip: str
    groups: tuple[str, ...]
    cpu: int | float | None
    memory: int | None
    disk: int | None
    swap: int | float | None
    TQ: int
    jobs: tuple[str, ...]
    max_jobs: int
    rtt: float | None
    up: bool
    links: dict[str, LinkRow]
    clock_offset: float | None = None
    clock_error: float | None = None
    clock_drift: float | None = None


class PipeRow(Part, frozen=True):
    """A pipe that is tapped.

    Attributes:
        pipe: its id.
        job: id of the job that feeds it.
    """

    pipe: Whole
    job: Whole


class JobShape(Part, frozen=True):
    """One job of the network, as its config.py defines it.

    Attributes:
        id: its number.
        name: class and id.
        local: whether it runs on the client.
        groups: names of the groups of nodes that may run it.
        takes_lines: whether it is an InteractiveJob.
    """

    id: Whole
    name: str
    local: bool
    groups: tuple[str, ...]
    takes_lines: bool = False


class PipeShape(Part, frozen=True):
    """One pipe of the network, as its config.py defines it.

    Attributes:
        id: its number.
        kind: name of its class.
        source: id of the job that feeds it.
        target: id of the job that reads it.
        optional: whether its consumer runs without waiting for it.
        encoding: of its blocks, as far as its class tells.
        rate: samples per second, if its class has a RATE.
        made_by: module and name of its class; with the next two what a recording says of it.
        block_size: its BLOCK_SIZE.
        block_count: its BLOCK_COUNT.
    """

    id: Whole
    kind: str
    source: Whole
    target: Whole
    optional: bool
    encoding: Literal["pickle", "json", "bytes"] = "bytes"
    rate: float | None = None
    made_by: str = ""
    block_size: int | str = 1
    block_count: int = 1


class PipeCounts(Part, frozen=True):
    """What a job has sent on one output since the client began.

    Attributes:
        sent: blocks, each once, however often it was replayed.
        lost: blocks that no consumer can get.
        dropped: blocks dropped because of MAX_QUEUE.
        replayed: blocks sent again to a new incarnation of the consumer.
        blocked_s: seconds for which the job waited for space in the output's window.
        queue: blocks that are not released now, with those that wait to be sent.
    """

    sent: Whole
    lost: Whole
    dropped: Whole
    replayed: Whole
    blocked_s: float
    queue: Whole


class CheckpointCounts(Part, frozen=True):
    """What the client has stored for one job since it began.

    Attributes:
        stored: snapshots on the disk.
        failed: attempts to write a snapshot or a retained value that have failed.
        bytes: size of the stored snapshots.
        last: seconds since the epoch when the last snapshot was stored; None: none was.
    """

    stored: Whole = 0
    failed: Whole = 0
    bytes: Whole = 0
    last: float | None = None


class JobTotals(Part, frozen=True):
    """What all incarnations of a job have done since the client began; it never decreases.

    Attributes:
        id: its number.
        state: of the job: the name of a `fission.protocol.supervision_messages.JobState`.
        compute_blocks: compute blocks, each once, however often it was computed again.
        malformed: messages that were dropped because they are malformed.
        not_shared: large blocks that found no space in shared memory.
        inputs: by pipe.
        outputs: by pipe.
        checkpoints: what was stored for it.
    """

    id: Whole
    state: str
    compute_blocks: Whole
    malformed: Whole
    not_shared: Whole
    inputs: dict[Whole, InputTotals]
    outputs: dict[Whole, PipeCounts]
    checkpoints: CheckpointCounts


class ViewerRefused(Message, frozen=True, tag="viewer_refused"):
    """The request is malformed or cannot be fulfilled.

    Attributes:
        error: for the user.
        exit_code: of the command.
    """

    error: str
    exit_code: int


class JobsMeasured(Message, frozen=True, tag="jobs_measured"):
    """The answer to `MeasureJobs`.

    Attributes:
        time: seconds since the epoch.
        network: its name.
        jobs: all of them.
        paths: those with measured blocks.
        inner_paths: the same from sources to the other jobs, which report fewer blocks.
    """

    time: float
    network: str
    jobs: tuple[JobRow, ...]
    paths: tuple[PathRow, ...] = ()
    inner_paths: tuple[PathRow, ...] = ()


class JobsLocated(Message, frozen=True, tag="jobs_located"):
    """The answer to `LocateJobs`.

    Attributes:
        nodes: name of the node of each job that runs, by job.
    """

    nodes: dict[Whole, str]


class RunStatus(Message, frozen=True, tag="run_status"):
    """The answer to `InspectRun`.

    Attributes:
        nodes: all that are known.
        failovers: what was lost and restarted, in words.
        run: name of the run's folder.
        pid: id of the client's process.
    """

    nodes: tuple[NodeRow, ...]
    failovers: tuple[str, ...]
    run: str
    pid: int


class ForeseenJob(Part, frozen=True):
    """What would happen to a job.

    Attributes:
        job: its name.
        node: where it would be placed; None: nowhere.
        reason: why there, or why nowhere.
    """

    job: str
    node: str | None
    reason: str


class LossForeseen(Message, frozen=True, tag="loss_foreseen"):
    """The answer to `ForeseeLoss`.

    Attributes:
        node: its name.
        jobs: its jobs that have not ended.
    """

    node: str
    jobs: tuple[ForeseenJob, ...]


class NetworkDescribed(Message, frozen=True, tag="network_described"):
    """The answer to `DescribeNetwork`.

    Attributes:
        network: its name.
        jobs: all of them, by id.
        pipes: all of them, by id.
    """

    network: str
    jobs: tuple[JobShape, ...]
    pipes: tuple[PipeShape, ...]


class RunCounted(Message, frozen=True, tag="run_counted"):
    """The answer to `CountRun`.

    Attributes:
        since: seconds since the epoch when the client began to count.
        jobs: all of them.
        failovers: how many.
        failover_s: seconds that they took, summed.
    """

    since: float
    jobs: tuple[JobTotals, ...]
    failovers: Whole
    failover_s: float


class RunStopping(Message, frozen=True, tag="run_stopping"):
    """The answer to `StopRun`: the network is being stopped.

    Attributes:
        pid: id of the client's process, which ends with the network.
    """

    pid: int


class ActionNoted(Message, frozen=True, tag="action_noted"):
    """The answer to `NoteAction`: the run's log has it."""


class LogsCollected(Message, frozen=True, tag="logs_collected"):
    """The answer to `CollectLogs`.

    Attributes:
        logs: text of each node's log, by node.
        ips: address of each node, by node.
    """

    logs: dict[str, str]
    ips: dict[str, str]


class PipesTapped(Message, frozen=True, tag="pipes_tapped"):
    """The answer to `TapPipes`; packets follow.

    Attributes:
        pipes: as requested.
    """

    pipes: tuple[PipeRow, ...]


class RunFollowed(Message, frozen=True, tag="run_followed"):
    """The answer to `FollowRun`; packets follow."""


class ConsoleAnswer(Message, frozen=True, tag="console_answer"):
    """The answer to `CheckConsole`, `SendLine` and `EndConsole`.

    Attributes:
        full: whether the line was not taken, because the job has not read the ones before: send its
            last piece again.
    """

    full: bool = False


ClientToViewer: TypeAlias = (
    "ViewerRefused | JobsMeasured | JobsLocated | RunStatus | LossForeseen | NetworkDescribed | RunCounted | RunStopping"
    "| ActionNoted | LogsCollected | PipesTapped | RunFollowed | ConsoleAnswer"
)

CODEC: Codec[ClientToViewer] = Codec(
    "client to viewer",
    ViewerRefused,
    JobsMeasured,
    JobsLocated,
    RunStatus,
    LossForeseen,
    NetworkDescribed,
    RunCounted,
    RunStopping,
    ActionNoted,
    LogsCollected,
    PipesTapped,
    RunFollowed,
    ConsoleAnswer,
    max_bytes=MAX_ANSWER_BYTES,
)
