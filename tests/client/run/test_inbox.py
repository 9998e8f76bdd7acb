"""The queue of a run: a request to end that arrives together with an event is not lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from fission.client.run.inbox import Inbox
from fission.ports import EngineNotice


class Silent:
    """A job channel that sends nothing."""

    async def messages(self) -> AsyncIterator[Any]:
        await asyncio.Event().wait()
        yield


class Reporting:
    """An engine that reports what it is given."""

    def __init__(self) -> None:
        self.reports: asyncio.Queue[EngineNotice] = asyncio.Queue()

    async def events(self) -> AsyncIterator[Any]:
        while True:
            yield await self.reports.get()


def test_the_order_to_end_is_not_lost_with_an_event() -> None:
    """`asyncio.wait_for` before Python 3.12 returns the event instead."""

    async def main() -> None:
        silent: Any = Silent()
        engine: Any = Reporting()
        async with Inbox(engine, silent, lambda job: 1) as inbox:
            waiting = asyncio.ensure_future(inbox.next(10))
            await asyncio.sleep(0.01)
            engine.reports.put_nowait(EngineNotice("something"))
            await asyncio.sleep(0)  # the event has been taken, but not returned yet
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert await inbox.next(1) == EngineNotice("something")  # nor is the event
            assert await inbox.next(0.01) is None

    asyncio.run(main())


def test_events_come_in_their_order_and_leave_the_loop_to_others() -> None:
    async def main() -> None:
        silent: Any = Silent()
        engine: Any = Reporting()
        turns = 0

        async def other() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        async with Inbox(engine, silent, lambda job: 1) as inbox:
            for number in range(50):
                engine.reports.put_nowait(EngineNotice(str(number)))
            beside = asyncio.ensure_future(other())
            assert [await inbox.next(None) for _ in range(50)] == [EngineNotice(str(number)) for number in range(50)]
            assert turns >= 49
            beside.cancel()

    asyncio.run(main())
