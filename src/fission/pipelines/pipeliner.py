"""The Pipeliner: decides for its leased pipelines which job runs when."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fission.errors import LocalProtocolError, RemoteProtocolError, UserError
from fission.pipelines.daemon import ask_fields, protect_with, quiet_logger, read_keys, sigterm_ends
from fission.pipelines.errors import DaemonError, KeysRefused, RouterAnswer, RouterUnreachable
from fission.protocol.dagrun import (
    CompletePipeline,
    DagJobPlan,
    DagRun,
    Event,
    Instruction,
    JobFinished,
    JobLost,
    JobRaised,
    RecordedJob,
    StartAttempt,
)
from fission.protocol.messages.pipelines.pipeliner_to_router import EndPipeline, PipelinerExchange, RunJob
from fission.protocol.messages.pipelines.router_to_pipeliner import ExchangeAnswer, ExchangeReply, JobEvent, LeasedPlan, UnknownPipeliner
from fission.protocol.messages.pipelines.wire import convert, encode

#: Minimum number of jobs that run or wait for a process; with more than a quarter as many processes, four for each. Arbitrary.
JOBS = 400
#: Seconds to wait for an answer; the Router sends one at least every second.
ANSWER_S = 3.0
#: Seconds before the Router is asked again after an unusable answer. Arbitrary.
PAUSE_S = 0.5


class Pipeliner:
    """Leases pipelines from the Router and runs them.

    Any number of Pipeliners share the work; each pipeline has one at a time.
    """

    def __init__(
        self,
        api: str,
        broadcast: str,
        logger: logging.Logger | None = None,
        poll_time: int = 50,
        logger_name: str = "Pipeliner",
        *,
        keys: str | Path | None = None,
        jobs: int = JOBS,
    ) -> None:
        """Prepare a Pipeliner; `start` connects it.

        Args:
            api: the Router's address for requests, ``tcp://HOST:PORT``.
            broadcast: the Router's address for broadcasts; not used.
            logger: gets the log; None: nothing is logged.
            poll_time: not used; accepted for old scripts.
            logger_name: name of the logger if none is given.
            keys: the Router's, the folder of `fission keys`; None: the Router has none.
            jobs: minimum number of jobs that run or wait for a process.

        Raises:
            DaemonError: the keys cannot be used.
        """
        self._jobs = jobs
        self._api = api
        self._keys = read_keys(keys)
        self.logger = logger if logger is not None else quiet_logger(logger_name)
        self.poll_time = poll_time
        self._start_over()
        #: Whether Ctrl-C or SIGTERM has ended it.
        self.interrupted = False

    def _start_over(self) -> None:
        """Become a Pipeliner that the Router does not know."""
        self._name = uuid.uuid4().hex
        self._number = self._processes = 0
        self._runs: dict[str, DagRun] = {}
        self._running: dict[str, int] = {}
        self._to_run: list[RunJob] = []
        self._ended: list[EndPipeline] = []

    def start(self) -> None:
        """Work until Ctrl-C or SIGTERM; the Router may come and go.

        Raises:
            DaemonError: the address is malformed, or the program there is not a Router or has other
                keys.
        """
        from fission.adapters.zmq_api import ApiClient

        try:
            client = ApiClient(self._api, protect_with(self._keys))
        except UserError as error:
            raise DaemonError(str(error)) from None
        self.logger.info("Pipeliner started")
        try:
            with sigterm_ends():
                self.logger.info("Entering main loop")
                self._work(client)
        except KeyboardInterrupt:
            self.interrupted = True
            self.logger.info("Got a signal to end, exiting.")
            self._leave(client)
        finally:
            client.close()

    def _work(self, client: Any) -> None:
        trouble, met = "", False
        while True:
            try:
                fields = ask_fields(client, self._api, self.request(), ANSWER_S, again=ANSWER_S)
            except RouterUnreachable as error:
                refused = isinstance(error, KeysRefused)
                if refused and not met:
                    raise DaemonError(str(error)) from None
                trouble = self._complain(str(error) if refused else "The Router does not answer", trouble, pause=False)
                continue
            except RouterAnswer as error:
                if not met:
                    raise DaemonError(str(error)) from None
                trouble = self._complain(f"The Router: {error}", trouble)
                continue
            try:
                self.answered(convert(fields, ExchangeReply))
            except RemoteProtocolError as error:
                trouble = self._complain(f"The Router's answer cannot be understood: {error}", trouble)
                continue
            if trouble:
                self.logger.info("The Router is back")
            trouble, met = "", True

    def request(self) -> PipelinerExchange:
        """Return the next exchange; the same one until it is answered."""
        room = max(self._jobs, 4 * self._processes) - sum(self._running.values())
        return PipelinerExchange(
            pipeliner=self._name, number=self._number + 1, room=max(0, room), run=list(self._to_run), ended=list(self._ended)
        )

    def answered(self, answer: ExchangeReply) -> None:
        """Take the Router's answer to `request`.

        Raises:
            RemoteProtocolError: it is of another exchange, or has an impossible pipeline; nothing
                has changed.
        """
        if isinstance(answer, UnknownPipeliner):
            self._start_over()
            return
        if answer.number != self._number + 1:
            raise RemoteProtocolError(f"the answer must be of exchange {self._number + 1}, but is of {answer.number}")
        runs = {plan.id: run_of(plan) for plan in answer.pipelines}
        self._number += 1
        self._to_run, self._ended = [], []
        self._processes = answer.processes
        self._take(answer, runs)

    def _take(self, answer: ExchangeAnswer, runs: dict[str, DagRun]) -> None:
        # in the order in which they happened: a pipeline that was cancelled and is leased again is a new one
        for event in answer.events:
            self._handle(event.pipeline_id, event_of(event))
        for name in answer.cancelled:
            self._forget_pipeline(name)
            self._to_run = [row for row in self._to_run if row.pipeline_id != name]
            self._ended = [row for row in self._ended if row.pipeline_id != name]
        for name, run in runs.items():
            self._runs[name] = run
            try:
                self._perform(name, run.begin())
            except LocalProtocolError as error:
                self.logger.error("Pipeline %s: %s", name, error)

    def _complain(self, trouble: str, before: str, *, pause: bool = True) -> str:
        """Log trouble once; pause if the Router answered at once, since it would do so again."""
        if trouble != before:
            self.logger.warning("%s; asking again", trouble)
        if pause:
            time.sleep(PAUSE_S)
        return trouble

    def _forget_pipeline(self, name: str) -> None:
        self._runs.pop(name, None)
        self._running.pop(name, None)

    def _handle(self, name: str, event: Event) -> None:
        run = self._runs.get(name)
        if run is None:
            return
        try:
            self._perform(name, run.handle(event))
        except LocalProtocolError as error:
            self.logger.error("Pipeline %s: %s", name, error)

    def _perform(self, name: str, instructions: Sequence[Instruction]) -> None:
        self._to_run += [RunJob(name, each.job, each.attempt) for each in instructions if isinstance(each, StartAttempt)]
        run = self._runs[name]
        self._running[name] = run.count
        if run.over:
            self._forget_pipeline(name)
            for each in instructions:
                if isinstance(each, CompletePipeline):
                    self._ended.append(EndPipeline(name, each.state.name.lower(), each.failed, each.error))

    def _leave(self, client: Any) -> None:
        farewell = PipelinerExchange(
            pipeliner=self._name, number=self._number + 1, leave=True, run=list(self._to_run), ended=list(self._ended)
        )
        client.request(encode(farewell), 0.5, again=0.5)


def run_of(plan: LeasedPlan) -> DagRun:
    """Return the machine of a leased pipeline; `DagRun.begin` is not called yet.

    Raises:
        RemoteProtocolError: a job comes after one that does not exist, or the plan knows of one.
    """
    jobs = [DagJobPlan(frozenset(after), retries) for after, retries in zip(plan.after, plan.retries, strict=True)]
    known = {number: RecordedJob(job.tries, job.finished, job.failed, job.attempt, job.error) for number, job in plan.known.items()}
    try:
        return DagRun(jobs, known, plan.attempts_before)
    except LocalProtocolError as error:
        raise RemoteProtocolError(str(error)) from None


def event_of(event: JobEvent) -> Event:
    """Return an event of the Router as one of the pipeline's machine."""
    if event.kind == "finished":
        return JobFinished(job=event.job, attempt=event.attempt)
    if event.kind == "lost":
        return JobLost(job=event.job, attempt=event.attempt)
    return JobRaised(job=event.job, attempt=event.attempt, error=event.error, hopeless=event.hopeless)
