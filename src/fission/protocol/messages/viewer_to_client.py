"""The requests of other terminals to the client of a running network: one line of JSON each, over
the Unix socket in the run's folder.

Each is answered by one line of `fission.protocol.messages.client_to_viewer`.
"""

from __future__ import annotations

from typing import TypeAlias

from fission.protocol.messages.codec import Codec, Message, Whole

#: Bytes of a request. Arbitrary: above the longest piece of a line.
MAX_REQUEST_BYTES = 1 << 20


class MeasureJobs(Message, frozen=True, tag="measure_jobs"):
    """Measure all jobs now; the answer is `JobsMeasured`."""


class LocateJobs(Message, frozen=True, tag="locate_jobs"):
    """Answer with `JobsLocated`."""


class InspectRun(Message, frozen=True, tag="inspect_run"):
    """Answer with `RunStatus`."""


class ForeseeLoss(Message, frozen=True, tag="foresee_loss"):
    """Answer with `LossForeseen`: what would happen if a node were lost now. The jobs' `preference` is
    called for it.

    Attributes:
        node: its name.
    """

    node: str


class DescribeNetwork(Message, frozen=True, tag="describe_network"):
    """Answer with `NetworkDescribed`."""


class CountRun(Message, frozen=True, tag="count_run"):
    """Answer with `RunCounted`; the jobs are not asked."""


class StopRun(Message, frozen=True, tag="stop_run"):
    """Stop the network; the answer is `RunStopping`.

    Attributes:
        by: who asks for it; empty: the user of this machine, whose command shows what happens.
    """

    by: str = ""


class NoteAction(Message, frozen=True, tag="note_action"):
    """Show in the run's log what a user has done to the network; the answer is `ActionNoted`.

    Attributes:
        by: who.
        action: what, in words that follow the name.
    """

    by: str
    action: str


class CollectLogs(Message, frozen=True, tag="collect_logs"):
    """Answer with `LogsCollected`."""


class TapPipes(Message, frozen=True, tag="tap_pipes"):
    """Send copies of what pipes carry, in packets after the answer `PipesTapped`.

    Attributes:
        pipes: their ids.
        credit: bytes of copies that may be under way, for each pipe.
        payload: whether payloads are copied, not only headers.
        everything: copy each large block out of shared memory, even if that slows the job down.
        every_s: seconds after which credit that was used is given again, so that it limits the
            bytes in this time (of larger messages, some times as many); 0: as soon as the copies
            are sent.
        largest: bytes of the largest message that is copied; of a larger one the header is. 0: no
            limit.
    """

    pipes: tuple[Whole, ...]
    credit: Whole
    payload: bool = True
    everything: bool = False
    every_s: float = 0.0
    largest: Whole = 0


class FollowRun(Message, frozen=True, tag="follow_run"):
    """Send what the client's own terminal shows, in packets after the answer `RunFollowed`.

    Attributes:
        jobs: ids of the jobs that are followed; empty: all.
        nodes: names of nodes; jobs are followed while they run there; empty: everywhere.
        outputs: whether to send what jobs write.
        events: whether to send everything else, and the last events so far.
    """

    jobs: tuple[Whole, ...] = ()
    nodes: tuple[str, ...] = ()
    outputs: bool = False
    events: bool = False


class CheckConsole(Message, frozen=True, tag="check_console"):
    """Answer with `ConsoleAnswer` if a job takes lines.

    Attributes:
        job: its id.
    """

    job: Whole


class SendLine(Message, frozen=True, tag="send_line"):
    """A line, or a piece of a long one, for an InteractiveJob; the answer is `ConsoleAnswer`.

    Attributes:
        job: its id.
        line: the text, without the line break.
        last: whether the line ends with this piece.
        by: who has sent it, which the run's log then says; empty, as in `EndConsole`: the user of
            this machine.
    """

    job: Whole
    line: str
    last: bool = True
    by: str = ""


class EndConsole(Message, frozen=True, tag="end_console"):
    """No further line comes for an InteractiveJob; the answer is `ConsoleAnswer`.

    Attributes:
        job: its id.
        by: who says so.
    """

    job: Whole
    by: str = ""


ViewerToClient: TypeAlias = (
    "MeasureJobs | LocateJobs | InspectRun | ForeseeLoss | DescribeNetwork | CountRun | StopRun | NoteAction | CollectLogs"
    "| TapPipes | FollowRun | CheckConsole | SendLine | EndConsole"
)

CODEC: Codec[ViewerToClient] = Codec(
    "viewer to client",
    MeasureJobs,
    LocateJobs,
    InspectRun,
    ForeseeLoss,
    DescribeNetwork,
    CountRun,
    StopRun,
    NoteAction,
    CollectLogs,
    TapPipes,
    FollowRun,
    CheckConsole,
    SendLine,
    EndConsole,
    max_bytes=MAX_REQUEST_BYTES,
)
