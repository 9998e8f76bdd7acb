"""Tasks are cancelled until they end."""

from __future__ import annotations

import asyncio
from unittest import mock

from fission.adapters.cluster import ending


def test_a_task_that_swallows_its_cancellation_is_cancelled_again() -> None:
    async def main() -> int:
        swallowed = 0

        async def deaf() -> None:
            nonlocal swallowed
            while swallowed < 2:
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    swallowed += 1
            await asyncio.Event().wait()

        task = asyncio.ensure_future(deaf())
        await asyncio.sleep(0)
        with mock.patch.object(ending, "AGAIN_S", 0.01):
            await asyncio.wait_for(ending.end_all([task]), 10)
        assert task.cancelled()
        return swallowed

    assert asyncio.run(main()) == 2


def test_an_exception_of_a_cancelled_task_is_ignored() -> None:
    async def main() -> None:
        async def fails() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                raise ValueError("at the end")

        task = asyncio.ensure_future(fails())
        await asyncio.sleep(0)
        await asyncio.wait_for(ending.end_all([task]), 10)

    asyncio.run(main())
