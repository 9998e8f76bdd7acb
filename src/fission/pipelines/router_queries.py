"""The Router's answers about pipelines: lists, single pipelines with their jobs, ends, and its
status.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from fission.pipelines.errors import PipelineError
from fission.pipelines.leases import LeasedPipeline, task_count
from fission.pipelines.ports import Cluster, PipelineStore
from fission.pipelines.pull_queue import PullQueue
from fission.pipelines.router_state import RouterState
from fission.pipelines.utc import utc
from fission.protocol.messages.pipelines.client_to_router import CountPipelines, GetEnds, GetRouterStatus, ListPipelines, ShowPipeline
from fission.protocol.messages.pipelines.router_to_broker import RouterAbout
from fission.protocol.messages.pipelines.router_to_client import (
    BrokerShown,
    EndDetails,
    EndsBroadcast,
    PipelineCounts,
    PipelineEnd,
    PipelineEnds,
    PipelineJobShown,
    PipelineList,
    PipelineShown,
    PipelineSummary,
    RouterStatus,
)
from fission.protocol.messages.pipelines.wire import LIMIT, encode
from fission.protocol.pipeline_records import ENDED, RUNNING, WAITING, EndRecord, PipelineRow

#: Maximum number of rows in an answer. Arbitrary.
ROWS = 1000
#: Maximum number of ids that are named where the first letters of an id are ambiguous. Arbitrary.
NAMED = 5
#: Pipelines whose jobs are read together. Arbitrary.
FEW = 50
#: Bytes of a row apart from its texts, roughly.
ROW_BYTES = 300
STATES = (WAITING, RUNNING, *sorted(ENDED))


class RouterQueries:
    """Answers requests that change nothing. For one thread; ``now`` is in monotonic seconds."""

    def __init__(
        self,
        state: RouterState,
        store: PipelineStore,
        cluster: Cluster,
        queue: PullQueue,
        about: RouterAbout,
        monotonic: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        """Answer from these.

        Args:
            state: of the Router.
            store: has the pipelines.
            cluster: runs the jobs.
            queue: has the jobs that third-party brokers have taken.
            about: the Router's id and port.
            monotonic: returns monotonic seconds.
            wall: returns seconds since the epoch.
        """
        self._state = state
        self._store = store
        self._cluster = cluster
        self._queue = queue
        self._about = about
        self._monotonic = monotonic
        self._since = wall()

    def row(self, name: str) -> PipelineRow:
        """Return a pipeline by its id, or by the first letters of it.

        Raises:
            PipelineError: there is none, or there are several.
        """
        self._state.flush(self._monotonic(), store_only=True)
        row = self._store.rows([name]).get(name)
        if row is not None:
            return row
        named = self._store.starting_with(name, NAMED + 1)
        if not named:
            raise PipelineError(f"there is no pipeline {name!r}: `fission pipelines list` shows all pipelines")
        if len(named) > 1:
            more = ", ..." if len(named) > NAMED else ""
            raise PipelineError(f"the ids of several pipelines begin with {name!r}: {', '.join(named[:NAMED])}{more}; give more letters")
        return self._store.rows(named)[named[0]]

    # lists

    def newest(self, message: ListPipelines, now: float) -> PipelineList:
        """Answer `ListPipelines`.

        Raises:
            PipelineError: there is no such state.
        """
        if unknown := [state for state in message.states if state not in STATES]:
            raise PipelineError(f"the state of a pipeline must be {', '.join(STATES)}, but is {ascii(unknown[0])[:80]}")
        limit = max(1, min(ROWS, message.limit))
        found: list[PipelineSummary] = []
        size = 0
        for row in self._newest(set(message.states), message.before or None, limit):
            size += len(row.body) + len(row.end.error if row.end else "") + ROW_BYTES
            if found and size > LIMIT // 2:
                break  # the client asks for the rest with `before`
            found.append(self._summary(row))
        return PipelineList(found)

    def _newest(self, states: set[str], before: int | None, limit: int) -> Sequence[PipelineRow]:
        """Return the newest pipelines; the store does not know which ones run, because a restarted
        Router runs them again.
        """
        stored_states = {WAITING if state == RUNNING else state for state in states}
        if not states or {WAITING, RUNNING} <= states or not states & {WAITING, RUNNING}:
            return self._store.listed(stored_states or None, before, limit)
        running = {name for name, active in self._state.active.items() if active.running}
        if WAITING in states:
            found: list[PipelineRow] = []
            while len(found) < limit and (page := self._store.listed(stored_states, before, limit)):
                found += [row for row in page if row.pipeline not in running]
                before = page[-1].order
            return found[:limit]
        rows = [row for row in self._store.rows(running).values() if row.end is None and (before is None or row.order < before)]
        if others := states - {RUNNING}:
            rows += self._store.listed(others, before, limit)
        return sorted(rows, key=lambda row: -row.order)[:limit]

    def _summary(self, row: PipelineRow) -> PipelineSummary:
        active, end = self._state.active.get(row.pipeline), row.end
        return PipelineSummary(
            id=row.pipeline,
            order=row.order,
            state=end.state if end else RUNNING if active and active.running else WAITING,
            accepted=row.accepted,
            priority=row.priority,
            data=json.loads(row.body).get("data"),
            ended=end.at if end else None,
            duration=end.duration if end else None,
            error=error_of(end) if end else None,
            accepted_utc=utc(row.accepted),
            ended_utc=utc(end.at) if end else None,
            waits_for=self._waits_for(active) if active else [],
        )

    def _waits_for(self, active: LeasedPipeline) -> list[str]:
        """Return what the pipeline's jobs need and no Broker has; empty: all can run."""
        wanted = {(active.jobs[job].worker_name, active.jobs[job].tag or "") for job in active.attempts}
        return [_missing(worker, tag) for worker, tag in sorted(wanted) if tag and not self._cluster.can_run(worker, tag)]

    # one pipeline

    def show(self, message: ShowPipeline, now: float) -> PipelineShown:
        """Answer `ShowPipeline`.

        Raises:
            PipelineError: as `row`.
        """
        row = self.row(message.pipeline_id)
        records = self._store.jobs([row.pipeline]).get(row.pipeline, [])
        pipeline = self._state.active.get(row.pipeline) or LeasedPipeline.of(row, records)
        summary = msgspec.structs.asdict(self._summary(row))
        results = msgspec.UNSET if row.end is None else pipeline.results()
        return PipelineShown(**summary, results=results, jobs=[self._job(row, pipeline, number) for number in range(len(pipeline.jobs))])

    def _job(self, row: PipelineRow, pipeline: LeasedPipeline, number: int) -> PipelineJobShown:
        job, record = pipeline.jobs[number], pipeline.records.get(number)
        worker, tag = job.worker_name, job.tag or ""
        error = record.error if record else ""
        if row.end is not None:
            # nothing is recorded of jobs that a third-party Pipeliner ran
            without_record = {"failed": "skipped", "cancelled": "cancelled", "finished": "finished"}
            state = record.state if record else without_record[row.end.state]
        elif number in pipeline.attempts:
            state = "running"
            pulled = (row.pipeline, number, pipeline.attempts[number][0]) in self._queue.pulled
            if not pulled and not self._cluster.can_run(worker, tag):
                state, error = "waiting", error or _missing(worker, tag)
        else:
            state = "waiting" if record is None or record.state == "raised" else record.state
        return PipelineJobShown(
            job=number,
            job_id=pipeline.job_id(number),
            worker=worker,
            state=state,
            tries=record.tries if record else 0,
            duration=record.duration if record else None,
            node=record.node if record else "",
            after=pipeline.after[number],
            error=error,
            traceback=record.traceback if record else "",
            tag=tag,
        )

    # ends

    def ended_since(self, message: GetEnds, now: float) -> PipelineEnds:
        """Answer `GetEnds`."""
        if message.number < 0:  # a client that begins to listen
            return PipelineEnds(self._store.last_end(), [])
        ends: list[PipelineEnd] = []
        more: dict[str, EndDetails] = {}
        size = 0
        for end in self._with_results(self._store.ended_since(message.number, ROWS)):
            size += _size(end)
            if ends and size > LIMIT // 2:
                break
            ends.append(end_row(end))
            more[end.pipeline] = end_details(end)
        return PipelineEnds(self._store.last_end(), ends, more)

    def _with_results(self, ends: Sequence[EndRecord]) -> Iterator[EndRecord]:
        """Yield the same ends with what their last jobs returned, read some at a time: most callers
        want few.
        """
        for begin in range(0, len(ends), FEW):
            names = [end.pipeline for end in ends[begin : begin + FEW]]
            rows, records = self._store.rows(names), self._store.jobs(names)
            for end in ends[begin : begin + FEW]:
                results = LeasedPipeline.of(rows[end.pipeline], records.get(end.pipeline, [])).results()
                yield replace(end, results=tuple(results))

    # status

    def status(self, message: GetRouterStatus, now: float) -> RouterStatus:
        """Answer `GetRouterStatus`."""
        state = self._state
        return RouterStatus(
            router=self._about.router,
            scheduler_port=self._about.scheduler_port,
            brokers=len(state.registry.brokers),
            processes=self._cluster.processes(),
            pipeliners=len(state.sessions) - (state.own in state.sessions),
            waiting=len(state.waiting) + len(state.single),
            leased=len(state.active),
            running=task_count(list(state.active.values())),
            held=[len(session.holds) for name, session in state.sessions.items() if name != state.own],
            tags=dict(self._cluster.tags()),
            missing_tags=self._missing_tags(),
            workers=dict(self._cluster.workers()),
        )

    def counts(self, message: CountPipelines, now: float) -> PipelineCounts:
        """Answer `CountPipelines`."""
        state, busy = self._state, self._cluster.busy()
        state.flush(now, store_only=True)  # the store counts what has ended
        pipelines = self._store.counts()
        running = sum(active.running for active in state.active.values())
        pipelines |= {WAITING: pipelines[WAITING] - running, RUNNING: running}
        brokers = []
        for name, broker in sorted(state.registry.brokers.items()):
            processes = self._cluster.processes_of(name)
            hosts = sorted({_host(process) for process in processes})
            brokers.append(BrokerShown(name, len(processes), len(processes & busy), sorted(broker.workers), hosts))
        return PipelineCounts(
            router=self._about.router,
            since=self._since,
            pipelines={name: pipelines[name] for name in STATES},
            ended=dict(state.counters.ended),
            jobs=dict(state.counters.jobs),
            recent=state.counters.recent(now),
            brokers=brokers,
        )

    def _missing_tags(self) -> dict[str, int]:
        """Return the tags that jobs wait for and no Broker has, with the number of these jobs."""
        tags, found = self._cluster.tags(), dict[str, int]()
        for active in self._state.active.values():
            for job in active.attempts:
                tag = active.jobs[job].tag
                if tag and tag not in tags:
                    found[tag] = found.get(tag, 0) + 1
        return found


def end_broadcasts(ended: Sequence[EndRecord]) -> Iterator[EndsBroadcast]:
    """Yield broadcasts of these ends, each with as many as fit into a message."""
    piece: list[EndRecord] = []
    size = 0
    for end in ended:
        length = _size(end)
        if piece and size + length > LIMIT // 2:
            yield _broadcast(piece)
            piece, size = [], 0
        piece.append(end)
        size += length
    if piece:
        yield _broadcast(piece)


def _broadcast(piece: Sequence[EndRecord]) -> EndsBroadcast:
    return EndsBroadcast(piece[0].number - 1, [end_row(end) for end in piece], {end.pipeline: end_details(end) for end in piece})


def end_row(end: EndRecord) -> PipelineEnd:
    """Return the end of a pipeline as clients get it."""
    return PipelineEnd(end.pipeline, end.state, end.duration, end.number, error_of(end))


def end_details(end: EndRecord) -> EndDetails:
    """Return more about the end of a pipeline."""
    return EndDetails(ended_utc=utc(end.at), results=list(end.results))


def error_of(end: EndRecord) -> Any:
    """Return the job that failed first, as users see it; None: none."""
    return json.loads(end.error) if end.error else None


def _size(end: EndRecord) -> int:
    return len(end.error) + ROW_BYTES + sum(len(encode(result)) for result in end.results)


def _host(process: str) -> str:
    """Return the host in the address of a worker process."""
    return process.partition("://")[2].rpartition(":")[0]


def _missing(worker: str, tag: str) -> str:
    return f"waits for a Broker with the worker {worker!r}" + (f" and the tag {tag!r}" if tag else "")
