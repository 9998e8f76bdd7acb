"""Everything that happens to a run, in one queue: what its engine tells, and the words of its jobs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from fission.adapters.zmq_desk import ZmqDesk
from fission.errors import RemoteProtocolError
from fission.ports import Engine, EngineEvent
from fission.protocol import frames
from fission.protocol.frames import Word

log = logging.getLogger("fission.client")


class Inbox:
    """The queue of one run.

    Attributes:
        hearers: who takes further words, by what they say. Those change nothing and do not stand in the queue; only the newest life
            of a job is heard.
    """

    def __init__(self, engine: Engine, desk: ZmqDesk, incarnation: Callable[[int], int]) -> None:
        """Args: engine, desk: where things come from. incarnation: the newest life of a job."""
        self._engine, self._desk, self._incarnation = engine, desk, incarnation
        self._queue: asyncio.Queue[EngineEvent | Word] = asyncio.Queue()
        self._feeders: list[asyncio.Task[None]] = []
        self.hearers: dict[str, Callable[[Word], None]] = {}

    async def __aenter__(self) -> Inbox:
        """Begin to listen."""
        self._feeders = [asyncio.create_task(self._feed_events()), asyncio.create_task(self._feed_words())]
        return self

    async def __aexit__(self, *failed: object) -> None:
        """Listen no more."""
        for task in self._feeders:
            task.cancel()
        await asyncio.gather(*self._feeders, return_exceptions=True)

    async def next(self, patience_s: float | None) -> EngineEvent | Word | None:
        """Return what happened next; None if nothing did for so long."""
        try:
            return await asyncio.wait_for(self._queue.get(), patience_s)
        except asyncio.TimeoutError:
            return None

    async def _feed_events(self) -> None:
        async for event in self._engine.events():
            self._queue.put_nowait(event)

    async def _feed_words(self) -> None:
        async for message in self._desk.words():
            try:
                word = _word(frames.decode(message))
                if word.body["say"] not in self.hearers:
                    self._queue.put_nowait(word)
                    continue
                if word.incarnation == self._incarnation(word.job):
                    self.hearers[word.body["say"]](word)
                await asyncio.sleep(0)  # there may be many: pulses must not wait for them
            except RemoteProtocolError as why:
                log.warning("dropped a word that is none: %s", why)


def _word(message: Any) -> Word:
    if not isinstance(message, Word):
        raise RemoteProtocolError(f"a {type(message).__name__} is no word")
    return message
