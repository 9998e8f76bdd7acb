"""How the Router accepts pipelines and single jobs, runs them again, and cancels them."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from fission.pipelines.errors import PipelineError
from fission.pipelines.leases import LeasedPipeline
from fission.pipelines.model import Pipeline
from fission.pipelines.ports import PipelineStore
from fission.pipelines.pypelinin_api import PypelininApi
from fission.pipelines.router_queries import RouterQueries
from fission.pipelines.router_state import RouterState
from fission.project.names import did_you_mean
from fission.protocol.messages.pipelines.client_to_router import (
    AddPipeline,
    AddPipelines,
    CancelPipeline,
    RetryFailedPipelines,
    RetryPipeline,
)
from fission.protocol.messages.pipelines.pypelinin_to_router import AddJob
from fission.protocol.messages.pipelines.router_to_client import (
    FailedRetried,
    PipelineAccepted,
    PipelineChanged,
    PipelinesAccepted,
)
from fission.protocol.messages.pipelines.router_to_pypelinin import JobAccepted
from fission.protocol.messages.pipelines.wire import PIPELINE_LIMIT, RouterReply, encode
from fission.protocol.pipeline_records import NewPipeline, PipelineRow

#: Maximum number of accepted pipelines whose jobs stay in memory until they are leased; those of others are read again. Arbitrary.
FRESH = 2000
#: Maximum number of pipelines that one request runs again. Arbitrary.
RETRIED = 500


class Submissions:
    """Performs requests that add or change pipelines.

    For one thread; ``now`` is in monotonic seconds.
    """

    def __init__(
        self,
        state: RouterState,
        store: PipelineStore,
        queries: RouterQueries,
        pypelinin: PypelininApi,
        wall: Callable[[], float],
        logger: logging.Logger,
    ) -> None:
        """Perform them on these.

        Args:
            state: of the Router.
            store: keeps the pipelines.
            queries: finds pipelines.
            pypelinin: reads jobs and pipelines in pypelinin's form.
            wall: returns seconds since the epoch.
            logger: the Router's.
        """
        self._state = state
        self._store = store
        self._queries = queries
        self._pypelinin = pypelinin
        self._wall = wall
        self._log = logger
        #: Ids of jobs that were cancelled while they ran and whose processes must be killed, until they are broadcast.
        self.killed: list[list[str]] = []

    def add_one(self, message: AddPipeline, now: float) -> PipelineAccepted:
        """Perform `AddPipeline`.

        Raises:
            PipelineError: the pipeline cannot be accepted.
        """
        name = uuid.uuid4().hex if message.pipeline_id is msgspec.UNSET else message.pipeline_id
        self._accept([self._checked(name, message.pipeline)])
        self._pypelinin.added()
        self._log.info("[API] pipeline %s accepted", name, extra={"pipeline": name})
        return PipelineAccepted(name)

    def add(self, message: AddPipelines, now: float) -> PipelinesAccepted:
        """Perform `AddPipelines`.

        Raises:
            PipelineError: one of the pipelines cannot be accepted, so none is.
        """
        self._accept([self._checked(row.pipeline_id, row.pipeline) for row in message.pipelines])
        self._pypelinin.added()
        return PipelinesAccepted(len(message.pipelines))

    def add_job(self, message: AddJob, now: float) -> RouterReply:
        """Perform `AddJob`."""
        try:
            job = self._pypelinin.single(message)
        except PipelineError as error:
            return self._pypelinin.refuse(str(error))
        self._accept([job])
        return JobAccepted(job.pipeline)

    def _accept(self, accepted: Sequence[NewPipeline]) -> None:
        known = self._store.rows(new.pipeline for new in accepted)
        # a known one was accepted before: the answer got lost, and the client asks again
        fresh = {new.pipeline: new for new in accepted if new.pipeline not in known}
        self._store.add(list(fresh.values()))
        for name, new in fresh.items():
            self._state.queue_of(name).add(name, new.priority)
            if len(self._state.fresh) < FRESH:
                self._state.fresh[name] = LeasedPipeline.of(PipelineRow(name, 0, new.body, new.accepted, priority=new.priority), [])

    def _checked(self, name: str, information: Any) -> NewPipeline:
        translated = self._pypelinin.pipeline(information)
        pipeline = Pipeline.deserialize(translated)
        # a client that sends pypelinin's form may have brokers whose workers cannot be known
        known = self._state.registry.workers if translated is information and not self._state.others else ()
        for job in pipeline.jobs:
            if known and job.worker_name not in known:
                hint = did_you_mean(job.worker_name, known) or f"; there are {', '.join(sorted(known))}"
                raise PipelineError(f"no Broker has a worker {job.worker_name!r}{hint}")
        body = encode(pipeline.serialize()).decode()
        if len(body) > PIPELINE_LIMIT:
            raise PipelineError(f"a pipeline must have at most {PIPELINE_LIMIT} bytes, but has {len(body)}: keep large data in the store")
        return NewPipeline(name, body, self._wall(), pipeline.priority)

    def retry(self, message: RetryPipeline, now: float) -> PipelineChanged:
        """Perform `RetryPipeline`.

        Raises:
            PipelineError: there is no such pipeline, or it has not failed and was not cancelled.
        """
        row = self._queries.row(message.pipeline_id)
        if row.end is None:
            raise PipelineError(f"pipeline {row.pipeline} has not ended: only a failed or cancelled pipeline can run again")
        if row.end.state == "finished":
            raise PipelineError(f"pipeline {row.pipeline} is finished: there is nothing to run again")
        self._reopen(row)
        self._note(row.pipeline, "runs again", message.by)
        return PipelineChanged(row.pipeline)

    def retry_failed(self, message: RetryFailedPipelines, now: float) -> FailedRetried:
        """Perform `RetryFailedPipelines`; newest first, so that a client's loop ends even if
        some fail again at once.
        """
        self._state.flush(now, store_only=True)
        failed = self._store.listed(["failed"], message.before or None, RETRIED)
        for row in failed:
            self._reopen(row)
        return FailedRetried([row.pipeline for row in failed], failed[-1].order if failed else 0)

    def _reopen(self, row: PipelineRow) -> None:
        self._store.reopen(row.pipeline)
        self._state.queue_of(row.pipeline).add(row.pipeline, row.priority)

    def cancel(self, message: CancelPipeline, now: float) -> PipelineChanged:
        """Perform `CancelPipeline`.

        Raises:
            PipelineError: there is no such pipeline, or it has ended.
        """
        row = self._queries.row(message.pipeline_id)
        if row.end is not None:
            raise PipelineError(f"pipeline {row.pipeline} has ended already: it is {row.end.state}")
        if running := self._state.cancel(row.pipeline, row.accepted, self._wall()):
            self.killed.append(running)
        self._note(row.pipeline, "is cancelled", message.by)
        return PipelineChanged(row.pipeline)

    def _note(self, pipeline: str, what: str, by: str) -> None:
        self._log.info("[API] pipeline %s %s%s", pipeline, what, f", as {by} asked" if by else "")
