"""The queue of a run: a request to end that arrives together with an event is not lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from fission.client.run.inbox import Inbox
from fission.ports import EngineNotice


class Silent:
    """An engine and a job channel that send nothing."""

    async def events(self) -> AsyncIterator[Any]:
        await asyncio.Event().wait()
        yield

    async def messages(self) -> AsyncIterator[Any]:
        await asyncio.Event().wait()
        yield


def test_the_order_to_end_is_not_lost_with_an_event() -> None:
    """`asyncio.wait_for` before Python 3.12 returns the event instead."""

    async def main() -> None:
        silent: Any = Silent()
        async with Inbox(silent, silent, lambda job: 1) as inbox:
            waiting = asyncio.ensure_future(inbox.next(10))
            await asyncio.sleep(0.01)
            inbox._queue.put_nowait(EngineNotice("something"))
            await asyncio.sleep(0)  # the event has been taken, but not returned yet
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert await inbox.next(1) == EngineNotice("something")  # nor is the event
            assert await inbox.next(0.01) is None

    asyncio.run(main())
