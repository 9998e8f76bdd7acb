"""pypelinin's Job and Pipeline.

Jobs are equal by worker name, a pipeline's data apply to all its jobs, and tuples are sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any, TypeAlias

from fission.pipelines import model
from fission.pipelines.errors import PipelineError
from fission.pipelines.pypelinin_form import is_pypelinin_form, read_pipeline
from fission.pipelines.user_values import checked_data

JobData: TypeAlias = "Mapping[str, Any] | None"
Pairs: TypeAlias = tuple[tuple[str, Any], ...]


class Job(model.Job):
    """One call of a worker.

    Jobs of the same worker are equal, with any data; `fission.pipelines.Job` compares data too.

    Attributes:
        worker_name, data, retries, timeout, tag: as in `fission.pipelines.Job`.
        pipeline: the newest pipeline that contains it; None: no pipeline does.
    """

    def __init__(
        self, worker_name: str, data: JobData = None, retries: int = 0, timeout: float | None = None, *, tag: str | None = None
    ) -> None:
        """Create a job; the arguments are the attributes of `fission.pipelines.Job`.

        Raises:
            PipelineError: an argument is invalid; a ValueError.
        """
        super().__init__(worker_name, data, retries, timeout, tag=tag)
        self.pipeline: Pipeline | None = None

    def __repr__(self) -> str:
        return f"<Job worker={self.worker_name}{', data=...' if self.data is not None else ''}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, model.Job) and self.worker_name == other.worker_name

    def __hash__(self) -> int:
        return hash(self.worker_name)

    def serialize(self) -> Pairs:  # type: ignore[override]
        """Return (name, value) pairs, the data as pairs too; `deserialize` takes them."""
        found = self.as_message()
        if self.data is not None:
            found["data"] = tuple(self.data.items())
        return tuple(found.items())


class Pipeline(model.Pipeline):
    """A graph of jobs without cycles, as in `fission.pipelines`.

    Attributes:
        jobs, starters: the Job objects that were given. Two jobs of one worker are the same job,
            unless both have data, the data differ, and the pipeline has none.
        sent_jobs: for the notes of a Pipeliner; empty at first.
    """

    def __init__(self, pipeline: Any, data: JobData = None, *, priority: int = 0) -> None:
        """Create a pipeline from its graph.

        Args:
            pipeline: ``{job: job}``, or a list of edges ``(job, job or None)``; a tuple or list of
                jobs may replace each job.
            data: data for all jobs, even those that have data: each Job object gets it as `data`,
                and the pipeline as `pipeline`.
            priority: as in `fission.pipelines`.

        Raises:
            PipelineError: the graph or an argument is invalid; a ValueError.
        """
        edges = list(model.edges_of(pipeline))
        plain: dict[int, model.Job] = {}
        given: dict[model.Job, list[model.Job]] = {}
        for job in (job for edge in edges for job in edge if job is not None):
            if id(job) not in plain:
                plain[id(job)] = model.Job(job.worker_name, None if data is not None else job.data, job.retries, job.timeout, tag=job.tag)
                given.setdefault(plain[id(job)], []).append(job)
        pairs = [(plain[id(before)], None if after is None else plain[id(after)]) for before, after in edges]
        super().__init__(pairs, data, priority=priority)
        self.jobs = tuple(same[0] for same in given.values())
        self.starters = tuple(job for job, after in zip(self.jobs, self._after, strict=True) if not after)
        self.sent_jobs: set[model.Job] = set()
        for job in (job for same in given.values() for job in same):
            if self.data is not None:
                job.data = self.data
            if isinstance(job, Job):
                job.pipeline = self

    def as_message(self) -> dict[str, Any]:
        """Return the message for the Router."""
        if self.data is None:  # a Job may have got its data after the pipeline was created
            for written, job in zip(self._written, self.jobs, strict=True):
                written.data = checked_data(job.data, f"the data of {job!r}")
        return super().as_message()

    def serialize(self) -> Pairs:  # type: ignore[override]
        """Return (name, value) pairs: ``graph`` and ``data``.

        The graph is a tuple of edges (serialized job, serialized job or None); the data are pairs
        or None.
        """
        jobs = [job.serialize() for job in self.jobs]
        graph = tuple((jobs[before], None if after is None else jobs[after]) for before, after in self._edges)
        found = {"graph": graph, "data": None if self.data is None else tuple(self.data.items())}
        return tuple((found | {"priority": self.priority} if self.priority else found).items())

    @classmethod
    def deserialize(cls, information: Any) -> Pipeline:
        """Create a pipeline from what `serialize` returned, directly or by way of JSON.

        Messages of `fission.pipelines` are accepted as well.

        Raises:
            PipelineError: it is neither; a ValueError.
        """
        if is_pypelinin_form(information):
            graph, data, priority = read_pipeline(information, Job)
            return cls(graph, data, priority=priority)
        pipeline = model.Pipeline.deserialize(information)
        message = pipeline.as_message()
        jobs = [Job.deserialize(job) for job in message["jobs"]]
        pairs = [(jobs[before], None if after is None else jobs[after]) for before, after in message["graph"]]
        return cls(pairs, pipeline.data, priority=pipeline.priority)

    def has_cycle(self) -> list[model.Job] | bool:
        """Return the jobs of a cycle, or False.

        A pipeline with a cycle cannot be created, so the result is False for every existing one.
        """
        try:
            TopologicalSorter(dict(enumerate(self._after))).prepare()
        except CycleError as error:
            return [self.jobs[number] for number in error.args[1]]
        return False


class PipelineForPipeliner(Pipeline):
    """A pipeline that records which of its jobs are finished, for a custom Pipeliner."""

    def __init__(self, pipeline: Any, data: JobData = None, *, priority: int = 0) -> None:
        """Create a pipeline; the arguments are those of `Pipeline`."""
        super().__init__(pipeline, data, priority=priority)
        del self.__dict__["finished"]  # a method here, as published
        self._finished_numbers: set[int] = set()

    def add_finished_job(self, job: Job) -> None:
        """Record that *job* is finished.

        Raises:
            PipelineError: *job* is not in the pipeline; a ValueError.
            RuntimeError: *job* was recorded before.
        """
        number = self._number(job)
        if number is None:
            raise PipelineError(f"a job that is finished must be in the pipeline {self!r}, but {job!r} is not")
        if number in self._finished_numbers:
            raise RuntimeError(f"a job must be reported as finished once, but {job!r} was reported before")
        self._finished_numbers.add(number)

    def finished_job(self, job: Job) -> bool:
        """Return whether *job* was recorded as finished."""
        return self._number(job) in self._finished_numbers

    def finished(self) -> bool:  # type: ignore[override]
        """Return whether all jobs are finished."""
        return len(self._finished_numbers) == len(self.jobs)

    def available_jobs(self) -> set[model.Job]:
        """Return unfinished jobs whose predecessors are all finished; ignores `sent_jobs`."""
        done = self._finished_numbers
        return {job for number, job in enumerate(self.jobs) if number not in done and self._after[number] <= done}

    def _number(self, job: Job) -> int | None:
        """Return the number of this very object, or else of an equal job.

        A job with the same worker and data comes before one with the same worker only.
        """
        same = [number for number, one in enumerate(self.jobs) if one == job]
        exact = [number for number in same if self.jobs[number].data == job.data]
        mine = [number for number in exact if self.jobs[number] is job]
        return next(iter([*mine, *exact, *same]), None)
