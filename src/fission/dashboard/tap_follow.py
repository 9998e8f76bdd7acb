"""Taps pipes of the running network while a browser shows them, and passes updates on.

Viewers with the same options share one tap. A tap ends with its last viewer; a viewer that takes
nothing for a while is one that is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from fission.client.serve.control_server import Viewer
from fission.client.serve.taps import split
from fission.dashboard.tap_view import PipeView, TapOptions
from fission.errors import FissionError, UserError
from fission.protocol import tapped
from fission.protocol.messages.client_to_viewer import NetworkDescribed, PipesTapped
from fission.protocol.messages.viewer_to_client import DescribeNetwork, TapPipes
from fission.protocol.tapped import Follower, Timeline

#: Seconds between two updates, so at most four in a second. Arbitrary: as often as the page draws.
UPDATE_S = 0.25
#: Bytes of copies in each `UPDATE_S`; of larger blocks, eight times as many. Arbitrary: enough for music in float64, and for a picture of
#: 1000 x 1000 pixels in each update.
CREDIT = 128 << 10
#: Bytes of the largest message that is copied; arbitrary: a picture of two million pixels in colour.
LARGEST = 8 << 20
#: Seconds after which a thread notices that no browser shows the pipe; arbitrary.
LOOK_S = 0.1
#: Seconds between two attempts to tap a pipe that is not there now; arbitrary.
RETRY_S = 1.0
#: Seconds after which something is sent in any case, so that a browser that is gone is noticed. Arbitrary.
SIGN_S = 5.0
#: Seconds after which a viewer counts as gone if it takes nothing; arbitrary: longer than a browser is stalled.
STALLED_S = 15.0
#: Seconds for a thread to end; arbitrary: it ends by itself once the network's client answers.
END_S = 1.0
#: Updates that wait for a viewer; older ones are dropped. Arbitrary.
MOST_WAITING = 4
#: Pipes that are tapped at a time; arbitrary: more than one page shows.
MOST_TAPS = 16

log = logging.getLogger("fission.dashboard")

#: What a browser gets: an update of `PipeView`, or {"reason": text} while there are none.
Update = dict[str, Any]


class PipeTaps:
    """The taps of one network's page."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin without a tap.

        Args:
            folder: the network's folder.
            clock: returns seconds; decides only which viewers are gone.
        """
        self._folder = folder
        self._clock = clock
        self._taps: dict[TapOptions, _SharedTap] = {}
        self._ending: list[_SharedTap] = []

    @property
    def open(self) -> int:
        """Number of pipes that are tapped."""
        return len(self._taps)

    def check(self, options: TapOptions) -> None:
        """Check that a viewer may be added.

        Raises:
            UserError: there are too many.
        """
        if options not in self._taps and len(self._taps) >= MOST_TAPS:
            raise UserError(f"{MOST_TAPS} pipes are open already, on all pages of this server; close one")

    async def updates(self, options: TapOptions) -> AsyncIterator[Update]:
        """Yield updates of a pipe until the iterator is closed, or has not been asked for one for `STALLED_S`.

        Raises:
            UserError: there are too many.
        """
        self.check(options)
        tap = self._taps.get(options)
        if tap is None:
            tap = self._taps[options] = _SharedTap(self._folder, options, lambda: self._remove(options))
        viewer = _Viewer(self._clock)
        tap.viewers.add(viewer)
        try:
            yield {"passed": 0, "values": [], "kind": "nothing"}
            while viewer in tap.viewers:
                yield await viewer.next()
        finally:
            tap.leave(viewer)

    async def close(self) -> None:
        """End all taps. Idempotent."""
        for tap in list(self._taps.values()):
            tap.end()
        for tap in self._ending:
            await asyncio.to_thread(tap.join)
        self._ending.clear()

    def _remove(self, options: TapOptions) -> None:
        tap = self._taps.pop(options, None)
        self._ending = [former for former in self._ending if former.is_alive]
        if tap is not None:
            self._ending.append(tap)


class _Viewer:
    """One browser that shows a pipe."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._queue: asyncio.Queue[Update] = asyncio.Queue(MOST_WAITING)
        self._asked_at: float | None = clock()  # None: it waits for an update

    async def next(self) -> Update:
        self._asked_at = None
        update = await self._queue.get()
        self._asked_at = self._clock()
        return update

    def put(self, update: Update) -> None:
        if self._queue.full():
            self._queue.get_nowait()
        self._queue.put_nowait(update)

    @property
    def is_gone(self) -> bool:
        return self._asked_at is not None and self._clock() - self._asked_at > STALLED_S


class _SharedTap:
    """One pipe with the same options: a thread that follows it, and its viewers."""

    def __init__(self, folder: Path, options: TapOptions, on_end: Callable[[], None]) -> None:
        self.viewers: set[_Viewer] = set()
        self._on_end = on_end
        self._over = threading.Event()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, args=(folder, options), name=f"tap of pipe {options.pipe}", daemon=True)
        self._thread.start()

    # in the loop

    def leave(self, viewer: _Viewer) -> None:
        self.viewers.discard(viewer)
        if not self.viewers:
            self.end()

    def end(self) -> None:
        if not self._over.is_set():
            self._over.set()
            self._on_end()

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def join(self) -> None:
        self._thread.join(END_S)

    def _tell(self, update: Update) -> None:
        for viewer in list(self.viewers):
            viewer.put(update)
            if viewer.is_gone:
                self.leave(viewer)

    # in the thread

    def _run(self, folder: Path, options: TapOptions) -> None:
        while not self._over.is_set():
            try:
                self._follow(folder, options)
                reason = f"pipe {options.pipe} has ended"
            except FissionError as why:
                reason = str(why)
            except Exception as why:  # a panel must not just stay as it is
                log.error("the tap of pipe %d has ended, and begins again", options.pipe, exc_info=why)
                reason = f"the page's server has a fault and tries again: {type(why).__name__}: {why}"
            self._send({"reason": reason})
            self._over.wait(RETRY_S)

    def _send(self, update: Update) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._tell, update)

    def _follow(self, folder: Path, options: TapOptions) -> None:
        """Follow the pipe until it ends or no viewer shows it.

        Raises:
            UserError: the network does not run, or the pipe is unknown or has ended.
            RemoteProtocolError: what has come is malformed.
        """
        with Viewer(folder) as viewer:
            pipes = viewer.ask(DescribeNetwork(), NetworkDescribed).pipes
            encoding = next((pipe.encoding for pipe in pipes if pipe.id == options.pipe), "bytes")
            viewer.ask(TapPipes(pipes=(options.pipe,), credit=CREDIT, every_s=UPDATE_S, largest=LARGEST), PipesTapped)
            view, follower = PipeView(options, encoding, LARGEST), Follower()
            timeline = Timeline(time.time(), time.monotonic())
            sent_at = 0.0
            for packet in viewer.packets(every=LOOK_S):
                if self._over.is_set():
                    return
                now = time.monotonic()
                if packet is not None:
                    pipe, batch = split(packet)
                    for stamp, message in tapped.decode(batch):
                        seen = follower.take(stamp, message)
                        if seen is not None:
                            view.add(timeline.at(pipe, stamp, now), seen)
                if now - sent_at >= (UPDATE_S if view.has_news else SIGN_S):
                    sent_at = now
                    self._send({**view.update(), "missed": follower.missed})
