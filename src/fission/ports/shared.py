"""Large buffers in the shared memory of a machine."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from fission.ports.names import JobId


class Lease(Protocol):
    """A large buffer in shared memory; its readers can read it as long as the lease is held.

    Attributes:
        nbytes: length of the buffer in bytes.
        readers: outputs that it was lent to.
    """

    nbytes: int
    readers: Collection[int]

    @property
    def handed_on(self) -> bool:
        """Whether the buffer is in the memory of another job, from which this job received it."""
        ...

    def view(self) -> memoryview:
        """Return the buffer itself; it does not change as long as the lease is held."""
        ...

    def pack(self, reader: int) -> bytes:
        """Return the descriptor that a reader is sent instead of the buffer."""
        ...


class SharedWriter(Protocol):
    """The producer's side of shared memory for large buffers.

    Its readers are its outputs, numbered from 0.
    """

    refused: int

    def lend(self, buffer: Any, readers: Sequence[int] | None = None) -> Lease | None:
        """Copy a buffer for some readers (by default all).

        None if there is no room; the buffer must then be sent in another way.
        """
        ...

    def allocate(self, size: int) -> Any:
        """Return memory for one array, a `fission.core.new_arrays.NewMemory`; None if there is no room.

        It is freed when neither it nor a lease of it is referenced.
        """
        ...

    def lend_memory(self, memory: Any, readers: Sequence[int]) -> Lease | None:
        """Lend an array's memory to some readers without a copy; None if it is not of `allocate`."""
        ...

    def forget_reader(self, reader: int, incarnation: int) -> None:
        """Ignore the buffers that older incarnations of a reader hold.

        ``incarnation`` is the reader's current one.
        """
        ...

    def close(self) -> None:
        """Free the memory; readers keep the buffers that they hold."""
        ...


class Taken(Protocol):
    """A block of shared memory that a job holds."""

    @property
    def producer(self) -> JobId:
        """The job that has put the block there."""
        ...

    @property
    def taken_for(self) -> Any:
        """The value of ``taken_for`` that `SharedReader.get` was given."""
        ...

    def lease(self, numbers: Mapping[int, int]) -> Lease:
        """Hand the block on to some outputs.

        ``numbers`` has the producer's reader number of each of these outputs.
        """
        ...


class SharedReader(Protocol):
    """The consumer's side of shared memory for large buffers."""

    def get(self, descriptor: Any, taken_for: Any = None) -> memoryview:
        """Return the buffer, read-only; it remains valid as long as anything refers to it.

        Raises:
            RemoteProtocolError: the descriptor is invalid, or its buffer is gone.
        """
        ...

    def taken(self, buffer: memoryview) -> Taken | None:
        """Return the block that a buffer is the whole of.

        None if it is not a whole buffer that `get` has returned.
        """
        ...

    def close(self) -> None:
        """Free the buffers that are not referenced."""
        ...
