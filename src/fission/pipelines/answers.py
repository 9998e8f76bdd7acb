"""What Brokers and Pipeliners read from the Router's answers: checked as a whole before any of it is believed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fission.errors import LocalProtocolError, RemoteProtocolError
from fission.pipelines.messages import checked_id, rows, take, take_id
from fission.protocol.dagrun import DagRun, Event, JobFinished, JobLost, JobPlan, JobRaised, Known


@dataclass(frozen=True, slots=True)
class ExchangeAnswer:
    """The Router's answer to a Pipeliner's exchange.

    Attributes:
        pipelines: those that are leased to it now, by id; `DagRun.begin` is still to be called.
        events: what has happened to jobs, in order: (pipeline, event).
        cancelled: ids of pipelines that it must drop.
        processes: number of worker processes of the cluster.
    """

    pipelines: Mapping[str, DagRun]
    events: list[tuple[str, Event]]
    cancelled: list[str]
    processes: int


def exchange_answer(answer: Mapping[str, Any], number: int) -> ExchangeAnswer:
    """The answer in our types.

    Args:
        number: of the exchange that it must answer.

    Raises:
        RemoteProtocolError: it is malformed, or of another exchange.
    """
    if take(answer, "number", int) != number:
        raise RemoteProtocolError(f"it must be of exchange {number}")
    pipelines = {}
    for plan in take(answer, "pipelines", list):
        if not isinstance(plan, dict):
            raise RemoteProtocolError("'pipelines' must be objects")
        pipelines[take_id(plan, "id")] = _run(plan)
    happened = rows(answer, "events", str, int, int, str, str, bool)
    events = [(checked_id(name, "pipeline"), _event(*rest)) for name, *rest in happened]
    cancelled = [checked_id(name, "pipeline") for name in take(answer, "cancelled", list)]
    return ExchangeAnswer(pipelines, events, cancelled, take(answer, "processes", int))


def _run(plan: Mapping[str, Any]) -> DagRun:
    after, retries, known = take(plan, "after", list), take(plan, "retries", list), take(plan, "known", dict)
    if len(after) != len(retries) or not all(map(_is_whole, retries)):
        raise RemoteProtocolError("'retries' must be a whole number for each job")
    jobs = []
    for numbers, most in zip(after, retries, strict=True):
        if not isinstance(numbers, list) or not all(map(_is_whole, numbers)):
            raise RemoteProtocolError("'after' must be numbers of jobs for each job")
        jobs.append(JobPlan(frozenset(numbers), most))
    found = {}
    for job, record in known.items():
        if not job.isascii() or not job.isdecimal() or len(job) > 9:
            raise RemoteProtocolError(f"'known' must be by number of job, has {ascii(job)[:80]}")
        (row,) = rows({"known": [record]}, "known", int, bool, bool, int, str)
        found[int(job)] = Known(*row)
    try:
        return DagRun(jobs, found, take(plan, "attempts before", int, 0))
    except LocalProtocolError as error:
        raise RemoteProtocolError(str(error)) from None


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53


def _event(job: int, attempt: int, kind: str, error: str, hopeless: bool) -> Event:
    if kind == "finished":
        return JobFinished(job=job, attempt=attempt)
    if kind == "lost":
        return JobLost(job=job, attempt=attempt)
    return JobRaised(job=job, attempt=attempt, error=error, hopeless=hopeless)


@dataclass(frozen=True, slots=True)
class Configuration:
    """What the Router tells a Broker.

    Attributes:
        router: the Router's id; another one after each start.
        scheduler_port: of its Dask scheduler.
        store: arguments of the StoreClass.
        interval_s: seconds between two savings of monitoring information.
    """

    router: str
    scheduler_port: int
    store: Mapping[str, Any]
    interval_s: float


def configuration(answer: Mapping[str, Any]) -> Configuration:
    """The answer to ``get configuration`` in our types.

    Raises:
        RemoteProtocolError: it is malformed.
    """
    if "fission" not in answer:
        raise RemoteProtocolError(
            "its configuration has no 'fission': it is an older one or pypelinin's own; start the Router of this version"
        )
    about, interval = take(answer, "fission", dict), take(answer, "monitoring interval", float)
    port = take(about, "scheduler port", int)
    if not 0 < port < 65536 or not interval > 0:
        raise RemoteProtocolError("'scheduler port' must be a port and 'monitoring interval' above 0")
    return Configuration(take(about, "router", str), port, take(answer, "store", dict), interval)


def router_of(answer: Mapping[str, Any]) -> str:
    """The Router's id in the answer to a pulse.

    Raises:
        RemoteProtocolError: it is malformed.
    """
    return take(take(answer, "fission", dict), "router", str)


def ended_rows(message: Mapping[str, Any]) -> list[tuple[str, str, float, int, Any]]:
    """What the Router says of pipelines that have ended: (id, state, duration in seconds, number of the end, error or None).

    Raises:
        RemoteProtocolError: it is malformed.
    """
    found = []
    for row in take(message, "ends", list):
        if not isinstance(row, list) or len(row) != 5 or not isinstance(row[4], (dict, type(None))):
            raise RemoteProtocolError("'ends' must be rows of (id, state, duration, number, error)")
        fields = dict(zip(("id", "state", "duration", "number"), row, strict=False))
        number = take(fields, "number", int)
        found.append((take_id(fields, "id"), take(fields, "state", str), take(fields, "duration", float), number, row[4]))
    return found


def results_of(message: Mapping[str, Any], pipeline: str) -> list[dict[str, Any]]:
    """What the last jobs of a pipeline returned, as the same message says; empty from a Router that says nothing of results.

    Raises:
        RemoteProtocolError: it is malformed.
    """
    more = take(take(message, "more", dict, {}), pipeline, dict, {})
    results = take(more, "results", list, [])
    if not all(isinstance(one, dict) and ("value" in one or "omitted" in one) for one in results):
        raise RemoteProtocolError("'results' must be objects with 'value' or 'omitted'")
    return results
