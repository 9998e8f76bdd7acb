"""Everything that happens to a run, in one queue: the events of its engine, and the messages of its jobs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

from fission.adapters.zmq_jobs import ZmqJobTransport
from fission.errors import RemoteProtocolError
from fission.ports import Engine, EngineEvent
from fission.protocol import frames
from fission.protocol.frames import JobMessage
from fission.protocol.messages.job_to_client import JobToClient

log = logging.getLogger("fission.client")


class Inbox:
    """The queue of one run.

    Attributes:
        receivers: what takes messages of further classes. Those change nothing and bypass the queue; only messages of a job's newest
            incarnation are taken.
    """

    def __init__(self, engine: Engine, desk: ZmqJobTransport, incarnation: Callable[[int], int]) -> None:
        """Args: engine, desk: where things come from. incarnation: the newest incarnation of a job."""
        self._engine, self._desk, self._incarnation = engine, desk, incarnation
        self._queue: asyncio.Queue[EngineEvent | JobMessage] = asyncio.Queue()
        self._feeders: list[asyncio.Task[None]] = []
        self._next: asyncio.Future[EngineEvent | JobMessage] | None = None
        self.receivers: dict[type[JobToClient], Callable[[JobMessage], None]] = {}

    async def __aenter__(self) -> Inbox:
        """Begin to listen."""
        self._feeders = [asyncio.create_task(self._feed_events()), asyncio.create_task(self._feed_messages())]
        return self

    async def __aexit__(self, *failed: object) -> None:
        """Listen no more."""
        tasks: list[asyncio.Future[Any]] = [*self._feeders, *([self._next] if self._next is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def next(self, patience_s: float | None) -> EngineEvent | JobMessage | None:
        """Return what happened next; None if nothing did for so long."""
        if self._next is None:
            self._next = asyncio.ensure_future(self._queue.get())
        # not wait_for, which would swallow the order to end that comes together with an event (Python below 3.12)
        await asyncio.wait({self._next}, timeout=patience_s)
        if not self._next.done():
            return None
        event, self._next = self._next.result(), None
        return event

    async def _feed_events(self) -> None:
        async for event in self._engine.events():
            self._queue.put_nowait(event)

    async def _feed_messages(self) -> None:
        async for message in self._desk.words():
            try:
                found = self._decode(message)
                receive = self.receivers.get(type(found.message))
                if receive is None:
                    self._queue.put_nowait(found)
                    continue
                if found.incarnation == self._incarnation(found.job):
                    receive(found)
                await asyncio.sleep(0)  # there may be many: pulses must not wait for them
            except RemoteProtocolError as why:
                log.warning("dropped a malformed message: %s", why)

    def _decode(self, message: Sequence[frames.Buffer]) -> JobMessage:
        """Return the message of an incarnation that exists. Raises RemoteProtocolError: it is anything else."""
        found = frames.decode(message)
        if not isinstance(found, JobMessage):
            raise RemoteProtocolError(f"a {type(found).__name__} does not belong on the client's link")
        try:
            newest = self._incarnation(found.job)
        except KeyError:
            newest = 0
        if not 0 < found.incarnation <= newest:
            raise RemoteProtocolError(f"job {found.job} has no incarnation {found.incarnation}")
        return found
