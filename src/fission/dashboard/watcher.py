"""Watches a running network while a browser shows its page; costs the network nothing otherwise."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import Any

import msgspec

from fission.client.attach.follow import as_json
from fission.client.serve.control_server import Viewer
from fission.dashboard.document import difference, document, ended, without_nulls
from fission.errors import FissionError
from fission.protocol.messages.client_to_viewer import JobsMeasured, NetworkDescribed, RunFollowed, RunStatus
from fission.protocol.messages.run_events import EVENTS, RunEvent, ShowOutput
from fission.protocol.messages.viewer_to_client import DescribeNetwork, FollowRun, InspectRun, MeasureJobs

#: Seconds between two measurements; arbitrary: fast enough for the eye, and 200 jobs answer in a few milliseconds.
MEASURE_S = 0.5
#: Seconds between two attempts to find a network that does not run; arbitrary.
RETRY_S = 1.0
#: Seconds after which a thread notices that no browser shows the page; arbitrary.
LOOK_S = 0.2
#: Recent events that a new page gets, besides what jobs write; and lines of each job. Arbitrary.
HISTORY, LINES = 500, 100
#: Messages that may wait for a browser that does not read; then it gets the whole document again. Arbitrary.
MOST_WAITING = 64

#: (kind, value) for the browser: "document" and "patch" (`fission.dashboard.document`), "events" and "event"
#: (of `fission.protocol.messages.client_to_viewer`, with their time).
Message = tuple[str, Any]


class NetworkWatcher:
    """The present document of one network, and those who look at it.

    Attributes:
        folder: the network's folder.
    """

    def __init__(self, folder: Path, besides: Callable[[], Mapping[str, Any]] = dict) -> None:
        """Begin without a look at the network.

        Args:
            folder: the network's folder.
            besides: returns members of the document that do not come from the network.
        """
        self.folder = folder
        self._besides = besides
        self._document: dict[str, Any] = {}
        self._events: deque[dict[str, Any]] = deque(maxlen=HISTORY)
        self._lines: dict[int, deque[dict[str, Any]]] = {}  # by job: what one writes must not push out another's
        self._looking: set[asyncio.Queue[Message]] = set()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def is_watching(self) -> bool:
        """Whether the network is being asked."""
        return bool(self._tasks)

    async def messages(self) -> AsyncIterator[Message]:
        """Yield what a browser must learn, beginning with the whole document, until it is closed."""
        queue: asyncio.Queue[Message] = asyncio.Queue()
        self._looking.add(queue)
        if not self._tasks:
            self._tasks = [asyncio.create_task(self._measure()), asyncio.create_task(self._follow())]
        try:
            for message in self._whole():
                yield message
            while True:
                yield await queue.get()
        finally:
            self._looking.discard(queue)
            if not self._looking:
                await self.close()

    async def close(self) -> None:
        """Stop asking the network. Idempotent."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # the network

    async def _measure(self) -> None:
        while True:
            try:
                await self._measure_run()
            except FissionError as why:
                self._show(ended(self._document, str(why)))
                await asyncio.sleep(RETRY_S)

    async def _measure_run(self) -> None:
        """Measure until the network ends.

        Raises:
            UserError: it has ended, or does not run.
        """
        with await asyncio.to_thread(Viewer, self.folder) as viewer:
            description = as_json(await asyncio.to_thread(viewer.ask, DescribeNetwork(), NetworkDescribed))
            before = await asyncio.to_thread(_measured, viewer)
            while True:
                await asyncio.sleep(MEASURE_S)
                after = await asyncio.to_thread(_measured, viewer)
                self._show(document(description, before, after))
                before = after

    async def _follow(self) -> None:
        """Pass on what the run's own terminal shows."""
        loop = asyncio.get_running_loop()
        over = threading.Event()

        def tell(event: RunEvent | None) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._tell, event)

        try:
            while True:
                with contextlib.suppress(FissionError):
                    await asyncio.to_thread(_tell_events, self.folder, over, tell)
                await asyncio.sleep(RETRY_S)
        finally:
            over.set()

    # those who look

    def _show(self, fresh: dict[str, Any]) -> None:
        fresh = {**fresh, **self._besides()}
        patch = difference(self._document, fresh)
        self._document = fresh
        if patch:
            self._send(("patch", patch))

    def _tell(self, event: RunEvent | None) -> None:
        if event is None:  # a run begins, or is followed from its beginning again
            self._events.clear()
            self._lines.clear()
            self._send(("events", []))
            return
        found = {**msgspec.to_builtins(event), "event": type(event).__name__}
        found["at"] = found.get("at") or time.time()
        kept = self._lines.setdefault(event.job_id, deque(maxlen=LINES)) if isinstance(event, ShowOutput) else self._events
        kept.append(found)
        self._send(("event", found))

    def _send(self, message: Message) -> None:
        for queue in self._looking:
            if queue.qsize() < MOST_WAITING:
                queue.put_nowait(message)
                continue
            while not queue.empty():
                queue.get_nowait()
            for whole in self._whole():
                queue.put_nowait(whole)

    def _whole(self) -> list[Message]:
        events = sorted(chain(self._events, *self._lines.values()), key=itemgetter("at"))
        return [("document", without_nulls(self._document)), ("events", events)]


def _measured(viewer: Viewer) -> dict[str, Any]:
    return {**as_json(viewer.ask(InspectRun(), RunStatus)), **as_json(viewer.ask(MeasureJobs(), JobsMeasured))}


def _tell_events(folder: Path, over: threading.Event, tell: Callable[[RunEvent | None], None]) -> None:
    """Call ``tell`` with None, then with all events of a run until it ends or ``over`` is set. Blocks.

    Raises:
        UserError: the network is not running on this machine.
    """
    with Viewer(folder) as viewer:
        viewer.ask(FollowRun(outputs=True, events=True), RunFollowed)
        tell(None)
        for packet in viewer.packets(every=LOOK_S):
            if over.is_set():
                return
            if packet is not None:
                tell(EVENTS.decode(packet))
