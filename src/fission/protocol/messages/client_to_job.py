"""The commands of the client to one job, each in a `fission.protocol.link_messages.Command`.

`RewirePipe` and `RepeatReports` also come from the job's own links, when a connection broke.
`RunBlock` comes from the emulator of a job.
"""

from __future__ import annotations

from typing import TypeAlias

from fission.protocol.messages.codec import Codec, Message, Whole


class InputLine(Message, frozen=True, tag="input_line"):
    """A console job may read a line, or a piece of a long one.

    Attributes:
        line: the text, without the line break.
        first: whether a line begins with this piece.
        last: whether the line ends with this piece.
    """

    line: str
    first: bool = True
    last: bool = True


class EndOfInput(Message, frozen=True, tag="end_of_input"):
    """No further line comes for a console job."""


class WirePipe(Message, frozen=True, tag="wire_pipe"):
    """The job at the other end of a pipe has a new incarnation or a new address: connect to it and
    replay to it.

    Attributes:
        pipe: id of an input or output of this job.
        address: where the other end listens.
        near: whether the other end is on the same machine, so that it may be lent shared memory.
        peer: id of the job at the other end.
        incarnation: of that job.
    """

    pipe: Whole
    address: str
    near: bool
    peer: Whole
    incarnation: Whole


class RewirePipe(Message, frozen=True, tag="rewire_pipe"):
    """The connection of a pipe broke: connect again to the same incarnation, and replay.

    Attributes:
        pipe: id of an input or output of this job.
    """

    pipe: Whole


class RepeatReports(Message, frozen=True, tag="repeat_reports"):
    """The client was away, or failed to store something: report again what it may have missed."""


class ReachClient(Message, frozen=True, tag="reach_client"):
    """The client has moved.

    Attributes:
        address: where it listens for the job's reports.
    """

    address: str


class CloseOutput(Message, frozen=True, tag="close_output"):
    """The consumer of an output has ended: send nothing more there, all is released.

    Attributes:
        pipe: id of the output.
    """

    pipe: Whole


class AcknowledgeEnd(Message, frozen=True, tag="acknowledge_end"):
    """The client has recorded that the job ended: its process may exit."""


class ResetGeneration(Message, frozen=True, tag="reset_generation"):
    """A source begins again from its start: number the blocks from 1 again.

    Attributes:
        generation: the new one.
    """

    generation: Whole


class CheckpointStored(Message, frozen=True, tag="checkpoint_stored"):
    """A snapshot of the job has reached the client's disk.

    Attributes:
        generation: of the snapshot.
        block: the compute block after which it was taken.
    """

    generation: Whole
    block: Whole


class ValueStored(Message, frozen=True, tag="value_stored"):
    """A retained value of the job has reached the client's disk.

    Attributes:
        pipe: id of the pipe of the value.
        number: as in the job's `RetainValue`.
    """

    pipe: Whole
    number: Whole


class OpenTap(Message, frozen=True, tag="open_tap"):
    """Send copies of what one output sends (`fission.protocol.tapped`), as long as there is credit.

    Attributes:
        tap: number of the tap, chosen by the client; an open tap of this number is replaced.
        pipe: id of the output.
        credit: bytes that may be copied.
        payload: whether payloads are copied, not only headers.
        share: largest share of the job's time that copies out of shared memory may take, 0 to 1.
        largest: bytes of the largest message that is copied; of a larger one the header is. 0: no
            limit.
    """

    tap: Whole
    pipe: Whole
    credit: Whole
    payload: bool
    share: float
    largest: Whole = 0


class ExtendTap(Message, frozen=True, tag="extend_tap"):
    """The viewer of a tap has consumed copies.

    Attributes:
        tap: number of the tap.
        credit: further bytes that may be copied.
    """

    tap: Whole
    credit: Whole


class CloseTap(Message, frozen=True, tag="close_tap"):
    """Nothing is copied for a tap from now on.

    Attributes:
        tap: number of the tap.
    """

    tap: Whole


class MeasureJob(Message, frozen=True, tag="measure_job"):
    """Answer with `JobMeasured`, and measure for a few seconds more.

    Attributes:
        key: comes back in the answer.
    """

    key: Whole


class ClientClock(Message, frozen=True, tag="client_clock"):
    """The client's clock, compared with that of the job's machine (`fission.protocol.network_clock`).

    Attributes:
        known: whether the clocks have been compared; otherwise only ``local`` means something.
        local: whether the client is on the same machine.
        offset_s: seconds by which the clock of the job's machine that cannot be set is ahead of the
            client's.
        error_s: largest error of the offset.
        drift: seconds per second by which the offset grows.
        wall_s: time of day of the client minus its clock that cannot be set, in seconds.
    """

    known: bool = False
    local: bool = False
    offset_s: float = 0.0
    error_s: float = 0.0
    drift: float = 0.0
    wall_s: float = 0.0


class RunBlock(Message, frozen=True, tag="run_block"):
    """Emulator only: a source, or a job whose inputs are all ASYNC, may run further compute blocks.

    Attributes:
        number: of the last compute block that may run.
        after: by ASYNC input, the number of the block that must have arrived before.
    """

    number: Whole
    after: dict[Whole, Whole]


ClientToJob: TypeAlias = (
    "InputLine | EndOfInput | WirePipe | RewirePipe | RepeatReports | ReachClient | CloseOutput | AcknowledgeEnd | ResetGeneration"
    " | CheckpointStored | ValueStored | OpenTap | ExtendTap | CloseTap | MeasureJob | ClientClock | RunBlock"
)

CODEC: Codec[ClientToJob] = Codec(
    "client to job",
    InputLine,
    EndOfInput,
    WirePipe,
    RewirePipe,
    RepeatReports,
    ReachClient,
    CloseOutput,
    AcknowledgeEnd,
    ResetGeneration,
    CheckpointStored,
    ValueStored,
    OpenTap,
    ExtendTap,
    CloseTap,
    MeasureJob,
    ClientClock,
    RunBlock,
)
