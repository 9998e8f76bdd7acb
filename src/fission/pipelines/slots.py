"""What each worker process does right now, in memory that it shares with its Broker.

The Broker reads it to kill a job at its time limit, to say which job killed its process, and for monitoring. Nothing waits for anybody:
a process writes with two counters around the text, and a reader who finds them different looks again later.
"""

from __future__ import annotations

import json
import mmap
import struct
import time
from dataclasses import dataclass
from typing import Any

#: Bytes of a slot; a job with more data is shown without them. Arbitrary.
SIZE = 32 * 1024
ADDRESS = 256  # bytes for the address of the process, at the slot's end
LEFT = 1  # byte before it: the process ends because it has lost the Router
HEAD = struct.Struct("<QQdI")  # counter before, counter behind, monotonic seconds, length of the text


@dataclass(frozen=True, slots=True)
class CurrentJob:
    """A job that a process runs.

    Attributes:
        job: its ``job id``.
        worker: its worker's name.
        data: its data, if they are not too long.
        timeout: its time limit in seconds; None: none.
        attempt: which.
        since: when it began, in monotonic seconds.
    """

    job: str
    worker: str
    data: Any
    timeout: float | None
    attempt: int
    since: float


class Slots:
    """Slots for so many processes, in one piece of memory that forked processes share."""

    def __init__(self, number: int) -> None:
        """Args: number: of slots."""
        self._memory = mmap.mmap(-1, number * SIZE)

    # the process's end

    def begin(self, slot: int, body: str) -> None:
        """The process of this slot begins a job."""
        data = body.encode()
        if len(data) > SIZE - HEAD.size - ADDRESS - LEFT:
            data = json.dumps({**json.loads(body), "data": None}).encode()[: SIZE - HEAD.size - ADDRESS - LEFT]
        at = slot * SIZE
        counter = HEAD.unpack_from(self._memory, at)[0] + 1
        HEAD.pack_into(self._memory, at, counter, counter - 1, time.monotonic(), len(data))
        self._memory[at + HEAD.size : at + HEAD.size + len(data)] = data
        HEAD.pack_into(self._memory, at, counter, counter, time.monotonic(), len(data))

    def end(self, slot: int) -> None:
        """The process of this slot has nothing to do."""
        at = slot * SIZE
        counter = HEAD.unpack_from(self._memory, at)[0] + 1
        HEAD.pack_into(self._memory, at, counter, counter, 0.0, 0)

    def leaves(self, slot: int) -> None:
        """The process of this slot ends because it has lost the Router: what it runs is not to blame."""
        self._memory[(slot + 1) * SIZE - ADDRESS - LEFT] = 1

    def lives_at(self, slot: int, address: str) -> None:
        """The process of this slot can be given jobs there; empty: not yet."""
        self._memory[(slot + 1) * SIZE - ADDRESS - LEFT] = 0
        data = address.encode()[: ADDRESS - 1]
        at = (slot + 1) * SIZE - ADDRESS
        self._memory[at : at + ADDRESS] = data + bytes(ADDRESS - len(data))

    # the Broker's end

    def doing(self, slot: int) -> CurrentJob | None:
        """What the process of this slot does; None: nothing, or it is just changing."""
        at = slot * SIZE
        before, behind, since, length = HEAD.unpack_from(self._memory, at)
        if before != behind or not length:
            return None
        data = self._memory[at + HEAD.size : at + HEAD.size + length]
        if HEAD.unpack_from(self._memory, at)[0] != before:
            return None
        try:
            body = json.loads(data)
            return CurrentJob(body["id"], body["worker"], body["data"], body["timeout"], body["attempt"], since)
        except (ValueError, KeyError, TypeError):  # it changed while we read
            return None

    def has_left(self, slot: int) -> bool:
        """Whether the process of this slot has said that it `leaves`."""
        return bool(self._memory[(slot + 1) * SIZE - ADDRESS - LEFT])

    def address(self, slot: int) -> str:
        """Where the process of this slot lives; empty: not yet."""
        at = (slot + 1) * SIZE - ADDRESS
        return self._memory[at : at + ADDRESS].split(b"\0", 1)[0].decode()

    def close(self) -> None:
        """Give the memory back."""
        self._memory.close()
