"""The description of a job's pipes for its `fission.protocol.endpoint.Endpoint`."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from fission.core.base import BaseJob
from fission.core.dummies import dummy_fault, fixed_size
from fission.core.executable_job import output_ratio
from fission.core.jobs import InteractiveJob
from fission.core.python_job import resumable
from fission.errors import BlockError, Stopped, error_text
from fission.ports import JobBundle
from fission.protocol.checkpointing import CheckpointSpec
from fission.protocol.endpoint_spec import EndpointSpec, OutputSpec
from fission.protocol.inputs import InputSpec
from fission.protocol.optional import OptionalSpec
from fission.runtime.codec import packs


def endpoint_spec(job: BaseJob, bundle: JobBundle) -> EndpointSpec:
    """Return the description of all pipes of a job.

    Args:
        job: job that has the pipes.
        bundle: settings of the job.
    """
    return EndpointSpec(
        inputs=[input_spec(pipe, job.MAX_QUEUE, asked=pipe.id in bundle.asks_times) for pipe in job.inputs if not pipe.ASYNC],
        optional=[optional_spec(pipe, bundle) for pipe in job.inputs if pipe.ASYNC],
        outputs=[output_spec(job, pipe, bundle) for pipe in job.outputs],
        incarnation=bundle.incarnation,
        generation=bundle.generation,
        is_source=job._fission_is_source,
        client=bool(bundle.wiring.client),
        checkpoint=checkpoint_spec(job, bundle),
        window_blocks=bundle.window_blocks,
        window_bytes=bundle.window_bytes,
        head_size=bundle.head_size,
        judged=job.STALL_TIMEOUT is not None,
        job=bundle.job_id,
        measured=not job.outputs or job.DEADLINE is not None,
        ratio=output_ratio(job),
    )


def output_spec(job: BaseJob, pipe: Any, bundle: JobBundle) -> OutputSpec:
    """Return the description of an output pipe."""
    address = bundle.wiring.outputs[pipe.id]
    # a console may wait, and must: input that is written faster than it is taken waits in front of it
    unbounded = pipe.ASYNC and not pipe.OPTIONAL_BUFFER_SIZE and not isinstance(job, InteractiveJob)
    return OutputSpec(
        pipe.id,
        asynchronous=pipe.ASYNC,
        block_count=pipe.BLOCK_COUNT,
        needed=bundle.needed.get(pipe.id, 0),
        max_queue=bundle.max_queues.get(pipe.id, 0),
        # a group, and the beginning of the next one
        retained=2 * pipe.BLOCK_COUNT - 1 if pipe.ASYNC and pipe.OPTIONAL_STORE else 0,
        unbounded=str(pipe) if unbounded else "",
        # if the consumer's address is not known yet, the command that brings it also says whether the consumer is near
        near=bool(address) and not address.startswith("tcp:"),
        closed=pipe.id in bundle.closed,
        timed=pipe.id in bundle.timed,
        asks=pipe.id in bundle.asks_times and bundle.incarnation > 1,
        packs=packs(pipe) and not bundle.max_queues.get(pipe.id, 0),
    )


def checkpoint_spec(job: BaseJob, bundle: JobBundle) -> CheckpointSpec | None:
    """Return the description of a job's snapshots.

    It is None for a job without CHECKPOINT, and for one that cannot resume.
    """
    every: int | timedelta | None = getattr(job, "CHECKPOINT", None)
    if every is None or not resumable(job):
        return None
    counts = [pipe.BLOCK_COUNT for pipe in job.inputs if not pipe.ASYNC]
    pressed_after = min((bundle.window_blocks // 2 // count for count in counts), default=bundle.window_blocks)
    return CheckpointSpec(
        job._fission_name,
        every,
        pressed_after,
        drops=bool(job.MAX_QUEUE),
        pressed_bytes=bundle.window_bytes // 2,
        stored=bundle.snapshots,
        damaged=bundle.damaged,
    )


def input_spec(pipe: Any, max_queue: int, *, asked: bool = False) -> InputSpec:
    """Return the description of a non-ASYNC input pipe for the aligner, including its dummies.

    Args:
        pipe: the pipe.
        max_queue: MAX_QUEUE of the job.
        asked: as in `InputSpec`.
    """
    dummy: Callable[[], Any] | None = getattr(pipe, "get_dummy", None)
    if dummy is not None:
        return InputSpec(pipe.id, pipe.BLOCK_COUNT, max_queue, _checked_dummy(pipe, dummy), asked)
    size = fixed_size(pipe)
    if size is not None:
        zeros = bytes(size)
        return InputSpec(pipe.id, pipe.BLOCK_COUNT, max_queue, lambda: zeros, asked)
    return InputSpec(pipe.id, pipe.BLOCK_COUNT, max_queue, asked=asked)


def _checked_dummy(pipe: Any, dummy: Callable[[], Any]) -> Callable[[], bytes]:
    def make() -> bytes:
        try:
            payload = dummy()
        except Stopped:
            raise
        except BaseException as why:  # get_dummy is user code
            text = f"{pipe}: a block is lost, and get_dummy, which stands for it, failed: {error_text(why)}"
            raise BlockError(text) from why
        fault = dummy_fault(pipe, payload)
        if fault:
            raise BlockError(f"{pipe}: a block is lost; {fault}")
        return bytes(payload)

    return make


def optional_spec(pipe: Any, bundle: JobBundle) -> OptionalSpec:
    """Return the description of an ASYNC input's pipe."""
    kept = bundle.kept.get(pipe.id)
    return OptionalSpec(
        pipe.id,
        pipe.BLOCK_COUNT,
        pipe.OPTIONAL_STORE,
        pipe.OPTIONAL_BUFFER_SIZE,
        pipe.OPTIONAL_DELETE_MODE,
        pipe.id in bundle.feedback,
        again=bundle.incarnation > 1,
        kept=None if kept is None else pickle.loads(kept),
    )


def packed_group(group: tuple[list[Any], list[int]]) -> bytes:
    """Pack a retained value of an ASYNC input in the form that `optional_spec` expects."""
    payloads, heads = group
    whole = [payload if type(payload) is bytes else [bytes(part) for part in payload] for payload in payloads]
    return pickle.dumps((tuple(whole), tuple(heads)), 5)
