"""The groups that a node announces by itself, because its machine has a microphone or a loudspeaker."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable

from fission.core.groups import ANNOUNCED

#: Asks PortAudio whether a device records, and whether one plays. In a process of its own, which ends at once: PortAudio's handles must
#: not be in a service that forks, and a sound card must not be held.
PROBE = """
import json, sounddevice
found, number = [], 0
try:
    while True:
        try:
            found.append(sounddevice.query_devices(number))
        except UnicodeDecodeError:  # it cannot be opened either
            pass
        number += 1
except sounddevice.PortAudioError:  # there is none with this number
    pass
print(json.dumps([any(device[f"max_{way}_channels"] for device in found) for way in ("input", "output")]))
"""
#: Longest time in seconds that the process may take, that a client waits for it, and that an answer is valid for. Arbitrary: it takes
#: 0.3 s on a PC and 2 s on a small board; a user who plugs a microphone in and starts a network is slower than the last.
LIMIT_S, WAIT_S, VALID_S = 20.0, 3.0, 5.0


async def probe() -> tuple[str, ...]:
    """Return the groups of this machine; none if sounddevice is not installed or does not work."""
    if importlib.util.find_spec("sounddevice") is None:
        return ()
    null = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROBE, stdin=null, stdout=asyncio.subprocess.PIPE, stderr=null, cwd="/", env={**os.environ}
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), LIMIT_S)
        return tuple(group for group, there in zip(ANNOUNCED, json.loads(output), strict=True) if there)
    except (ValueError, TypeError, asyncio.TimeoutError):  # sounddevice failed, or hangs
        return ()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


class AnnouncedGroups:
    """What a service tells clients, newly found out for each of them."""

    def __init__(
        self,
        fixed: tuple[str, ...] | None,
        find: Callable[[], Awaitable[tuple[str, ...]]] = probe,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare.

        Args:
            fixed: groups to announce whatever the machine has; None: those that it has.
            find: returns the groups of the machine.
            clock: returns the time in seconds.
        """
        self._fixed, self._find, self._clock = fixed, find, clock
        self._found: tuple[str, ...] = ()
        self._found_at = -VALID_S
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Find out, while the service starts."""
        if self._fixed is None and self._task is None and self._clock() - self._found_at >= VALID_S:
            self._task = asyncio.ensure_future(self._look())

    async def current(self, *, fresh: bool = True) -> tuple[str, ...]:
        """Return the groups; waits for at most `WAIT_S`.

        Args:
            fresh: whether an older answer is found out again. A running job may hold the device, which is then
                not found.
        """
        if self._fixed is not None:
            return self._fixed
        if fresh:
            self.begin()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=WAIT_S)
        return self._found

    async def close(self) -> None:
        """End the process that looks. Idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _look(self) -> None:
        try:
            self._found = await self._find()
        except OSError:  # no process, or no memory
            self._found = ()
        self._found_at, self._task = self._clock(), None
