"""Conversion of heads between the numbers that travel and the objects that a job with HEAD uses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fission.core.base_job import BaseJob
from fission.core.base_pipe import BasePipe, set_head_size
from fission.core.block_file import BlockFile
from fission.core.head import Head
from fission.errors import ValueFitError


class HeadsIn:
    """The heads of one job's inputs, read with the pipes' `read_head` if it is overridden."""

    def __init__(self, job: BaseJob, size: int) -> None:
        """Set the size of heads in the job's pipes.

        Args:
            job: job that the heads belong to.
            size: size of a head in bytes.
        """
        set_head_sizes(job, size)
        self._size = size
        self._readers = _overridden(job.inputs, "read_head")

    def shown(self, heads: Sequence[Any]) -> list[Any]:
        """Return one entry per input: a Head for a number, a list of Heads for a list."""
        size = self._size
        if self._readers is None:
            return [[Head(int(head), size) for head in entry] if isinstance(entry, list) else Head(int(entry), size) for entry in heads]
        return [
            [self._read(index, head) for head in entry] if isinstance(entry, list) else self._read(index, entry)
            for index, entry in enumerate(heads)
        ]

    def _read(self, index: int, head: Any) -> Head:
        read = self._readers and self._readers[index]
        number = int(head)
        return Head(int(read(BlockFile(number.to_bytes(self._size, "big")))) if read else number, self._size)


class HeadsOut:
    """The heads of one job's outputs, written with the pipes' `write_head` if it is overridden."""

    def __init__(self, job: BaseJob, size: int) -> None:
        """Set the size of heads; the arguments are those of `HeadsIn`."""
        set_head_sizes(job, size)
        self._job, self._size = job, size
        self._writers = _overridden(job.outputs, "write_head")

    def sent(self, heads: list[int]) -> list[int]:
        """Return one number per output.

        Raises:
            ValueFitError: `write_head` wrote the wrong number of bytes.
        """
        if self._writers is None:
            return heads
        return [self._written(index, head) for index, head in enumerate(heads)]

    def _written(self, index: int, head: int) -> int:
        write = self._writers and self._writers[index]
        if not write:
            return head
        file = BlockFile()
        write(file, Head(head, self._size))
        data = file.take()
        if len(data) != self._size:
            where = f"{self._job._fission_name}, output {index + 1}"
            must = f"write_head of {self._job.outputs[index]} must write {self._size} bytes (HEAD_SIZE)"
            raise ValueFitError(f"{where}: {must}, but wrote {len(data)}")
        return int.from_bytes(data, "big")


def set_head_sizes(job: BaseJob, size: int) -> None:
    """Have the job's pipes read and write heads of `size` bytes."""
    for pipe in (*job.inputs, *job.outputs):
        set_head_size(pipe, size)


def _overridden(pipes: Sequence[BasePipe], method: str) -> list[Callable[..., Any] | None] | None:
    """Return each pipe's overridden method, or None for a pipe without; None if no pipe has one."""
    own = [getattr(pipe, method) if getattr(type(pipe), method) is not getattr(BasePipe, method) else None for pipe in pipes]
    return own if any(own) else None
