"""The Router's side of pypelinin's wire protocol: commands of brokers, Pipeliners and clients that are not FISSION's.

They take jobs (``get job``) and pipelines (``get pipeline``), report their ends, hand in pipelines in pypelinin's form and single jobs,
and wait for broadcasts of one line: ``new job``, ``new pipeline``, ``job finished: ID duration: SECONDS``,
``pipeline finished: id=ID, duration=SECONDS``.

Rules. A single job is a pipeline of one job, whose id is the job's; the Router itself drives it, so it needs no Pipeliner. What was taken
is the taker's until it reports, for it sends no pulse; a Router that starts again gives it to others. Only what was taken, or what
nobody of FISSION's works on, can be reported: nothing that a process of a Broker runs is ended from here.
"""

from __future__ import annotations

import logging
import math
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from fission.errors import RemoteProtocolError
from fission.pipelines.errors import PipelineError
from fission.pipelines.leased_pipelines import SINGLE, LeasedPipelines
from fission.pipelines.limits import DATA_DEPTH, deeper_than
from fission.pipelines.messages import ERROR_LENGTH, PIPELINE_LIMIT, checked_worker, encode, take
from fission.pipelines.model import Job, Pipeline
from fission.pipelines.offers import Key, Offers
from fission.pipelines.old_messages import is_old, old_graph, old_pipeline
from fission.pipelines.pipeliner import Pipeliner
from fission.pipelines.router_state import PULSE_S, RouterState
from fission.protocol.pipeline_records import FINISHED, EndRecord, TaskEnd

Answer = Mapping[str, Any]
#: Single jobs that the Router drives at a time, at most; the others wait in its database. Arbitrary.
SINGLES = 1000
#: Characters of a job's id at most: a pipeline's, and its number.
ID_LENGTH = 100
#: Where a job ran that was taken, for people.
ELSEWHERE = "another broker"
SYNTAX_ERROR = "syntax error"


class OldWire:
    """See the head of this file. One thread's; `now` is in monotonic seconds."""

    def __init__(self, work: RouterState, offers: Offers, wall: Callable[[], float], logger: logging.Logger) -> None:
        """Args: work, offers: the Router's. wall: seconds since the epoch. logger: the Router's."""
        self._work = work
        self._offers = offers
        self._wall = wall
        self._log = logger
        self._pipeliner: Pipeliner | None = None
        self._answer: Answer | None = None
        self._lines: list[str] = []
        self._durations: dict[str, Any] = {}  # of pipelines, as their Pipeliners have reported them
        self._said = 0.0
        self._pipeliners = False  # whether one that is not FISSION's was seen
        self.commands: Mapping[str, Callable[[Answer, float], Answer]] = {
            "get job": self._get_job,
            "job finished": self._job_finished,
            "job failed": self._job_failed,
            "get pipeline": self._get_pipeline,
            "pipeline finished": self._pipeline_finished,
        }

    # what is handed in

    def single(self, message: Answer) -> tuple[str, str, int] | Answer:
        """The pipeline of an ``add job``: (id, body, priority); an answer if it cannot be one."""
        try:
            worker = checked_worker(message.get("worker"))
            retries, timeout, priority = message.get("retries", 0), message.get("timeout"), message.get("priority", 0)
            pipeline = Pipeline([(Job(worker, None, retries, timeout), None)], priority=priority)
        except (RemoteProtocolError, PipelineError) as error:
            return self._refuse(str(error))
        data = message.get("data")
        if deeper_than(DATA_DEPTH, data):
            return self._refuse(f"a job's data must be nested at most {DATA_DEPTH} levels deep, are deeper")
        # any JSON is data here, so they are not a Pipeline's
        try:
            body = encode({**pipeline.as_message(), "data": data, "single": True}).decode()
        except ValueError as error:  # 1e999 is JSON, and infinite
            return self._refuse(f"a job's data must be of what JSON has: {error}")
        if len(body) > PIPELINE_LIMIT:
            return self._refuse(f"a job has at most {PIPELINE_LIMIT} bytes, this one has {len(body)}: keep what is big in the store")
        self._lines.append("new job")
        return SINGLE + uuid.uuid4().hex[len(SINGLE) :], body, pipeline.priority

    @staticmethod
    def pipeline(information: Any) -> Any:
        """A pipeline as `Pipeline.deserialize` takes it, if this is one in pypelinin's form; else *information* itself.

        Raises:
            PipelineError: it is one, and malformed.
        """
        if not is_old(information):
            return information
        edges, data, priority = old_graph(information)
        if data is not None:  # there they are for all jobs
            for job in (job for edge in edges for job in edge if job is not None):
                job.data = None
        return Pipeline(edges, data, priority=priority).as_message()

    def added(self) -> None:
        """A pipeline was handed in, in whatever form."""
        self._lines.append("new pipeline")

    # brokers

    def _get_job(self, message: Answer, now: float) -> Answer:
        if not self._work.others:
            self._log.info("A broker has come that is not FISSION's")
            self._work.others = True
        workers = None
        if "workers" in message:
            try:
                workers = [checked_worker(name) for name in take(message, "workers", list)]
            except RemoteProtocolError as error:
                return self._refuse(str(error))
        while True:
            task = self._offers.take(now, workers)
            if task is None:
                return {"worker": None}
            active = self._work.active.get(task.pipeline)
            if active is not None:
                return {"worker": task.worker, "data": active.data_of(task.job), "job id": _shown_id(active, task.job)}

    def _job_finished(self, message: Answer, now: float) -> Answer:
        duration = message.get("duration")
        if "job id" not in message or not _is_duration(duration):
            return self._refuse("'job finished' must have a 'job id', and 'duration', a number of seconds from 0")
        return self._job_over(message, "finished", now)

    def _job_failed(self, message: Answer, now: float) -> Answer:
        if "job id" not in message or not _is_duration(message.get("duration", 0)):
            return self._refuse("'job failed' must have a 'job id'; its 'duration' must be a number of seconds from 0")
        return self._job_over(message, "raised", now)

    def _job_over(self, message: Answer, kind: str, now: float) -> Answer:
        key = self._key(message["job id"])
        if key is None or not self._offers.release(key):
            return {"answer": "unknown job id"}
        error = str(message.get("message", "it failed"))[:ERROR_LENGTH] if kind == "raised" else ""
        duration = message.get("duration", 0)
        self._work.task_ends([TaskEnd(*key, kind, ELSEWHERE, float(duration), error)], now)
        active = self._work.active.get(key[0])
        if kind == "finished" and active is not None and not active.single:
            self._lines.append(f"job finished: {_shown_id(active, key[1])} duration: {duration}")
        if kind == "finished" and active is not None and active.single:
            active.told_duration = duration
        return {"answer": "good job!"}

    def _key(self, job_id: Any) -> Key | None:
        """Which running job has this id, in either of its forms."""
        if not isinstance(job_id, str) or len(job_id) > ID_LENGTH:
            return None
        active = self._work.active.get(job_id)
        if active is not None and active.single:
            pipeline, number = job_id, "0"
        else:
            pipeline, _, number = job_id.rpartition("-")
            active = self._work.active.get(pipeline)
        if active is None or not (number.isascii() and number.isdecimal() and len(number) < 10) or int(number) not in active.attempts:
            return None
        return pipeline, int(number), active.attempts[int(number)][0]

    # Pipeliners

    def _get_pipeline(self, message: Answer, now: float) -> Answer:
        self._pipeliners = True
        # one that has begun would begin anew
        active = self._work.hand_out(lambda active: not active.running and self._written(active) is not None)
        if active is None:
            return {"pipeline": None}
        return {"pipeline": self._written(active), "pipeline id": active.pipeline}

    @staticmethod
    def _written(active: LeasedPipelines) -> list[Any] | None:
        edges: list[list[int | None]] = [[before, number] for number, after in enumerate(active.after) for before in after]
        there = {number for edge in edges for number in edge}
        edges += [[number, None] for number in range(len(active.jobs)) if number not in there]
        return old_pipeline({"jobs": active.jobs, "graph": edges, "data": active.data})

    def _pipeline_finished(self, message: Answer, now: float) -> Answer:
        if "pipeline id" not in message or not _is_duration(message.get("duration", 0)):
            return self._refuse("'pipeline finished' must have a 'pipeline id'; its 'duration' must be a number of seconds from 0")
        name = message["pipeline id"]
        if not isinstance(name, str) or not self._work.finish(name, self._wall()):
            return {"answer": "unknown pipeline id"}
        if "duration" in message:
            self._durations[name] = message["duration"]
        return {"answer": "good job!"}

    def _refuse(self, why: str) -> Answer:
        self._log.warning("[API] refused: %s", why[:ERROR_LENGTH])
        return {"answer": SYNTAX_ERROR, "error": why[:ERROR_LENGTH]}

    # the Router's own Pipeliner, and time

    def step(self, now: float) -> bool:
        """Drive the single jobs on; whether something has changed, so that the Router's work must be written down again."""
        if self._pipeliner is None:
            if not self._work.single:
                return False
            self._pipeliner = Pipeliner("", "", self._log, jobs=SINGLES)
        elif self._answer is None:
            return False
        else:
            answer, self._answer = self._answer, None
            self._pipeliner.answered(answer)
        request = self._pipeliner.request()
        self._work.own = request["pipeliner"]
        self._work.exchange(request, self._answered, now, self._wall())
        return True

    def _answered(self, answer: Answer) -> None:
        self._answer = answer

    def tick(self, now: float) -> None:
        """Time has passed: judge time limits, and say again what may not have been heard."""
        for taken in self._offers.overdue(now):
            task = taken.task
            error = f"timeout: another broker has had it for longer than {taken.timeout:g} s"
            self._work.task_ends([TaskEnd(task.pipeline, task.job, task.attempt, "raised", ELSEWHERE, now - taken.since, error)], now)
        if now - self._said < PULSE_S:
            return
        self._said = now
        if self._work.others and self._offers.any():
            self._lines.append("new job")
        if self._pipeliners and self._work.waiting:
            self._lines.append("new pipeline")

    def lines(self, ended: list[EndRecord]) -> list[str]:
        """What is broadcast now.

        Args:
            ended: pipelines that are over since the last call, and are written down as such.
        """
        lines, self._lines = self._lines, []
        if self._offers.fresh and "new job" not in lines:
            lines.append("new job")
        self._offers.fresh = False
        for end in ended:
            failed = "" if end.state == FINISHED else end.state
            single = self._work.single_durations.pop(end.pipeline, None)
            if single is not None or end.pipeline.startswith(SINGLE):
                if failed:
                    lines.append(f"job failed: {end.pipeline} state: {failed}")
                lines.append(f"job finished: {end.pipeline} duration: {end.duration if single is None else single}")
                continue
            if failed:
                lines.append(f"pipeline failed: id={end.pipeline}, state={failed}")
            lines.append(f"pipeline finished: id={end.pipeline}, duration={self._durations.pop(end.pipeline, end.duration)}")
        return lines


def _is_duration(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1e12 and math.isfinite(value)


def _shown_id(active: LeasedPipelines, job: int) -> str:
    return active.pipeline if active.single else active.job_id(job)
