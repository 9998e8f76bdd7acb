"""Decides what the browsers that show a network are sent, and when: only what has changed, and not too often."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import chain
from operator import itemgetter
from typing import Any

from fission.dashboard.document import difference, without_nulls

#: Seconds between two updates, so that there are at most four in a second, however fast the network changes. A browser lays
#: its page out after each: with 200 jobs, more would leave it no time for its viewer.
LEAST_S = 0.25
#: Seconds for which events are gathered: a browser draws them together, however many lines jobs write. Arbitrary.
GATHER_S = 0.25
#: Recent events that a new page gets, besides what jobs write; and lines of each job. Arbitrary.
HISTORY, LINES = 500, 100

#: (kind, value) for the browser: "document" and "patch" (`fission.dashboard.document`), "events" (all that are known)
#: and "happened" (further ones), both lists of events of `fission.protocol.messages.client_to_viewer` with their time.
Message = tuple[str, Any]


class PageUpdates:
    """The present state of one network, and how much of it the browsers have. They all have the same.

    Moments are seconds of any clock that does not go back.
    """

    def __init__(self, *, least_s: float = LEAST_S, differ: Callable[[Any, Any], Any] = difference) -> None:
        """Begin with nothing.

        Args:
            least_s: seconds between two updates.
            differ: makes the patch of the old and the new document.
        """
        self._least_s, self._differ = least_s, differ
        self._latest: dict[str, Any] = {}
        self._sent: dict[str, Any] = {}  # the document that the browsers have
        self._events: deque[tuple[int, dict[str, Any]]] = deque(maxlen=HISTORY)  # with their numbers
        self._lines: dict[int, deque[tuple[int, dict[str, Any]]]] = {}  # by job: what one writes must not push out another's
        self._fresh: deque[dict[str, Any]] = deque(maxlen=HISTORY)  # those that the browsers do not have
        self._number = self._sent_number = 0  # of the last event, and of the last that the browsers have
        self._begins = False  # whether the browsers must forget their events
        self._ready_at = 0.0  # when the fresh events are gathered
        self._next_at = float("-inf")  # before that, nothing may be sent
        self._last_kind = ""

    @property
    def latest(self) -> dict[str, Any]:
        """The newest document, which the browsers need not have."""
        return self._latest

    def show(self, document: dict[str, Any]) -> None:
        """Take a new document."""
        self._latest = document

    def begin(self, now: float) -> None:
        """Forget all events: a run begins, or is followed from its beginning again."""
        self._events.clear()
        self._lines.clear()
        self._fresh.clear()
        self._begins, self._ready_at = True, now

    def happened(self, event: dict[str, Any], now: float, *, line_of: int | None = None) -> None:
        """Take an event.

        Args:
            event: with its time, ``at``.
            now: the moment.
            line_of: the job that has written it; None: it is something else.
        """
        self._number += 1
        kept = self._events if line_of is None else self._lines.setdefault(line_of, deque(maxlen=LINES))
        kept.append((self._number, event))
        if not self._fresh and not self._begins:
            self._ready_at = now + GATHER_S
        self._fresh.append(event)

    def whole(self) -> list[Message]:
        """Return what a new browser needs, so that it has what the others have."""
        kept = chain(self._events, *self._lines.values())
        events = sorted((event for number, event in kept if number <= self._sent_number), key=itemgetter("at"))
        return [("document", without_nulls(self._sent)), ("events", events)]

    def settle(self) -> None:
        """Note that there are no browsers: the next one gets all that is known."""
        self._sent, self._sent_number = self._latest, self._number
        self._fresh.clear()
        self._begins = False

    def due(self) -> float | None:
        """Return the moment at which `take` must be asked; None: there is nothing to send, unless more comes."""
        ready = [] if self._latest is self._sent else [self._next_at]
        if self._fresh or self._begins:
            ready.append(max(self._ready_at, self._next_at))
        return min(ready, default=None)

    def take(self, now: float) -> Message | None:
        """Return the next update for all browsers; None: there is none at this moment."""
        if now < self._next_at:
            return None
        ways = (self._take_events, self._take_patch)
        for take in ways if self._last_kind == "patch" else reversed(ways):  # in turns, so that neither waits for long
            message = take(now)
            if message is not None:
                self._next_at, self._last_kind = now + self._least_s, message[0]
                return message
        return None

    def _take_patch(self, now: float) -> Message | None:
        if self._latest is self._sent:
            return None
        patch = self._differ(self._sent, self._latest)
        self._sent = self._latest
        return ("patch", patch) if patch else None

    def _take_events(self, now: float) -> Message | None:
        if now < self._ready_at or not (self._fresh or self._begins):
            return None
        begins, found = self._begins, list(self._fresh)
        self._fresh.clear()
        self._begins, self._sent_number = False, self._number
        return self.whole()[1] if begins else ("happened", found)
