"""Big buffers in the shared memory of a machine."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from fission.ports.names import JobId


class Lease(Protocol):
    """A big buffer in shared memory, there for its readers for as long as somebody keeps the lease.

    Attributes:
        nbytes: its length.
        readers: outputs that it was lent for.
    """

    nbytes: int
    readers: Collection[int]

    @property
    def handed_on(self) -> bool:
        """Whether it is in the memory of another job, which this one got it from."""
        ...

    def view(self) -> memoryview:
        """Return the buffer itself; it is as it was lent for as long as somebody keeps the lease."""
        ...

    def pack(self, reader: int) -> bytes:
        """Return what travels to a reader instead of the buffer."""
        ...


class SharedWriter(Protocol):
    """The producer's side of shared memory for big buffers; its readers are its outputs, numbered from 0."""

    refused: int

    def lend(self, buffer: Any, readers: Sequence[int] | None = None) -> Lease | None:
        """Copy a buffer for some readers (by default all); None if there is no room, so that it must go another way."""
        ...

    def forget_reader(self, reader: int, incarnation: int) -> None:
        """A reader lives its ``incarnation``: what older lives of it hold does not count any more."""
        ...

    def close(self) -> None:
        """Give the memory back; what readers hold stays theirs."""
        ...


class Taken(Protocol):
    """A block of shared memory that a job holds."""

    @property
    def producer(self) -> JobId:
        """The job that has put it there."""
        ...

    @property
    def taken_for(self) -> Any:
        """What `SharedReader.get` was told."""
        ...

    def lease(self, numbers: Mapping[int, int]) -> Lease:
        """Hand it on to some outputs; ``numbers``: of each of them, as the producer numbers its readers."""
        ...


class SharedReader(Protocol):
    """The consumer's side of it."""

    def get(self, descriptor: Any, taken_for: Any = None) -> memoryview:
        """Return the buffer, read-only; it is there as long as anything refers to it. Raises RemoteProtocolError."""
        ...

    def taken(self, buffer: memoryview) -> Taken | None:
        """Return what a buffer is the whole of, if it is one that `get` has given."""
        ...

    def close(self) -> None:
        """Give back what nobody refers to."""
        ...
