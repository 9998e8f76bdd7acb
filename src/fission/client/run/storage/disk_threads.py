"""Where the client writes to the disk: apart from its event loop, or in it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol, TypeVar

Result = TypeVar("Result")

#: Number of writes at a time. Arbitrary: a file system with a journal commits them together, so that several jobs wait for one
#: commit, and further ones gain nothing.
WRITES = 4


class Disk(Protocol):
    """Carries out work that waits for the disk."""

    def submit(self, work: Callable[[], Result], done: Callable[[Result], None]) -> Callable[[], object]:
        """Carry out work, then call ``done`` with its result, in the event loop.

        Args:
            work: does not raise.
            done: called after the work.

        Returns:
            Function that blocks until the work is finished; ``done`` may follow later.
        """
        ...

    def close(self) -> None:
        """Block until all work is finished."""
        ...


class DiskInline:
    """A `Disk` that works at once, in the caller's thread."""

    def submit(self, work: Callable[[], Result], done: Callable[[Result], None]) -> Callable[[], object]:
        """Carry out work, and call ``done``, before it returns."""
        done(work())
        return lambda: None

    def close(self) -> None:
        """Do nothing: no work is left."""


class DiskThreads:
    """A `Disk` with threads of its own."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(WRITES, thread_name_prefix="fission-disk")

    def submit(self, work: Callable[[], Result], done: Callable[[Result], None]) -> Callable[[], object]:
        """Carry out work in a thread; see `Disk.submit`."""
        loop = asyncio.get_running_loop()
        future = self._pool.submit(work)

        def finished(future: Future[Result]) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(lambda: done(future.result()))

        future.add_done_callback(finished)
        return future.result

    def close(self) -> None:
        """Block until all work is finished, and end the threads."""
        self._pool.shutdown(wait=True)
