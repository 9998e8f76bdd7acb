"""Everything that happens to a run, in one queue: what its engine tells, and the words of its jobs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from fission.adapters.zmq_jobs import ZmqJobTransport
from fission.errors import RemoteProtocolError
from fission.ports import Engine, EngineEvent
from fission.protocol import frames
from fission.protocol.frames import Word
from fission.protocol.words import check_word

log = logging.getLogger("fission.client")


class Inbox:
    """The queue of one run.

    Attributes:
        hearers: who takes further words, by what they say. Those change nothing and do not stand in the queue; only the newest life
            of a job is heard.
    """

    def __init__(self, engine: Engine, desk: ZmqJobTransport, incarnation: Callable[[int], int]) -> None:
        """Args: engine, desk: where things come from. incarnation: the newest life of a job."""
        self._engine, self._desk, self._incarnation = engine, desk, incarnation
        self._queue: asyncio.Queue[EngineEvent | Word] = asyncio.Queue()
        self._feeders: list[asyncio.Task[None]] = []
        self._next: asyncio.Future[EngineEvent | Word] | None = None
        self.hearers: dict[str, Callable[[Word], None]] = {}

    async def __aenter__(self) -> Inbox:
        """Begin to listen."""
        self._feeders = [asyncio.create_task(self._feed_events()), asyncio.create_task(self._feed_words())]
        return self

    async def __aexit__(self, *failed: object) -> None:
        """Listen no more."""
        tasks: list[asyncio.Future[Any]] = [*self._feeders, *([self._next] if self._next is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def next(self, patience_s: float | None) -> EngineEvent | Word | None:
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

    async def _feed_words(self) -> None:
        async for message in self._desk.words():
            try:
                word = check_word(frames.decode(message), self._known)
                if word.body["say"] not in self.hearers:
                    self._queue.put_nowait(word)
                    continue
                if word.incarnation == self._incarnation(word.job):
                    self.hearers[word.body["say"]](word)
                await asyncio.sleep(0)  # there may be many: pulses must not wait for them
            except RemoteProtocolError as why:
                log.warning("dropped a word that is none: %s", why)

    def _known(self, job: int) -> int | None:
        try:
            return self._incarnation(job)
        except KeyError:
            return None
