"""Descriptions of a job's pipes for the protocol's state machines."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

from fission.core.dummies import dummy_fault, fixed_size
from fission.errors import BlockError, Stopped, error_text
from fission.ports import JobBundle
from fission.protocol.inputs import InputSpec
from fission.protocol.optional import OptionalSpec


def input_spec(pipe: Any, max_queue: int) -> InputSpec:
    """Return the description of a non-ASYNC input pipe for the aligner, including its dummies."""
    dummy: Callable[[], Any] | None = getattr(pipe, "get_dummy", None)
    if dummy is not None:
        return InputSpec(pipe.id, pipe.BLOCK_COUNT, max_queue, _checked_dummy(pipe, dummy))
    size = fixed_size(pipe)
    if size is not None:
        zeros = bytes(size)
        return InputSpec(pipe.id, pipe.BLOCK_COUNT, max_queue, lambda: zeros)
    return InputSpec(pipe.id, pipe.BLOCK_COUNT, max_queue)


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
