"""Ending the asyncio tasks that work with Dask."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

#: Seconds before cancelled tasks are cancelled again. Arbitrary: longer than an orderly end takes.
AGAIN_S = 3.0


async def end_all(tasks: Iterable[asyncio.Future[Any]]) -> None:
    """Cancel tasks and wait until they have ended; their exceptions are dropped.

    The cancellation is repeated: Dask, and `asyncio.wait_for` before Python 3.12, can swallow it.
    """
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            task.cancel()
        done, left = await asyncio.wait(left, timeout=AGAIN_S)
        for task in done:
            if not task.cancelled():
                task.exception()  # marks the exception as retrieved
