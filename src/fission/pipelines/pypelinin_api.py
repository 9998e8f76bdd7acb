"""The Router's side of pypelinin's wire protocol: commands of brokers, Pipeliners and clients that
are not FISSION's.

They take jobs (``get job``) and pipelines (``get pipeline``), report their ends, submit single jobs
and pipelines in pypelinin's form, and wait for broadcasts of one line: ``new job``, ``new
pipeline``, ``job finished: ID duration: SECONDS``, ``pipeline finished: id=ID, duration=SECONDS``.

A single job is a pipeline of one job whose id is the job's id. The Router itself runs it, so it
needs no Pipeliner. A taken job or pipeline belongs to its taker until the taker reports, because
the taker sends no pulse; a Router that starts again gives it to others. Only what was taken, or
what no process of FISSION works on, can be reported.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from fission.pipelines.broker_registry import PULSE_S
from fission.pipelines.errors import PipelineError
from fission.pipelines.leases import SINGLE, LeasedPipeline
from fission.pipelines.model import Job, Pipeline
from fission.pipelines.pipeliner import Pipeliner
from fission.pipelines.pull_queue import Key, PullQueue
from fission.pipelines.pypelinin_form import is_pypelinin_form, read_pipeline, written_pipeline
from fission.pipelines.router_state import RouterState
from fission.protocol.messages.pipelines.pypelinin_to_router import (
    AddJob,
    GetJob,
    GetPipeline,
    ReportJobFailed,
    ReportJobFinished,
    ReportPipelineFinished,
)
from fission.protocol.messages.pipelines.router_to_pypelinin import (
    GoodJob,
    InvalidSyntax,
    JobGiven,
    NoJob,
    NoPipeline,
    PipelineGiven,
    UnknownJob,
    UnknownPipeline,
)
from fission.protocol.messages.pipelines.wire import ERROR_LENGTH, PIPELINE_LIMIT, RouterReply, encode
from fission.protocol.pipeline_limits import DATA_DEPTH, deeper_than
from fission.protocol.pipeline_records import FINISHED, EndRecord, NewPipeline, TaskEnd

#: Maximum number of single jobs that the Router runs at a time; all others wait in its database. Arbitrary.
SINGLES = 1000
#: Maximum length of a job's id in characters: that of a pipeline, and a number.
JOB_ID_LENGTH = 100
#: Where a job ran that a third-party broker took, for people.
ELSEWHERE = "another broker"


class PypelininApi:
    """See the module. For one thread; ``now`` is in monotonic seconds."""

    def __init__(self, state: RouterState, queue: PullQueue, wall: Callable[[], float], logger: logging.Logger) -> None:
        """Prepare; no client is served yet.

        Args:
            state: of the Router.
            queue: has the jobs that can be taken.
            wall: returns seconds since the epoch.
            logger: the Router's.
        """
        self._state = state
        self._queue = queue
        self._wall = wall
        self._log = logger
        self._pipeliner: Pipeliner | None = None
        self._answer: Any = None
        self._lines: list[str] = []
        self._durations: dict[str, float] = {}  # of pipelines, as their Pipeliners have reported them
        self._repeated = 0.0
        self._pipeliners = False  # whether a third-party Pipeliner was seen
        self.commands: Mapping[type, Callable[[Any, float], RouterReply]] = {
            GetJob: self._get_job,
            ReportJobFinished: lambda message, now: self._job_ended(message.job_id, "finished", message.duration, "", now),
            ReportJobFailed: lambda message, now: self._job_ended(
                message.job_id, "raised", message.duration, str(message.message)[:ERROR_LENGTH], now
            ),
            GetPipeline: self._get_pipeline,
            ReportPipelineFinished: self._pipeline_finished,
        }

    # submissions

    def single(self, message: AddJob) -> NewPipeline:
        """Return the pipeline of an ``add job``.

        Raises:
            PipelineError: it cannot be one.
        """
        pipeline = Pipeline([(Job(message.worker, None, message.retries, message.timeout), None)], priority=message.priority)
        if deeper_than(DATA_DEPTH, message.data):
            raise PipelineError(f"a job's data must be nested at most {DATA_DEPTH} levels deep, but are nested deeper")
        # any JSON is allowed as data here, so it is not put into the Pipeline
        try:
            body = encode({**pipeline.as_message(), "data": message.data, "single": True}).decode()
        except ValueError as error:  # 1e999 is JSON, and infinite
            raise PipelineError(f"a job's data must be JSON: {error}") from None
        if len(body) > PIPELINE_LIMIT:
            raise PipelineError(f"a job must have at most {PIPELINE_LIMIT} bytes, but has {len(body)}: keep large data in the store")
        self._lines.append("new job")
        return NewPipeline(SINGLE + uuid.uuid4().hex[len(SINGLE) :], body, self._wall(), pipeline.priority)

    @staticmethod
    def pipeline(information: Any) -> Any:
        """Return a pipeline in pypelinin's form as `Pipeline.deserialize` takes it; return anything
        else unchanged.

        Raises:
            PipelineError: it is in pypelinin's form, and malformed.
        """
        if not is_pypelinin_form(information):
            return information
        edges, data, priority = read_pipeline(information)
        if data is not None:  # in pypelinin a pipeline's data replace those of all jobs
            for job in (job for edge in edges for job in edge if job is not None):
                job.data = None
        return Pipeline(edges, data, priority=priority).as_message()

    def added(self) -> None:
        """Note that a pipeline was submitted, in either form."""
        self._lines.append("new pipeline")

    def refuse(self, why: str) -> InvalidSyntax:
        """Return the answer to a malformed request, and log it."""
        self._log.warning("[API] refused: %s", why[:ERROR_LENGTH])
        return InvalidSyntax(why[:ERROR_LENGTH])

    # brokers

    def _get_job(self, message: GetJob, now: float) -> RouterReply:
        if not self._state.others:
            self._log.info("A broker other than FISSION's has connected")
            self._state.others = True
        workers: Sequence[str] | None = None if message.workers is msgspec.UNSET else message.workers
        while True:
            task = self._queue.pull(now, workers)
            if task is None:
                return NoJob()
            active = self._state.active.get(task.pipeline)
            if active is not None:
                return JobGiven(task.worker, active.data_of(task.job), _shown_id(active, task.job))

    def _job_ended(self, job_id: Any, kind: str, duration: float, error: str, now: float) -> RouterReply:
        key = self._key(job_id)
        if key is None or not self._queue.release(key):
            return UnknownJob()
        self._state.task_ends([TaskEnd(*key, kind, ELSEWHERE, float(duration), error)], now)
        active = self._state.active.get(key[0])
        if kind == "finished" and active is not None and not active.single:
            self._lines.append(f"job finished: {_shown_id(active, key[1])} duration: {duration}")
        if kind == "finished" and active is not None and active.single:
            active.reported_duration = duration
        return GoodJob()

    def _key(self, job_id: Any) -> Key | None:
        """Return which running job has this id, in either of its forms; None: none."""
        if not isinstance(job_id, str) or len(job_id) > JOB_ID_LENGTH:
            return None
        active = self._state.active.get(job_id)
        if active is not None and active.single:
            pipeline, number = job_id, "0"
        else:
            pipeline, _, number = job_id.rpartition("-")
            active = self._state.active.get(pipeline)
        if active is None or not (number.isascii() and number.isdecimal() and len(number) < 10) or int(number) not in active.attempts:
            return None
        return pipeline, int(number), active.attempts[int(number)][0]

    # Pipeliners

    def _get_pipeline(self, message: GetPipeline, now: float) -> RouterReply:
        self._pipeliners = True
        # one that has started would start again from its beginning
        active = self._state.hand_out(lambda active: not active.running and self._written(active) is not None)
        written = None if active is None else self._written(active)
        if active is None or written is None:
            return NoPipeline()
        return PipelineGiven(written, active.pipeline)

    @staticmethod
    def _written(active: LeasedPipeline) -> list[Any] | None:
        edges: list[list[int | None]] = [[earlier, number] for number, after in enumerate(active.after) for earlier in after]
        connected = {number for edge in edges for number in edge}
        edges += [[number, None] for number in range(len(active.jobs)) if number not in connected]
        return written_pipeline({"jobs": msgspec.to_builtins(active.jobs), "graph": edges, "data": active.data})

    def _pipeline_finished(self, message: ReportPipelineFinished, now: float) -> RouterReply:
        name = message.pipeline_id
        if not isinstance(name, str) or not self._state.finish(name, self._wall()):
            return UnknownPipeline()
        if message.duration is not msgspec.UNSET:
            self._durations[name] = message.duration
        return GoodJob()

    # the Router's own Pipeliner, and time

    def step(self, now: float) -> bool:
        """Run the single jobs; return whether anything has changed, so that the Router's state must
        be written again.
        """
        if self._pipeliner is None:
            if not self._state.single:
                return False
            self._pipeliner = Pipeliner("", "", self._log, jobs=SINGLES)
        elif self._answer is None:
            return False
        else:
            answer, self._answer = self._answer, None
            self._pipeliner.answered(answer)
        request = self._pipeliner.request()
        self._state.own = request.pipeliner
        self._state.exchange(request, self._answered, now, self._wall())
        return True

    def _answered(self, answer: RouterReply) -> None:
        self._answer = answer

    def tick(self, now: float) -> None:
        """Judge timeouts, and repeat broadcasts that may have been missed."""
        for pulled in self._queue.overdue(now):
            task = pulled.task
            error = f"timeout: another broker has had it for longer than {task.timeout:g} s"
            end = TaskEnd(task.pipeline, task.job, task.attempt, "raised", ELSEWHERE, now - pulled.since, error)
            self._state.task_ends([end], now)
        if now - self._repeated < PULSE_S:
            return
        self._repeated = now
        if self._state.others and self._queue.any():
            self._lines.append("new job")
        if self._pipeliners and self._state.waiting:
            self._lines.append("new pipeline")

    def lines(self, ended: list[EndRecord]) -> list[str]:
        """Return the lines to broadcast now.

        Args:
            ended: pipelines that have ended since the last call; their ends are in the store.
        """
        lines, self._lines = self._lines, []
        if self._queue.fresh and "new job" not in lines:
            lines.append("new job")
        self._queue.fresh = False
        for end in ended:
            failed = "" if end.state == FINISHED else end.state
            single = self._state.single_durations.pop(end.pipeline, None)
            if single is not None or end.pipeline.startswith(SINGLE):
                if failed:
                    lines.append(f"job failed: {end.pipeline} state: {failed}")
                lines.append(f"job finished: {end.pipeline} duration: {end.duration if single is None else single}")
                continue
            if failed:
                lines.append(f"pipeline failed: id={end.pipeline}, state={failed}")
            lines.append(f"pipeline finished: id={end.pipeline}, duration={self._durations.pop(end.pipeline, end.duration)}")
        return lines


def _shown_id(active: LeasedPipeline, job: int) -> str:
    return active.pipeline if active.single else active.job_id(job)
