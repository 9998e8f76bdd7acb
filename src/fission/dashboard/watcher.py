"""Watches a running network while a browser shows its page; otherwise asks it once in a while, for the charts of later pages."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from fission.client.attach.follow import as_json
from fission.client.serve.control_server import Viewer
from fission.dashboard.document import document, ended
from fission.dashboard.history import RateHistory
from fission.dashboard.on_demand import OnDemandThread
from fission.dashboard.updates import Message, PageUpdates
from fission.errors import FissionError
from fission.protocol.messages.client_to_viewer import JobsMeasured, NetworkDescribed, RunFollowed, RunStatus
from fission.protocol.messages.run_events import EVENTS, RunEvent, ShowOutput
from fission.protocol.messages.viewer_to_client import DescribeNetwork, FollowRun, InspectRun, MeasureJobs

#: Seconds between two measurements; arbitrary: fast enough for the eye, and 200 jobs answer in a few milliseconds.
MEASURE_S = 0.5
#: Measurements over which rates are computed; arbitrary: two seconds, so that a block per second is not now two and then none.
WINDOW = 4
#: Seconds between two measurements while no browser shows the page. Arbitrary: a tenth of the cost of one that does.
UNSEEN_S = 5.0
#: Seconds between two attempts to find a network that does not run; arbitrary.
RETRY_S = 1.0
#: Seconds after which a thread notices that no browser shows the page; arbitrary.
LOOK_S = 0.2
#: Messages that may wait for a browser that does not read; then it gets the whole document again. Arbitrary.
MOST_WAITING = 64
#: Seconds after which a browser counts as gone if it takes nothing; arbitrary: longer than one is stalled.
STALLED_S = 30.0

log = logging.getLogger("fission.dashboard")


class _Browser:
    """One browser that shows the page.

    Attributes:
        waiting: messages for it; None: there are no more.
        taken_at: when it last took one, or had taken all.
    """

    def __init__(self, now: float) -> None:
        self.waiting: asyncio.Queue[Message | None] = asyncio.Queue()
        self.taken_at = now


class NetworkWatcher:
    """The present document of one network, and those who look at it.

    Two threads ask the network while a browser shows it. Whatever happens in them, they continue, and the
    page says what it was.

    Attributes:
        folder: the network's folder.
    """

    def __init__(
        self, folder: Path, besides: Callable[[], Mapping[str, Any]] = dict, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Begin without a look at the network.

        Args:
            folder: the network's folder.
            besides: returns members of the document that do not come from the network.
            clock: returns seconds; decides when browsers are sent something, and which of them are gone.
        """
        self.folder = folder
        self._besides, self._clock = besides, clock
        self._updates = PageUpdates()
        self._sending: asyncio.TimerHandle | None = None
        self._looking: set[_Browser] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._fault = ""  # the last one that was logged
        self._history = RateHistory()
        self._past: tuple[dict[str, Any], dict[str, Any]] | None = None  # description and last measures while no browser looked
        self._remembering = OnDemandThread("history of the page", self._measure_seldom, self._unseen, UNSEEN_S)
        self._threads = (
            OnDemandThread("measures of the page", self._measure_run, self._lost, RETRY_S),
            OnDemandThread("events of the page", self._follow_run, self._unfollowed, RETRY_S),
        )

    @property
    def is_watching(self) -> bool:
        """Whether the network is being asked."""
        return any(thread.is_wanted for thread in self._threads)

    async def messages(self) -> AsyncIterator[Message]:
        """Yield what a browser must learn, beginning with the whole document, until it is closed or
        has taken nothing for `STALLED_S`.
        """
        self._loop = asyncio.get_running_loop()
        browser = _Browser(self._clock())
        self._looking.add(browser)
        for thread in self._threads:
            thread.want()
        try:
            for message in self._updates.whole():
                yield message
            while browser in self._looking:
                found = await browser.waiting.get()
                browser.taken_at = self._clock()
                if found is None:
                    return
                yield found
        finally:
            self._leave(browser)

    def remember(self) -> None:
        """Ask the network once in `UNSEEN_S` while no browser shows it, so that a page that is opened later has the last minutes."""
        self._remembering.want()

    def past(self, key: str) -> dict[str, Any]:
        """Return what `RateHistory.of` knows of a job, a pipe or a node at this moment."""
        return self._history.of(key, self._clock())

    async def close(self) -> None:
        """Stop asking the network. Idempotent."""
        self._remembering.leave()
        for browser in list(self._looking):
            self._leave(browser)

    def _leave(self, browser: _Browser) -> None:
        self._looking.discard(browser)
        browser.waiting.put_nowait(None)
        if not self._looking:
            self._disarm()
            self._updates.settle()
            for thread in self._threads:
                thread.leave()

    # the network, in the threads

    def _measure_run(self) -> None:
        """Measure until the network ends, or no browser shows it.

        Raises:
            UserError: it has ended, or does not run.
        """
        measures, _ = self._threads
        with Viewer(self.folder) as viewer:
            description = as_json(viewer.ask(DescribeNetwork(), NetworkDescribed))
            past = deque([_measured(viewer)], maxlen=WINDOW)
            while measures.pause(MEASURE_S):
                after = _measured(viewer)
                shown = document(description, past[0], after)
                self._history.add(shown, self._clock())
                self._in_loop(partial(self._show, shown))
                past.append(after)

    def _lost(self, why: Exception) -> None:
        """Show why there are no measures. Faults of our own are shown too: a page must not just stay as it is."""
        text = str(why)
        if not isinstance(why, FissionError):
            text = f"the page's server has a fault and tries again: {type(why).__name__}: {why}"
            if text != self._fault:
                log.error("%s", text, exc_info=why)
            self._fault = text
        self._in_loop(lambda: self._show(ended(self._updates.latest, text)))

    def _measure_seldom(self) -> None:
        """Measure once if no browser looks. No connection stays open.

        Raises:
            UserError: the network does not run.
        """
        if self._looking:  # they are measured more often
            self._past = None
            return
        with Viewer(self.folder) as viewer:
            after = _measured(viewer)
            past, self._past = self._past, None
            if past is not None and past[1]["run"] == after["run"]:
                self._history.add(document(past[0], past[1], after), self._clock())
                self._past = past[0], after
            else:
                self._past = as_json(viewer.ask(DescribeNetwork(), NetworkDescribed)), after

    def _unseen(self, why: Exception) -> None:
        self._past = None
        if not isinstance(why, FissionError):
            log.error("the page's server cannot keep the rates of the last minutes, and tries again", exc_info=why)

    def _follow_run(self) -> None:
        """Pass on what the run's own terminal shows, until the run ends or no browser shows it.

        Raises:
            UserError: the network is not running on this machine.
        """
        _, events = self._threads
        with Viewer(self.folder) as viewer:
            viewer.ask(FollowRun(outputs=True, events=True), RunFollowed)
            self._in_loop(lambda: self._tell(None))
            for packet in viewer.packets(every=LOOK_S):
                if not events.is_wanted:
                    return
                if packet is not None:
                    self._in_loop(partial(self._tell, EVENTS.decode(packet)))

    def _unfollowed(self, why: Exception) -> None:
        if not isinstance(why, FissionError):  # measures say why a network does not answer
            log.error("the page's server cannot follow the run's events, and tries again", exc_info=why)

    def _in_loop(self, act: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            if self._loop is not None:
                self._loop.call_soon_threadsafe(act)

    # those who look

    def _show(self, fresh: dict[str, Any]) -> None:
        self._updates.show({**fresh, **self._besides()})
        self._pass_on()

    def _tell(self, event: RunEvent | None) -> None:
        if event is None:  # a run begins, or is followed from its beginning again
            self._updates.begin(self._clock())
        else:
            found = {**msgspec.to_builtins(event), "event": type(event).__name__}
            found["at"] = found.get("at") or time.time()
            self._updates.happened(found, self._clock(), line_of=event.job_id if isinstance(event, ShowOutput) else None)
        if self._sending is None:  # otherwise they come with it
            self._arm()

    def _pass_on(self) -> None:
        """Send what may be sent now, and the rest later."""
        self._disarm()
        message = self._updates.take(self._clock()) if self._looking else None
        if message is not None:
            self._send(message)
        self._arm()

    def _arm(self) -> None:
        if not self._looking or self._loop is None:
            self._updates.settle()
            return
        due = self._updates.due()
        if due is not None:
            self._sending = self._loop.call_later(max(0.0, due - self._clock()), self._pass_on)

    def _disarm(self) -> None:
        if self._sending is not None:
            self._sending.cancel()
            self._sending = None

    def _send(self, message: Message) -> None:
        now = self._clock()
        for browser in list(self._looking):
            queue = browser.waiting
            if queue.empty():
                browser.taken_at = now
            elif now - browser.taken_at > STALLED_S:  # as when its machine sleeps: it connects again
                self._leave(browser)
                continue
            if queue.qsize() < MOST_WAITING:
                queue.put_nowait(message)
                continue
            while not queue.empty():
                queue.get_nowait()
            for whole in self._updates.whole():
                queue.put_nowait(whole)


def _measured(viewer: Viewer) -> dict[str, Any]:
    return {**as_json(viewer.ask(InspectRun(), RunStatus)), **as_json(viewer.ask(MeasureJobs(), JobsMeasured))}
