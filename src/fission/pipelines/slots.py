"""What each process of a Broker runs, in memory that the processes share with the Broker.

The Broker reads it to kill a job at its timeout, to report which job killed its process, and for
monitoring. There is no lock: a process writes two counters around the text, and a reader that finds
them different reads again later.
"""

from __future__ import annotations

import mmap
import struct
import time
from dataclasses import dataclass
from typing import Any

import msgspec

from fission.errors import RemoteProtocolError
from fission.protocol.messages.pipelines.router_to_worker import JobOrder
from fission.protocol.messages.pipelines.wire import convert, decode_object, encode

#: Size of a slot in bytes; a job with more data is shown without its data. Arbitrary.
SIZE = 32 * 1024
#: Bytes for the address of the process, at the slot's end.
ADDRESS = 256
#: The byte before the address: whether the process ends because it has lost the Router.
LEFT = 1
#: Counter before, counter after, monotonic seconds of the start (0: the job has ended), length of the text in bytes.
HEAD = struct.Struct("<QQdI")


@dataclass(frozen=True, slots=True)
class CurrentJob:
    """A job that a process runs.

    Attributes:
        job: its ``job id``.
        worker: name of its worker.
        data: its data; None if they are too long.
        timeout: in seconds; None: no limit.
        attempt: number of the attempt.
        since: when it started, in monotonic seconds.
    """

    job: str
    worker: str
    data: Any
    timeout: float | None
    attempt: int
    since: float


class Slots:
    """A slot for each process, in memory that forked processes share."""

    def __init__(self, number: int) -> None:
        """Make the slots before the processes are forked.

        Args:
            number: of slots.
        """
        self._memory = mmap.mmap(-1, number * SIZE)

    # called in the process of the slot

    def begin(self, slot: int, order: JobOrder) -> None:
        """Note that the process of this slot begins a job."""
        data = encode(order)
        if len(data) > SIZE - HEAD.size - ADDRESS - LEFT:
            data = encode(msgspec.structs.replace(order, data=None))[: SIZE - HEAD.size - ADDRESS - LEFT]
        at = slot * SIZE
        counter = HEAD.unpack_from(self._memory, at)[0] + 1
        HEAD.pack_into(self._memory, at, counter, counter - 1, time.monotonic(), len(data))
        self._memory[at + HEAD.size : at + HEAD.size + len(data)] = data
        HEAD.pack_into(self._memory, at, counter, counter, time.monotonic(), len(data))

    def end(self, slot: int) -> None:
        """Note that the job of this slot's process has ended."""
        at = slot * SIZE
        counter, _, _, length = HEAD.unpack_from(self._memory, at)
        HEAD.pack_into(self._memory, at, counter + 1, counter + 1, 0.0, length)

    def set_lost_router(self, slot: int) -> None:
        """Note that the process of this slot ends because it has lost the Router, not because of
        its job.
        """
        self._memory[(slot + 1) * SIZE - ADDRESS - LEFT] = 1

    def set_address(self, slot: int, address: str) -> None:
        """Note the address where the process of this slot accepts jobs; empty: none yet."""
        self._memory[(slot + 1) * SIZE - ADDRESS - LEFT] = 0
        data = address.encode()[: ADDRESS - 1]
        at = (slot + 1) * SIZE - ADDRESS
        self._memory[at : at + ADDRESS] = data + bytes(ADDRESS - len(data))

    # called by the Broker

    def clear(self, slot: int) -> None:
        """Note that the process of this slot has run nothing."""
        at = slot * SIZE
        counter = HEAD.unpack_from(self._memory, at)[0] + 1
        HEAD.pack_into(self._memory, at, counter, counter, 0.0, 0)

    def current(self, slot: int) -> CurrentJob | None:
        """Return what the process of this slot runs; None: nothing, or it is just changing."""
        job = self.last(slot)
        return job if job is not None and job.since else None

    def last(self, slot: int) -> CurrentJob | None:
        """Return what the process of this slot runs or has run last (``since`` is 0); None: nothing,
        or it is just changing.
        """
        at = slot * SIZE
        before, after, since, length = HEAD.unpack_from(self._memory, at)
        if before != after or not length:
            return None
        data = self._memory[at + HEAD.size : at + HEAD.size + length]
        if HEAD.unpack_from(self._memory, at)[0] != before:
            return None
        try:
            order: JobOrder = convert(decode_object(data), JobOrder)
        except RemoteProtocolError:  # it changed while it was read
            return None
        return CurrentJob(order.id, order.worker, order.data, order.timeout, order.attempt, since)

    def has_lost_router(self, slot: int) -> bool:
        """Return whether the process of this slot has called `set_lost_router`."""
        return bool(self._memory[(slot + 1) * SIZE - ADDRESS - LEFT])

    def address(self, slot: int) -> str:
        """Return the address of the process of this slot; empty: it has none yet."""
        at = (slot + 1) * SIZE - ADDRESS
        return self._memory[at : at + ADDRESS].split(b"\0", 1)[0].decode()

    def close(self) -> None:
        """Free the memory."""
        self._memory.close()
