"""Rules broken on purpose: each must make seeds of the simulated cluster fail.

Otherwise the simulation proves nothing.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any
from unittest import mock

from fission.client.run.coordinator import Coordinator
from fission.client.run.storage.checkpoint_service import CheckpointService
from fission.core.sink_file import SinkFile
from fission.protocol import checkpointing
from fission.protocol.checkpoint import Checkpoints
from fission.protocol.endpoint_inputs import Inputs
from fission.protocol.link_messages import JobMessage
from fission.protocol.messages.job_to_client import SaveSnapshot
from fission.protocol.optional import OptionalInput
from fission.protocol.output import Output
from fission.protocol.release import ReleaseRule
from fission.protocol.retained_values import RetainedValues
from fission.protocol.window import Arrival, Receiver
from fission.runtime import codec
from fission.runtime.sink_position import SinkSync


def _replace(where: Any, **members: Any) -> AbstractContextManager[None]:
    @contextlib.contextmanager
    def replaced() -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            for name, member in members.items():
                stack.enter_context(mock.patch.object(where, name, member))
            yield

    return replaced()


def no_deduplication() -> AbstractContextManager[None]:
    """Count duplicate blocks again."""

    def accept(self: Receiver, incarnation: int, generation: int, first: int, count: int) -> int:
        if not self.current(incarnation, generation):
            return count
        self.high = max(self.high, first + count - 1)
        return 0

    return _replace(Receiver, accept=accept)


@contextlib.contextmanager
def no_fencing() -> Iterator[None]:
    """Accept messages of old incarnations."""
    wire = Inputs.wire

    def open_any(self: Receiver, incarnation: int, generation: int, mark: int) -> Arrival:
        first_time = self.mark is None
        self.incarnation = incarnation
        self.mark = mark if first_time else max(self.mark or 0, mark)
        self.high = max(self.high, mark)
        return Arrival.NEW_INCARNATION

    def wire_without_incarnation(self: Inputs, pipe: int, incarnation: int) -> None:
        wire(self, pipe, 0)

    async def take(self: Coordinator, event: Any) -> None:
        await original(self, replace(event, incarnation=self.incarnation(event.job)) if isinstance(event, JobMessage) else event)

    original = Coordinator.take
    with (
        _replace(Receiver, open=open_any, current=lambda self, incarnation, generation: self.mark is not None),
        _replace(Inputs, wire=wire_without_incarnation),
        _replace(Coordinator, take=take),
    ):
        yield


def early_release() -> AbstractContextManager[None]:
    """Release inputs when `run` returns, before the outputs are released."""
    return _replace(ReleaseRule, finished_upto=lambda self: self.done)


def unstable_checkpoint() -> AbstractContextManager[None]:
    """Count a stored snapshot as stable before the outputs up to it are released."""
    settle = Checkpoints.settle
    return _replace(Checkpoints, settle=lambda self, released: settle(self, 1 << 40))


def confirmed_before_it_is_written() -> AbstractContextManager[None]:
    """Confirm a snapshot when it is asked for, while it waits for the disk."""
    take = CheckpointService.take

    def take_and_confirm(self: CheckpointService, job: int, message: Any, payload: bytes) -> None:
        take(self, job, message, payload)
        if isinstance(message, SaveSnapshot):
            self._confirm(job, message)

    return _replace(CheckpointService, take=take_and_confirm)


def no_mark() -> AbstractContextManager[None]:
    """Open links without the released mark."""
    from fission.protocol import frames
    from fission.protocol.link_messages import Open

    def opening(self: Output, generation: int, window: Any) -> bytes:
        return frames.encode_open(Open(self.pipe, self._incarnation, generation, 0))

    return _replace(Output, _opening=opening)


def newest_snapshot() -> AbstractContextManager[None]:
    """Start an incarnation with the newest snapshot, not with the oldest that fits."""

    def to_restore(stored: Any, first: int) -> int | None:
        return max((block for block in stored if block >= first - 1), default=None)

    return _replace(checkpointing, to_restore=to_restore)


def no_generation_file() -> AbstractContextManager[None]:
    """Let a sink forget where a generation began in its file."""

    return _replace(SinkFile, first_number=lambda self, generation: self.position.number + 1 if not generation else 1)


def rows_are_numbers() -> AbstractContextManager[None]:
    """Let a sink take row counts for block numbers, although blocks may have been left out."""
    begin, record = SinkFile.begin, SinkFile.record
    return _replace(
        SinkFile,
        begin=lambda self, generation, first: begin(self, generation, min(first, self.first_number(generation))),
        record=lambda self, generation, number: record(self, generation, self.position.number + 1),
    )


def release_before_sync() -> AbstractContextManager[None]:
    """Let a sink release what is in its file before the device has it."""
    return _replace(SinkSync, acknowledgeable=lambda self, generation: float("inf"))


def a_torn_block_counts() -> AbstractContextManager[None]:
    """Let a sink count all of its file as whole blocks."""
    cut = SinkFile._cut
    return _replace(SinkFile, _cut=lambda self, size: cut(self, max(size, os.fstat(self._file).st_size)))


def stored_value_released() -> AbstractContextManager[None]:
    """Release the retained value of an ASYNC input when it is taken."""
    take = OptionalInput.take

    def take_and_release(self: OptionalInput) -> tuple[Any, Any]:
        given = take(self)
        self._group, self._taken = None, 0
        self._find_releasable()
        return given

    return _replace(OptionalInput, take=take_and_release)


def no_waiting_for_values() -> AbstractContextManager[None]:
    """Start an incarnation before it has the retained values of its ASYNC inputs."""
    return _replace(RetainedValues, settling=False)


def values_are_not_frozen() -> AbstractContextManager[None]:
    """Encode the value that a job has given when its message is sent, as it is by then."""

    def as_it_is(value: Any) -> Any:
        return value if codec.frozen(value) is not codec.NOT_FROZEN else codec.NOT_FROZEN

    freezer = codec.freezer
    return _replace(codec, freezer=lambda pipe, **keywords: freezer(pipe, **keywords) and as_it_is)


BROKEN: dict[str, Callable[[], AbstractContextManager[None]]] = {
    "no-deduplication": no_deduplication,
    "no-fencing": no_fencing,
    "early-release": early_release,
    "unstable-checkpoint": unstable_checkpoint,
    "confirmed-before-it-is-written": confirmed_before_it_is_written,
    "no-mark": no_mark,
    "newest-snapshot": newest_snapshot,
    "no-generation-file": no_generation_file,
    "rows-are-numbers": rows_are_numbers,
    "release-before-sync": release_before_sync,
    "a-torn-block-counts": a_torn_block_counts,
    "stored-value-released": stored_value_released,
    "no-waiting-for-values": no_waiting_for_values,
    "values-are-not-frozen": values_are_not_frozen,
}
