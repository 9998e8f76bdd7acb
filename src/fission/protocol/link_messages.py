"""The messages of the links of a job, as values: blocks, and what their order and acknowledgement
need.

Between a producer and a consumer: `Open`, `Data`, `Stamp` and `End` go with the blocks, `Release`,
`Starved` and `Times` against them. Between the client and a job: `Command` and `JobMessage`, which carry the
messages of `fission.protocol.messages`. `fission.protocol.frames` converts them to bytes and back.

Three numbers say which block is meant: the *incarnation* of the process that sends, the
*generation* of the numbering, and the *sqn* in it, from 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from fission.protocol.messages.client_to_job import ClientToJob
from fission.protocol.messages.job_to_client import JobToClient
from fission.protocol.stamps import Origins

#: "Everything, for ever": a release of this number notifies the producer that its consumer needs nothing more.
CLOSED = 2**63 - 1


class Data(NamedTuple):
    """Blocks ``sqn`` to ``sqn + len(payloads) - 1`` of a pipe.

    A named tuple, because creating one takes half the time of a frozen dataclass.

    Attributes:
        payloads: one entry per block: its bytes; [payload, buffer, ...] for a block with
            out-of-band buffers; [payload, `Descriptor`, ...] if the buffers are in shared memory;
            (`Joined`, index) if the blocks are encoded together; or (`Packed`, index) if they have
            one length and travel as one piece of memory.
        heads: one number per block; None if all are 0.
        times: the times of the blocks, packed, one after the other (`fission.protocol.block_times`);
            None if the pipe carries none.
    """

    pipe: int
    incarnation: int
    generation: int
    sqn: int
    payloads: list[Any]
    heads: list[int] | None = None
    times: bytes | None = None


@dataclass(frozen=True, slots=True)
class Open:
    """First message of a producer: blocks up to ``mark`` are released.

    The next block may be ``mark + 1``.
    """

    pipe: int
    incarnation: int
    generation: int
    mark: int


@dataclass(frozen=True, slots=True)
class End:
    """End of a pipe.

    Attributes:
        last: the last block; 0 if the pipe never had one.
        final: whether the pipe has ended in later generations too.
        more: whether a later generation follows.
    """

    pipe: int
    incarnation: int
    generation: int
    last: int
    final: bool = False
    more: bool = False


@dataclass(frozen=True, slots=True)
class Release:
    """Release (acknowledgement) of blocks, from a consumer to its producer.

    With `CLOSED` as ``released`` and ``taken``, it counts for all generations.

    Attributes:
        incarnation: incarnation of the consumer.
        generation: generation of the numbering.
        released: the consumer never needs blocks up to this sqn again; `CLOSED`: none of this
            generation.
        taken: blocks up to this sqn are taken into compute blocks.
        had: whether it answers an `Open`; ``taken`` is then the last block that the consumer has of
            earlier incarnations of the producer.
    """

    pipe: int
    incarnation: int
    generation: int
    released: int
    taken: int
    had: bool = False


@dataclass(frozen=True, slots=True)
class Starved:
    """Report that the consumer and all jobs after it have worked off the blocks up to ``upto``.

    ``incarnation`` is the consumer's.
    """

    pipe: int
    incarnation: int
    generation: int
    upto: int


@dataclass(frozen=True, slots=True)
class Stamp:
    """When a block was made: goes ahead of the block, for some of them (`fission.protocol.stamps`).

    Attributes:
        sqn: of the block.
        origins: by source.
    """

    pipe: int
    incarnation: int
    generation: int
    sqn: int
    origins: Origins


@dataclass(frozen=True, slots=True)
class Times:
    """The times of blocks that the consumer has had, for a new incarnation of a source.

    It answers an `Open`, and goes against the blocks.

    Attributes:
        incarnation: incarnation of the consumer.
        sqn: of the first block.
        times: as in `Data`; empty if there are none.
    """

    pipe: int
    incarnation: int
    generation: int
    sqn: int
    times: bytes


@dataclass(frozen=True, slots=True)
class Command:
    """Message from the client to a job."""

    message: ClientToJob


@dataclass(frozen=True, slots=True)
class JobMessage:
    """Message from an incarnation of a job to the client, with bytes that belong to it."""

    job: int
    incarnation: int
    message: JobToClient
    payload: bytes = b""


Message: TypeAlias = "Data | Open | End | Release | Starved | Stamp | Times | Command | JobMessage"
