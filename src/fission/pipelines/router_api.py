"""What the Router answers: every message that comes to its api address, and what it tells everybody."""

from __future__ import annotations

import json
import logging
import traceback
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from fission.errors import RemoteProtocolError
from fission.pipelines.errors import PipelineError, StoreAway, StoreLost
from fission.pipelines.leased_pipelines import Answer, LeasedPipelines
from fission.pipelines.messages import ERROR_LENGTH, LIMIT, PIPELINE_LIMIT, checked_id, decode, encode, take, take_id
from fission.pipelines.model import Pipeline
from fission.pipelines.offers import Offers
from fission.pipelines.old_wire import OldWire
from fission.pipelines.ports import Cluster, PipelineStore
from fission.pipelines.router_state import RouterState, task_count
from fission.pipelines.utc import utc
from fission.project.names import did_you_mean
from fission.protocol.pipeline_records import ENDED, RUNNING, WAITING, EndRecord, NewPipeline, PipelineRow, TaskEnd

#: Pipelines accepted in this life whose jobs are kept in memory until somebody takes them; the others are read again. Arbitrary.
KEPT_FRESH = 2000
#: Rows in an answer at most; arbitrary.
ROWS = 1000
#: Pipelines that one request runs again at most, and ids that are named where one is not clear. Arbitrary.
RETRIED = 500
NAMED = 5
#: Pipelines whose jobs are read together; arbitrary.
FEW = 50
STATES = (WAITING, RUNNING, *sorted(ENDED))

Say = Callable[[str, Mapping[str, Any]], None]


class RouterApi:
    """Every request gets one answer, a malformed one too; nothing is answered before it is durable.

    One thread's: call `message` for all that has come, then `flush` once. `tick` about every 0.1 s.
    """

    def __init__(
        self,
        store: PipelineStore,
        cluster: Cluster,
        config: Mapping[str, Any],
        *,
        say: Say,
        announce: Callable[[str], None] = lambda line: None,
        monotonic: Callable[[], float],
        wall: Callable[[], float],
        about: Mapping[str, Any],
        logger: logging.Logger,
    ) -> None:
        """Args: config: for the Brokers, of JSON's types. say: tells everybody (topic, message). announce: tells everybody a line,
        as pypelinin does. about: what Brokers must know besides.
        """
        self._offers = Offers(cluster)
        self.work = RouterState(store, self._offers, logger)
        self._old = OldWire(self.work, self._offers, wall, logger)
        self._store = store
        self._cluster = cluster
        self._config = config
        self._say = say
        self._announce = announce
        self._monotonic = monotonic
        self._wall = wall
        self._about = about
        self._log = logger
        self._answers: list[tuple[Answer, Mapping[str, Any]]] = []
        self._said: list[tuple[str, Mapping[str, Any]]] = []
        self._commands: dict[str, Callable[[Mapping[str, Any], float], Mapping[str, Any]]] = {
            "get configuration": lambda message, now: {**self._config, "fission": self._about},
            "add pipeline": self._add_one,
            "add pipelines": self._add,
            "pipelines": self._list,
            "pipeline": self._show,
            "retry": self._retry,
            "retry failed": self._retry_failed,
            "cancel": self._cancel,
            "ended since": self._ended_since,
            "status": self._status,
            "pulse": self._pulse,
            "process ended": self._process_ended,
        }
        self._suggested = list(self._commands)
        self._commands |= {"add job": self._add_job, **self._old.commands}

    def message(self, data: bytes, send: Callable[[bytes], None]) -> None:
        """Takes the bytes of a request; *send* is called once with the answer's, when `flush` has made it durable.

        Raises:
            StoreAway: nothing has changed; give the same request again when the store is back.
            StoreLost: the Router must end.
        """

        def answer(reply: Mapping[str, Any]) -> None:
            send(encode(reply))

        try:
            message = decode(data)
            command = take(message, "command", str)
            if command == "exchange":
                self.work.exchange(message, answer, self._monotonic(), self._wall())
                return
            if command not in self._commands:
                raise RemoteProtocolError(f"there is no command {command[:80]!r}{did_you_mean(command[:80], self._suggested) or '.'}")
            reply = self._commands[command](message, self._monotonic())
        except (StoreAway, StoreLost):
            raise
        except (RemoteProtocolError, PipelineError) as error:
            why = str(error)[:ERROR_LENGTH]
            self._log.warning("[API] refused: %s", why)
            reply = {"answer": "error", "kind": "refused" if isinstance(error, PipelineError) else "malformed", "error": why}
        except Exception as error:  # whatever a message does to us: it must not be able to end the Router
            self._log.error("[API] this is a bug in FISSION: %s", traceback.format_exc()[-ERROR_LENGTH:])
            reply = {"answer": "error", "kind": "malformed", "error": f"the Router cannot do that: {error!r}"[:ERROR_LENGTH]}
        self._answers.append((answer, reply))

    def task_ends(self, ends: Sequence[TaskEnd]) -> None:
        """What the cluster says has ended."""
        self._offers.ended(ends)
        self.work.task_ends(ends, self._monotonic())

    def tick(self) -> None:
        """Time has passed."""
        self.work.tick(self._monotonic())
        self._old.tick(self._monotonic())

    def flush(self) -> None:
        """Makes durable what has happened, then answers and tells everybody.

        Raises:
            StoreAway: nothing is forgotten; call it again when the store is back.
            StoreLost: the Router must end.
        """
        self.work.flush(self._monotonic())
        while self._old.step(self._monotonic()):
            self.work.flush(self._monotonic())
        answers, self._answers = self._answers, []
        for answer, reply in answers:
            answer(reply)
        said, self._said = self._said, []
        for topic, message in said:
            self._say(topic, message)
        ended, self.work.ended = self.work.ended, []
        for line in self._old.lines(ended):
            self._announce(line)
        for some in _pieces(ended):
            more = {end.pipeline: _more(end) for end in some}
            self._say("ended", {"before": some[0].number - 1, "ends": [_end_row(end) for end in some], "more": more})

    # pipelines

    def _add_one(self, message: Mapping[str, Any], now: float) -> Mapping[str, Any]:
        name = message.get("pipeline id", uuid.uuid4().hex)  # pypelinin's clients give none
        self._add({"pipelines": [[name, message.get("pipeline")]]}, now)
        self._log.info("[API] pipeline %s accepted", name)
        return {"answer": "pipeline accepted", "pipeline id": name}

    def _add_job(self, message: Mapping[str, Any], now: float) -> Mapping[str, Any]:
        job = self._old.single(message)
        if isinstance(job, Mapping):
            return job
        self._accept([job])
        return {"answer": "job accepted", "job id": job[0]}

    def _add(self, message: Mapping[str, Any], now: float) -> Mapping[str, Any]:
        accepted: list[tuple[str, str, int]] = []
        for row in take(message, "pipelines", list):
            if not isinstance(row, list) or len(row) != 2:
                raise RemoteProtocolError("'pipelines' must be rows of (id, pipeline)")
            accepted.append((checked_id(row[0], "pipeline id"), *self._checked(row[1])))
        self._accept(accepted)
        self._old.added()
        return {"answer": "pipelines accepted", "number": len(accepted)}

    def _accept(self, accepted: Sequence[tuple[str, str, int]]) -> None:
        """Keeps pipelines: (id, body, priority)."""
        kept = self._store.rows(name for name, _, _ in accepted)
        wall = self._wall()
        # those that are kept came before: an answer got lost
        fresh = {name: NewPipeline(name, body, wall, priority) for name, body, priority in accepted if name not in kept}
        self._store.add(list(fresh.values()))
        for name, new in fresh.items():
            self.work.queue_of(name).add(name, new.priority)
            if len(self.work.fresh) < KEPT_FRESH:
                self.work.fresh[name] = LeasedPipelines.of(PipelineRow(name, 0, new.body, wall, priority=new.priority), [])

    def _checked(self, information: Any) -> tuple[str, int]:
        translated = self._old.pipeline(information)
        pipeline = Pipeline.deserialize(translated)
        # who sends pypelinin's form may have brokers whose workers nobody knows
        known = self.work.workers if translated is information and not self.work.others else ()
        for job in pipeline.jobs:
            if known and job.worker_name not in known:
                hint = did_you_mean(job.worker_name, known) or f"; there are {', '.join(sorted(known))}"
                raise PipelineError(f"no Broker has a worker {job.worker_name!r}{hint}")
        body = encode(pipeline.serialize()).decode()
        if len(body) > PIPELINE_LIMIT:
            raise PipelineError(f"a pipeline has at most {PIPELINE_LIMIT} bytes, this one has {len(body)}: keep what is big in the store")
        return body, pipeline.priority

    def _row(self, message: Mapping[str, Any]) -> PipelineRow:
        name = take_id(message, "pipeline id")
        self.work.flush(self._monotonic(), store_only=True)
        row = self._store.rows([name]).get(name)
        if row is not None:
            return row
        named = self._store.starting_with(name, NAMED + 1)
        if not named:
            raise PipelineError(f"there is no pipeline {name!r}: `fission pipelines list` shows those that there are")
        if len(named) > 1:
            more = ", ..." if len(named) > NAMED else ""
            raise PipelineError(f"the ids of several pipelines begin with {name!r}: {', '.join(named[:NAMED])}{more}; give more letters")
        return self._store.rows(named)[named[0]]

    def _retry(self, message: Mapping[str, Any], now: float) -> Mapping[str, Any]:
        row = self._row(message)
        if row.end is None:
            raise PipelineError(f"pipeline {row.pipeline} is not over: only a failed or cancelled one can be run again")
        if row.end.state == "finished":
            raise PipelineError(f"pipeline {row.pipeline} is finished: there is nothing to run again")
        self._reopen(row)
        return {"answer": "ok", "pipeline id": row.pipeline}

    def _reopen(self, row: PipelineRow) -> None:
        self._store.reopen(row.pipeline)
        self.work.queue_of(row.pipeline).add(row.pipeline, row.priority)

    def _retry_failed(self, message: Mapping[str, Any], now: float) -> Mapping[str, Any]:
        """Newest first, so that a client that continues with ``before`` comes to an end even if some fail again at once."""
        self.work.flush(self._monotonic(), store_only=True)
        failed = self._store.listed(["failed"], take(message, "before", int, 0) or None, RETRIED)
        for row in failed:
            self._reopen(row)
        return {"answer": "ok", "pipeline ids": [row.pipeline for row in failed], "before": failed[-1].order if failed else 0}

    def _cancel(self, message: Mapping[str, Any], now: float) -> Mapping[str, Any]:
        row = self._row(message)
        if row.end is not None:
            raise PipelineError(f"pipeline {row.pipeline} is over already: it is {row.end.state}")
        if running := self.work.cancel(row.pipeline, row.accepted, self._wall()):
            self._said.append(("kill", {"jobs": running}))
        return {"answer": "ok", "pipeline id": row.pipeline}

    def _list(self, message: Mapping[str, Any], now: float) -> Mapping[str, Any]:
        states = take(message, "states", list, [])
        if unknown := [state for state in states if state not in STATES]:
            raise PipelineError(f"a pipeline is {', '.join(STATES)}; not {ascii(unknown[0])[:80]}")
        limit = max(1, min(ROWS, take(message, "limit", int, 100)))
        found: list[Mapping[str, Any]] = []
        size = 0
        for row in self._newest(set(states), take(message, "before", int, 0) or None, limit):
            size += len(row.body) + len(row.end.error if row.end else "") + 300
            if found and size > LIMIT // 2:
                break  # the rest can be asked for with `before`
            found.append(self._summary(row))
        return {"answer": "ok", "pipelines": found}

    def _newest(self, states: set[str], before: int | None, limit: int) -> list[PipelineRow]:
        """The store does not know which pipelines run: a Router that starts again begins with all of them."""
        kept_as = {WAITING if state == RUNNING else state for state in states}
        if not states or {WAITING, RUNNING} <= states or not states & {WAITING, RUNNING}:
            return self._store.listed(kept_as or None, before, limit)
        running = {name for name, active in self.work.active.items() if active.running}
        if WAITING in states:
            found: list[PipelineRow] = []
            while len(found) < limit and (page := self._store.listed(kept_as, before, limit)):
                found += [row for row in page if row.pipeline not in running]
                before = page[-1].order
            return found[:limit]
        rows = [row for row in self._store.rows(running).values() if row.end is None and (before is None or row.order < before)]
        if others := states - {RUNNING}:
            rows += self._store.listed(others, before, limit)
        return sorted(rows, key=lambda row: -row.order)[:limit]

    def _summary(self, row: PipelineRow) -> dict[str, Any]:
        active = self.work.active.get(row.pipeline)
        state = row.end.state if row.end else RUNNING if active and active.running else WAITING
        told: dict[str, Any] = {"id": row.pipeline, "order": row.order, "state": state, "accepted": row.accepted}
        told |= {"priority": row.priority, "data": json.loads(row.body).get("data")}
        told |= {"ended": None, "duration": None, "error": None, "accepted utc": utc(row.accepted), "ended utc": None}
        told["waits for"] = self._waits_for(active) if active else []
        if row.end is not None:
            told |= {"ended": row.end.at, "duration": row.end.duration, "error": _error_of(row.end)}
            told["ended utc"] = utc(row.end.at)
        return told

    def _waits_for(self, active: LeasedPipelines) -> list[str]:
        """What the pipeline's jobs wait for and no Broker has; empty: all of them can run."""
        wanted = {(active.jobs[job]["worker_name"], active.jobs[job].get("tag") or "") for job in active.attempts}
        return [_missing(worker, tag) for worker, tag in sorted(wanted) if tag and not self._cluster.can_run(worker, tag)]

    def _show(self, message: Mapping[str, Any], now: float) -> Mapping[str, Any]:
        row = self._row(message)
        records = self._store.jobs([row.pipeline]).get(row.pipeline, [])
        pipeline = self.work.active.get(row.pipeline) or LeasedPipelines.of(row, records)
        ends = {"failed": "skipped", "cancelled": "cancelled", "finished": "finished"}  # nothing is recorded of jobs that others ran
        rest = ends.get(row.end.state if row.end else "", "waiting")
        jobs = []
        for number, job in enumerate(pipeline.jobs):
            record = pipeline.records.get(number)
            state = "running" if number in pipeline.attempts else "waiting" if record and record.state == "raised" else None
            if state is None or row.end is not None:
                state = record.state if record else rest
            told = {"job": number, "job id": pipeline.job_id(number), "worker": job["worker_name"], "state": state}
            told |= {"tries": record.tries if record else 0, "duration": record.duration if record else None}
            told |= {"node": record.node if record else "", "after": pipeline.after[number]}
            told |= {"error": record.error if record else "", "traceback": record.traceback if record else ""}
            elsewhere = (row.pipeline, number, pipeline.attempts.get(number, (0, 0.0))[0]) in self._offers.taken
            told["tag"] = tag = job.get("tag") or ""
            if state == "running" and not elsewhere and not self._cluster.can_run(job["worker_name"], tag):
                told["state"] = "waiting"
                told["error"] = told["error"] or _missing(job["worker_name"], tag)
            jobs.append(told)
        results = {"results": pipeline.results()} if row.end is not None else {}
        return {"answer": "ok", **self._summary(row), **results, "jobs": jobs}

    def _ended_since(self, message: Mapping[str, Any], now: float) -> Mapping[str, Any]:
        number = take(message, "number", int, -1)
        if number < 0:  # whoever begins to listen
            return {"answer": "ok", "number": self._store.last_end(), "ends": []}
        ends: list[list[Any]] = []
        size = 0
        more: dict[str, Any] = {}
        for end in self._with_results(self._store.ended_since(number, ROWS)):
            size += len(end.error) + 300
            size += sum(len(json.dumps(result)) for result in end.results)
            if ends and size > LIMIT // 2:
                break
            ends.append(_end_row(end))
            more[end.pipeline] = _more(end)
        return {"answer": "ok", "number": self._store.last_end(), "ends": ends, "more": more}

    def _with_results(self, ends: Sequence[EndRecord]) -> Iterator[EndRecord]:
        """The same with what their last jobs returned, read some at a time: most callers want few."""
        for begin in range(0, len(ends), FEW):
            names = [end.pipeline for end in ends[begin : begin + FEW]]
            rows, records = self._store.rows(names), self._store.jobs(names)
            for end in ends[begin : begin + FEW]:
                results = LeasedPipelines.of(rows[end.pipeline], records.get(end.pipeline, [])).results()
                yield replace(end, results=tuple(results))

    # the others

    def _status(self, message: Mapping[str, Any], now: float) -> Mapping[str, Any]:
        work = self.work
        told: dict[str, Any] = {"brokers": len(work.brokers), "processes": self._cluster.processes()}
        told |= {"pipeliners": len(work.helpers) - (work.own in work.helpers)}
        told |= {
            "waiting": len(work.waiting) + len(work.single),
            "leased": len(work.active),
            "running": task_count(list(work.active.values())),
        }
        told["held"] = [len(helper.holds) for name, helper in work.helpers.items() if name != work.own]
        told |= {"tags": dict(self._cluster.tags()), "missing tags": self._missing_tags()}
        return {"answer": "ok", **self._about, **told, "workers": dict(self._cluster.workers())}

    def _missing_tags(self) -> dict[str, int]:
        """Tags that jobs wait for and no Broker has, with the number of the jobs."""
        there, found = self._cluster.tags(), dict[str, int]()
        for active in self.work.active.values():
            for job in active.attempts:
                tag = active.jobs[job].get("tag")
                if tag and tag not in there:
                    found[tag] = found.get(tag, 0) + 1
        return found

    def _pulse(self, message: Mapping[str, Any], now: float) -> Mapping[str, Any]:
        self.work.pulse(message, now)
        return {"answer": "ok", "fission": self._about}

    def _process_ended(self, message: Mapping[str, Any], now: float) -> Mapping[str, Any]:
        return {"answer": "ok", "its job": self.work.process_ended(message, now)}


def _missing(worker: str, tag: str) -> str:
    return f"waits for a Broker with the worker {worker!r}" + (f" and the tag {tag!r}" if tag else "")


def _more(end: EndRecord) -> dict[str, Any]:
    return {"ended utc": utc(end.at), "results": list(end.results)}


def _pieces(ended: Sequence[EndRecord]) -> Iterator[list[EndRecord]]:
    """Ends in the same order, as many as fit into a message."""
    piece: list[EndRecord] = []
    size = 0
    for end in ended:
        length = len(end.error) + 300 + (sum(len(json.dumps(result)) for result in end.results) if end.results else 0)
        if piece and size + length > LIMIT // 2:
            yield piece
            piece, size = [], 0
        piece.append(end)
        size += length
    if piece:
        yield piece


def _error_of(end: EndRecord) -> Any:
    return json.loads(end.error) if end.error else None


def _end_row(end: EndRecord) -> list[Any]:
    return [end.pipeline, end.state, end.duration, end.number, _error_of(end)]
