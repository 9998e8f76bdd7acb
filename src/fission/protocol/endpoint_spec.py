"""What an `Endpoint` knows about its job from the beginning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from fission.protocol.checkpointing import CheckpointSpec
from fission.protocol.inputs import InputSpec
from fission.protocol.optional import OptionalSpec
from fission.protocol.window import WINDOW_BLOCKS, WINDOW_BYTES


@dataclass(frozen=True)
class OutputSpec:
    """One output.

    Args:
        pipe: id of the pipe.
        asynchronous: whether the pipe is ASYNC.
        block_count: BLOCK_COUNT of the consumer.
        needed: number of blocks that the window must hold at least; 0 for ``block_count``.
        max_queue: MAX_QUEUE of the consumer; 0 if it has none.
        retained: number of blocks that the consumer may retain after taking them.
        unbounded: name of the pipe if any number of blocks may wait here; empty otherwise.
        near: whether the consumer is on this machine, as far as that is known.
        closed: whether the consumer needs nothing.
        timed: whether its blocks have times (`fission.protocol.block_times`).
        asks: whether this incarnation of a source asks the consumer for the times of blocks that it makes
            again.
        packs: whether all blocks have one length and may be packed (`fission.protocol.packed`).
    """

    pipe: int
    asynchronous: bool = False
    block_count: int = 1
    needed: int = 0
    max_queue: int = 0
    retained: int = 0
    unbounded: str = ""
    near: bool = True
    closed: bool = False
    packs: bool = False
    timed: bool = False
    asks: bool = False


@dataclass(frozen=True)
class EndpointSpec:
    """All pipes of one incarnation of a job.

    Args:
        inputs: non-ASYNC inputs, in the order of the job.
        optional: ASYNC inputs.
        outputs: outputs, in the order of the job.
        incarnation: incarnation of the job.
        generation: generation in which a source numbers its blocks.
        is_source: whether the job numbers its blocks itself.
        client: whether there is a client.
        checkpoint: the snapshots of a job with CHECKPOINT; None for other jobs.
        window_blocks: size of a window, in blocks.
        window_bytes: size of a window, in bytes.
        head_size: size of a head, in bytes.
        judged: whether the client judges the job by its progress (STALL_TIMEOUT).
        job: id of the job, for the stamps of its blocks; 0: its blocks have none.
        measured: whether the client gets each sample of how long blocks were under way to here, or the newest ones.
        ratio: output blocks for each compute block; None: unknown.
    """

    inputs: Sequence[InputSpec] = ()
    optional: Sequence[OptionalSpec] = ()
    outputs: Sequence[OutputSpec] = ()
    incarnation: int = 1
    generation: int = 0
    is_source: bool = False
    client: bool = False
    checkpoint: CheckpointSpec | None = None
    window_blocks: int = WINDOW_BLOCKS
    window_bytes: int = WINDOW_BYTES
    head_size: int = 1
    judged: bool = False
    job: int = 0
    measured: bool = False
    ratio: Fraction | None = Fraction(1)
