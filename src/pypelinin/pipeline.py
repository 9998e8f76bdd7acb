"""Job and Pipeline as pypelinin has them: jobs are equal by worker name, a pipeline's data are for all its jobs, tuples are sent."""

from __future__ import annotations

from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any, TypeAlias

from fission.pipelines import model
from fission.pipelines.errors import PipelineError
from fission.pipelines.pypelinin_form import is_pypelinin_form, read_pipeline

Data: TypeAlias = "Mapping[str, Any] | None"
Pairs: TypeAlias = tuple[tuple[str, Any], ...]


class Job(model.Job):
    """One call of a worker. Equal are jobs of the same worker, whatever their data: `fission.pipelines.Job` looks at both.

    Attributes:
        worker_name, data, retries, timeout, tag: as in `fission.pipelines.Job`.
        pipeline: the newest one that it was written into; None: none.
    """

    def __init__(
        self, worker_name: str, data: Data = None, retries: int = 0, timeout: float | None = None, *, tag: str | None = None
    ) -> None:
        """Args: as the attributes.

        Raises:
            PipelineError: one of them cannot be; a ValueError.
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
        """(name, value) pairs, the data as pairs too; `deserialize` takes them."""
        found = self.as_message()
        if self.data is not None:
            found["data"] = tuple(self.data.items())
        return tuple(found.items())


class Pipeline(model.Pipeline):
    """A graph of jobs without a circle, as in `fission.pipelines`.

    Attributes:
        jobs, starters: the Job objects that were given. Two of the same worker are one job, unless they have data of their own that differ
            and the pipeline has none.
        sent_jobs: for the notes of a Pipeliner; empty at first.
    """

    def __init__(self, pipeline: Any, data: Data = None, *, priority: int = 0) -> None:
        """Takes the graph.

        Args:
            pipeline: ``{job: job}``, or a list of edges ``(job, job or None)``; each job may also be a tuple or list of jobs.
            data: for all jobs, also those that have data: each Job object gets them as `data`, and the pipeline as `pipeline`.
            priority: as in `fission.pipelines`.

        Raises:
            PipelineError: it cannot be a pipeline; a ValueError.
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
        """What is sent to the Router."""
        if self.data is None:  # a Job may have got its data after it was written into the pipeline
            for written, job in zip(self._written, self.jobs, strict=True):
                written.data = model.checked_data(job.data, f"the data of {job!r}")
        return super().as_message()

    def serialize(self) -> Pairs:  # type: ignore[override]
        """(name, value) pairs: ``graph``, a tuple of edges (serialized job, serialized job or None), and ``data``, pairs or None."""
        jobs = [job.serialize() for job in self.jobs]
        graph = tuple((jobs[before], None if after is None else jobs[after]) for before, after in self._edges)
        found = {"graph": graph, "data": None if self.data is None else tuple(self.data.items())}
        return tuple((found | {"priority": self.priority} if self.priority else found).items())

    @classmethod
    def deserialize(cls, information: Any) -> Pipeline:
        """The pipeline of what `serialize` returned, as it is or out of JSON; what `fission.pipelines` sends will do, too.

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
        """The jobs of a circle, or False. A pipeline that has one cannot be made, so for those that are there it is False."""
        try:
            TopologicalSorter(dict(enumerate(self._after))).prepare()
        except CycleError as error:
            return [self.jobs[number] for number in error.args[1]]
        return False


class PipelineForPipeliner(Pipeline):
    """A pipeline that notes which of its jobs are finished, for a Pipeliner of your own."""

    def __init__(self, pipeline: Any, data: Data = None, *, priority: int = 0) -> None:
        """Args: as of `Pipeline`."""
        super().__init__(pipeline, data, priority=priority)
        del self.__dict__["finished"]  # a method here, as published
        self._finished_numbers: set[int] = set()

    def add_finished_job(self, job: Job) -> None:
        """Note that *job* is finished.

        Raises:
            PipelineError: it is not in the pipeline; a ValueError.
            RuntimeError: it was noted before.
        """
        number = self._number(job)
        if number is None:
            raise PipelineError(f"a job that is finished must be in the pipeline {self!r}, but {job!r} is not")
        if number in self._finished_numbers:
            raise RuntimeError(f"a job is finished once, but {job!r} was noted as finished before")
        self._finished_numbers.add(number)

    def finished_job(self, job: Job) -> bool:
        """Whether *job* was noted as finished."""
        return self._number(job) in self._finished_numbers

    def finished(self) -> bool:  # type: ignore[override]
        """Whether all jobs are."""
        return len(self._finished_numbers) == len(self.jobs)

    def available_jobs(self) -> set[model.Job]:
        """Jobs that are not finished and come after none that is not; `sent_jobs` is not looked at."""
        done = self._finished_numbers
        return {job for number, job in enumerate(self.jobs) if number not in done and self._after[number] <= done}

    def _number(self, job: Job) -> int | None:
        """Of this very object; else of one with the same worker and data; else of one with the same worker."""
        same = [number for number, one in enumerate(self.jobs) if one == job]
        exact = [number for number in same if self.jobs[number].data == job.data]
        mine = [number for number in exact if self.jobs[number] is job]
        return next(iter([*mine, *exact, *same]), None)
