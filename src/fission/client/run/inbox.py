"""Everything that happens to a run, in one queue: its engine's events and its jobs' messages."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence

from fission.adapters.zmq_jobs import ZmqJobTransport
from fission.errors import RemoteProtocolError
from fission.ports import Engine, EngineEvent
from fission.protocol import frames
from fission.protocol.link_messages import JobMessage
from fission.protocol.messages.job_to_client import JobToClient

log = logging.getLogger("fission.client")


class Inbox:
    """The queue of one run.

    Attributes:
        receivers: handlers of additional message classes. They change nothing and bypass the queue;
            they get messages of a job's newest incarnation only.
    """

    def __init__(self, engine: Engine, transport: ZmqJobTransport, incarnation: Callable[[int], int]) -> None:
        """Prepare the queue.

        Args:
            engine: source of events.
            transport: source of messages.
            incarnation: returns the newest incarnation of a job.
        """
        self._engine, self._transport, self._incarnation = engine, transport, incarnation
        self._queue: deque[EngineEvent | JobMessage] = deque()
        self._filled = asyncio.Event()
        self._feeders: list[asyncio.Task[None]] = []
        self.receivers: dict[type[JobToClient], Callable[[JobMessage], None]] = {}

    async def __aenter__(self) -> Inbox:
        """Begin to listen."""
        self._feeders = [asyncio.create_task(self._feed_events()), asyncio.create_task(self._feed_messages())]
        return self

    async def __aexit__(self, *failed: object) -> None:
        """Stop listening."""
        for task in self._feeders:
            task.cancel()
        await asyncio.gather(*self._feeders, return_exceptions=True)

    async def next(self, patience_s: float | None) -> EngineEvent | JobMessage | None:
        """Return what happens next; None if nothing happens within ``patience_s`` seconds."""
        if self._queue:
            await asyncio.sleep(0)  # there may be many, and others need the loop too
        else:
            self._filled.clear()
            timer = None if patience_s is None else asyncio.get_running_loop().call_later(patience_s, self._filled.set)
            try:
                await self._filled.wait()
            finally:
                if timer is not None:
                    timer.cancel()
        return self._queue.popleft() if self._queue else None

    def _put(self, event: EngineEvent | JobMessage) -> None:
        self._queue.append(event)
        self._filled.set()

    async def _feed_events(self) -> None:
        async for event in self._engine.events():
            self._put(event)

    async def _feed_messages(self) -> None:
        async for message in self._transport.messages():
            try:
                found = self._decode(message)
                receive = self.receivers.get(type(found.message))
                if receive is None:
                    self._put(found)
                    continue
                if found.incarnation == self._incarnation(found.job):
                    receive(found)
                await asyncio.sleep(0)  # there may be many, and pulses must not wait for them
            except RemoteProtocolError as why:
                log.warning("dropped a malformed message: %s", why)

    def _decode(self, message: Sequence[frames.Buffer]) -> JobMessage:
        """Decode a message of an existing incarnation.

        Raises:
            RemoteProtocolError: the message is anything else.
        """
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
