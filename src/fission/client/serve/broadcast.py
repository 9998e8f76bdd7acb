"""Shows other terminals what the client's own terminal shows: ``attach`` and ``debug``.

A `Broadcast` wraps the run's own observer and passes every event on. It keeps recent events for
viewers that connect later.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence

from fission.client.reports.summary import Summary
from fission.client.serve.control_server import Connection, ControlServer
from fission.core.nodes import NodeInfo
from fission.errors import UnknownNameError
from fission.ports import Observer
from fission.protocol.messages.client_to_viewer import RunFollowed
from fission.protocol.messages.run_events import (
    EVENTS,
    RunEvent,
    ShowEnd,
    ShowFailure,
    ShowNodes,
    ShowOutput,
    ShowPlacement,
    ShowStart,
    ShowSummary,
    ShowText,
)
from fission.protocol.messages.viewer_to_client import FollowRun

#: Number of recent events kept for later viewers; arbitrary.
HISTORY = 1000
#: Number of events that may wait for a viewer that does not read; arbitrary. Further events are left out and counted.
MOST_WAITING = 10_000
#: Seconds that a viewer has to read the last events; arbitrary, within the 2 s of Ctrl-C.
LAST_S = 0.5


class _Subscriber:
    """One viewer."""

    def __init__(
        self, connection: Connection, jobs: frozenset[int], outputs: bool, events: bool, on_nodes: Callable[[int], bool] | None
    ) -> None:
        self.jobs, self.outputs, self.events, self.on_nodes = jobs, outputs, events, on_nodes
        self._connection = connection
        self._waiting: deque[RunEvent] = deque()
        self._more = asyncio.Event()
        self._left_out = 0
        self.task = asyncio.ensure_future(self._send())

    def put(self, event: RunEvent) -> None:
        """Send an event, if the viewer wants that kind."""
        if not (self.outputs if isinstance(event, ShowOutput) else self.events):
            return
        job = getattr(event, "job_id", 0)
        if (self.jobs and job not in self.jobs) or (self.on_nodes is not None and not self.on_nodes(job)):
            return
        if len(self._waiting) >= MOST_WAITING:
            self._left_out += 1
            return
        if self._left_out:
            text = f"{self._left_out} lines were left out: this terminal is slower than the jobs"
            self._waiting.append(ShowText(kind="warning", text=text))
            self._left_out = 0
        self._waiting.append(event)
        self._more.set()

    async def settle(self) -> None:
        """Wait until everything has been sent."""
        while self._waiting and not self.task.done():
            await asyncio.sleep(0.01)

    async def _send(self) -> None:
        try:
            while True:
                await self._more.wait()
                self._more.clear()
                while self._waiting:
                    await self._connection.send(EVENTS.encode(self._waiting[0]))
                    self._waiting.popleft()
        except OSError:
            return  # the viewer is gone


class Broadcast(Observer):
    """An observer that notifies another one and all viewers."""

    def __init__(self, first: Observer, *, show_outputs: Callable[[int], bool] = lambda job: True) -> None:
        """Begin without viewers.

        Args:
            first: the run's own observer.
            show_outputs: whether ``first`` gets what a job writes; viewers get everything they
                request.
        """
        self._first = first
        self._show_outputs = show_outputs
        self._subscribers: list[_Subscriber] = []
        self._history: deque[RunEvent] = deque(maxlen=HISTORY)
        self._known: Sequence[int] = ()
        self._nodes: dict[int, str] = {}  # job -> node of its newest incarnation
        self._follow: Callable[[bool], Awaitable[None]] | None = None
        self._following: asyncio.Future[None] | None = None

    def open(self, requests: ControlServer, jobs: Sequence[int], follow: Callable[[bool], Awaitable[None]] | None) -> None:
        """Answer `FollowRun`.

        Args:
            requests: the server of the run.
            jobs: ids of all jobs.
            follow: makes the nodes send what jobs write, or stop sending it.
        """
        self._known, self._follow = jobs, follow
        requests.answer(FollowRun, self._watch)

    async def close(self, summary: Summary | None) -> None:
        """Send the summary to all viewers; those that read get what waits for them."""
        if summary is not None:
            self._tell(ShowSummary(lines=tuple(summary.lines()), exit_code=summary.exit_code))
        for subscriber in self._subscribers:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(subscriber.settle(), LAST_S)
            subscriber.task.cancel()

    async def _watch(self, request: FollowRun, connection: Connection) -> RunFollowed:
        jobs = frozenset(request.jobs)
        for job in sorted(jobs):
            if job not in self._known:
                raise UnknownNameError(f"there is no job {job}; there are {', '.join(map(str, self._known))}")
        nodes = frozenset(request.nodes)
        on_nodes = (lambda job: self._nodes.get(job) in nodes) if nodes else None
        subscriber = _Subscriber(connection, jobs, request.outputs, request.events, on_nodes)
        if request.events:
            for event in list(self._history):
                subscriber.put(event)
        self._subscribers.append(subscriber)
        connection.on_close.append(lambda: self._leave(subscriber))
        self._say_following()
        return RunFollowed()

    def _leave(self, subscriber: _Subscriber) -> None:
        subscriber.task.cancel()
        if subscriber in self._subscribers:
            self._subscribers.remove(subscriber)
            self._say_following()

    def _say_following(self) -> None:
        if self._follow is not None:
            self._following = asyncio.ensure_future(self._follow(any(subscriber.outputs for subscriber in self._subscribers)))

    def _tell(self, event: RunEvent) -> None:
        if not isinstance(event, ShowOutput):
            self._history.append(event)
        for subscriber in self._subscribers:
            subscriber.put(event)

    # events for the observer and the viewers

    def nodes_ready(self, nodes: Sequence[NodeInfo], missing: Mapping[str, str]) -> None:
        self._first.nodes_ready(nodes, missing)
        self._tell(ShowNodes(nodes=tuple(nodes), missing=dict(missing)))

    def job_placed(self, job: str, job_id: int, node: str) -> None:
        self._nodes[job_id] = node
        self._first.job_placed(job, job_id, node)
        self._tell(ShowPlacement(job=job, job_id=job_id, node=node, at=time.time()))

    def job_started(self, job: str, job_id: int) -> None:
        self._first.job_started(job, job_id)
        self._tell(ShowStart(job=job, job_id=job_id))

    def job_output(self, job: str, job_id: int, stream: str, line: str) -> None:
        if self._show_outputs(job_id):
            self._first.job_output(job, job_id, stream, line)
        if self._subscribers:
            self._tell(ShowOutput(job=job, job_id=job_id, stream=stream, line=line))

    def job_ended(self, job: str, job_id: int, outcome: str) -> None:
        self._first.job_ended(job, job_id, outcome)
        self._tell(ShowEnd(job=job, job_id=job_id, outcome=outcome, at=time.time()))

    def job_failed(self, job: str, job_id: int, report: str) -> None:
        self._first.job_failed(job, job_id, report)
        self._tell(ShowFailure(job=job, job_id=job_id, report=report, final=False, at=time.time()))

    def network_failed(self, job: str, job_id: int, report: str) -> None:
        self._first.network_failed(job, job_id, report)
        self._tell(ShowFailure(job=job, job_id=job_id, report=report, final=True, at=time.time()))

    def failover(self, text: str) -> None:
        self._first.failover(text)
        self._tell(ShowText(kind="failover", text=text, at=time.time()))

    def notice(self, text: str) -> None:
        self._first.notice(text)
        self._tell(ShowText(kind="notice", text=text, at=time.time()))

    def warning(self, text: str) -> None:
        self._first.warning(text)
        self._tell(ShowText(kind="warning", text=text, at=time.time()))


def retell(event: RunEvent, observer: Observer) -> None:
    """Notify an observer in this process of an event from a client; a summary is ignored."""
    match event:
        case ShowNodes():
            observer.nodes_ready(event.nodes, event.missing)
        case ShowPlacement():
            observer.job_placed(event.job, event.job_id, event.node)
        case ShowStart():
            observer.job_started(event.job, event.job_id)
        case ShowOutput():
            observer.job_output(event.job, event.job_id, event.stream, event.line)
        case ShowEnd():
            observer.job_ended(event.job, event.job_id, event.outcome)
        case ShowFailure(final=False):
            observer.job_failed(event.job, event.job_id, event.report)
        case ShowFailure():
            observer.network_failed(event.job, event.job_id, event.report)
        case ShowText():
            getattr(observer, event.kind)(event.text)
