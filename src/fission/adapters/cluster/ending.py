"""The end of what works with Dask."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

#: Seconds until tasks that were cancelled are cancelled again. Arbitrary: longer than they need to end in order.
AGAIN_S = 3.0


async def end_all(tasks: Iterable[asyncio.Future[Any]]) -> None:
    """Cancel tasks and wait until they have ended; what they raise is dropped.

    They are cancelled again and again: Dask, and `asyncio.wait_for` before Python 3.12, can swallow it.
    """
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            task.cancel()
        done, left = await asyncio.wait(left, timeout=AGAIN_S)
        for task in done:
            if not task.cancelled():
                task.exception()  # it is taken note of
