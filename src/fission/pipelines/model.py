"""Pipeline, Job, Worker: what a user writes. Light to import: no sockets, no Dask."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any, TypeAlias

from fission.pipelines.errors import PipelineError
from fission.pipelines.user_values import checked_data, fields_of, json_hash, sequence_of, shown
from fission.protocol.pipeline_limits import LARGEST_PRIORITY, LONGEST_S, MOST_RETRIES, NAME_LENGTH, is_name

JobData: TypeAlias = "Mapping[str, Any] | None"


class Worker:
    """What a job does: a class with `requires` and `process`, listed in its module's ``__all__``.

    Attributes:
        requires: names of what `process` needs; handed to the store, which looks it up.
    """

    requires: Sequence[str] = ()

    def process(self, data: Any) -> Any:
        """Do the job. The user writes this method.

        Args:
            data: what the store's `retrieve` returned.

        Returns:
            What the store's `save` gets: anything that it can store.
        """
        raise NotImplementedError(f"{type(self).__name__} must define process(self, data)")


class Job:
    """One call of a worker in a pipeline. Jobs of the same worker with the same data are equal.

    Attributes:
        worker_name: name of a worker of a Broker: any printable text without spaces.
        data: what the store gets for it; None: the pipeline's data.
        retries: how often it runs again after it raised.
        timeout: seconds after which its process is killed; None: no limit.
        tag: of the Brokers that may run it; None: any Broker.
    """

    def __init__(
        self, worker_name: str, data: JobData = None, retries: int = 0, timeout: float | None = None, *, tag: str | None = None
    ) -> None:
        """Create a job.

        Args:
            worker_name: name of a worker of a Broker: any printable text without spaces.
            data: a dict of JSON's types; None: the pipeline's data.
            retries: how often it runs again after it raised.
            timeout: seconds after which its process is killed; None: no limit.
            tag: of the Brokers that may run it; None: any Broker.

        Raises:
            PipelineError: an argument is malformed.
        """
        _check_job(worker_name, retries, timeout, tag)
        self.worker_name = worker_name
        self.data = checked_data(data, f"the data of Job({worker_name!r})")
        self.retries = retries
        self.timeout = timeout
        self.tag = tag

    def __repr__(self) -> str:
        rest = {"data": (self.data, None), "retries": (self.retries, 0), "timeout": (self.timeout, None), "tag": (self.tag, None)}
        words = [f", {name}={value!r}" for name, (value, default) in rest.items() if value != default]
        return f"Job({self.worker_name!r}{''.join(words)})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Job) and (self.worker_name, self.data) == (other.worker_name, other.data)

    def __hash__(self) -> int:
        return hash((self.worker_name, json_hash(self.data)))  # thousands of jobs of one worker must not share a hash

    def serialize(self) -> dict[str, Any]:
        """Return what `deserialize` takes: a dict of JSON's types, without members that have their
        default.
        """
        return self.as_message()

    def as_message(self) -> dict[str, Any]:
        """Return what is sent to the Router, whatever `serialize` of a subclass returns."""
        found: dict[str, Any] = {"worker_name": self.worker_name}
        if self.data is not None:
            found["data"] = self.data
        if self.retries:
            found["retries"] = self.retries
        if self.timeout is not None:
            found["timeout"] = self.timeout
        if self.tag is not None:
            found["tag"] = self.tag
        return found

    @classmethod
    def deserialize(cls, information: Any) -> Job:
        """Return the job from what `serialize` returned, or from the same as (name, value) pairs.

        Raises:
            PipelineError: ``worker_name`` is missing, or a member is unknown or malformed.
        """
        fields = fields_of(information, "a job", {"worker_name", "data", "retries", "timeout", "tag"})
        if "worker_name" not in fields:
            raise PipelineError(f"a job must have a worker_name, but is {shown(information)}")
        data = fields.get("data")
        if data is not None and not isinstance(data, Mapping):
            data = fields_of(data, "a job's data", None)
        return cls(fields["worker_name"], data, fields.get("retries", 0), fields.get("timeout"), tag=fields.get("tag"))


def _check_job(worker_name: Any, retries: Any, timeout: Any, tag: Any) -> None:
    if not is_name(worker_name):
        raise PipelineError(f"a job's worker name must be the name of a class, but is {shown(worker_name)}; a name has no spaces")
    if len(worker_name) > NAME_LENGTH:
        raise PipelineError(
            f"a job's worker name must have at most {NAME_LENGTH} characters, but has {len(worker_name)}: {worker_name[:40]}..."
        )
    if not isinstance(retries, int) or isinstance(retries, bool) or not 0 <= retries <= MOST_RETRIES:
        raise PipelineError(f"{worker_name}: retries must be a whole number from 0 to {MOST_RETRIES}, but is {shown(retries)}")
    number = isinstance(timeout, (int, float)) and not isinstance(timeout, bool)
    if timeout is not None and not (number and 0 < timeout <= LONGEST_S):
        raise PipelineError(
            f"{worker_name}: timeout must be a number of seconds above 0, at most {LONGEST_S:g}, or None, but is {shown(timeout)}"
        )
    if tag is not None and (not is_name(tag) or len(tag) > NAME_LENGTH):
        raise PipelineError(f"{worker_name}: tag must be a name without spaces, of at most {NAME_LENGTH} characters, but is {shown(tag)}")


def _check_priority(priority: Any) -> None:
    if not isinstance(priority, int) or isinstance(priority, bool) or abs(priority) > LARGEST_PRIORITY:
        raise PipelineError(
            f"a pipeline's priority must be a whole number from {-LARGEST_PRIORITY} to {LARGEST_PRIORITY}, but is {shown(priority)}"
        )


class Pipeline:
    """A graph of jobs without cycles.

    Attributes:
        jobs: each job once, with its data, in the order in which they were written.
        starters: jobs that come after no other job.
        data: for each job without data of its own.
        priority: pipelines with a larger one run first; default 0.
        id: set when it is started.
        started_at: seconds since the epoch; None: it was not started.
        finished: whether it has ended, failed or not.
        duration: seconds from its acceptance to its end; None: it has not ended.
        results: what the last jobs (those that no other job comes after) returned, in the order of
            `jobs`: dicts with ``worker``, ``job id``, and ``value`` or ``omitted`` (why there is no
            value). At most 64 KiB of JSON in all; empty before the end.
        error: of the job that failed first: ``worker``, ``error`` (one line), ``traceback``,
            ``data``, ``job id``; None: no job has failed.
    """

    def __init__(self, pipeline: Any, data: JobData = None, *, priority: int = 0) -> None:
        """Create a pipeline from its graph.

        Args:
            pipeline: ``{job: job}``, where each side may be a tuple or list of jobs, and an empty
                list or None means that nothing comes after; or a list of edges ``(job, job or
                None)``.
            data: for each job without data of its own.
            priority: an integer; waiting pipelines with a larger one run first.

        Raises:
            PipelineError: the graph has something else than jobs, a cycle, or no job; or data is
                not a dict of JSON's types; or the priority is not an integer from -1000 to 1000.
        """
        _check_priority(priority)
        self.priority = priority
        self.data = checked_data(data, "a pipeline's data")
        edges = list(edges_of(pipeline))
        written = dict.fromkeys(job for edge in edges for job in edge if job is not None)
        if not written:
            raise PipelineError("a pipeline must have at least one job, but has none: Pipeline({Job('A'): Job('B')})")
        numbers = {job: number for number, job in enumerate(written)}
        self._written = tuple(written)
        self._edges = [(numbers[before], None if after is None else numbers[after]) for before, after in edges]
        later = {after for _, after in self._edges if after is not None}
        if len(later) == len(numbers):
            raise PipelineError("the pipeline has no starter: every job comes after another one, so none can be the first")
        self._after: list[set[int]] = [set() for _ in numbers]
        for before, after in self._edges:
            if after is not None:
                self._after[after].add(before)
        self.jobs = tuple(self._with_data(job) for job in written)
        try:
            TopologicalSorter(dict(enumerate(self._after))).prepare()
        except CycleError as error:
            cycle = " -> ".join(self.jobs[number].worker_name for number in reversed(error.args[1]))
            raise PipelineError(f"the pipeline has a cycle: {cycle}; none of its jobs could be the first") from None
        self.starters = tuple(job for number, job in enumerate(self.jobs) if number not in later)
        self.id: str | None = None
        self.started_at: float | None = None
        self.finished = False
        self.duration: float | None = None
        self.error: dict[str, Any] | None = None
        self.results: list[dict[str, Any]] = []

    @property
    def result(self) -> Any:
        """What the last job returned; a list if there are several last jobs.

        None before the end, and in place of an omitted value.
        """
        values = [result.get("value") for result in self.results]
        followed = {before for after in self._after for before in after}
        return values if len(self.jobs) - len(followed) > 1 else values[0] if values else None

    def _with_data(self, job: Job) -> Job:
        """Return a copy: the same Job may be part of many pipelines, each with its own data."""
        found = Job(job.worker_name, None, job.retries, job.timeout, tag=job.tag)
        found.data = self.data if job.data is None else job.data  # both are checked; thousands of jobs may share what is large
        return found

    def __repr__(self) -> str:
        names = ", ".join(job.worker_name for job in self.jobs)
        return f"<Pipeline: {names}{', data=...' if self.data is not None else ''}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pipeline) and self.data == other.data and self._edge_set() == other._edge_set()

    def _edge_set(self) -> set[tuple[Job, Job | None]]:
        before = {number for number, after in self._edges if after is not None}
        edges = [edge for edge in self._edges if edge[1] is not None or edge[0] not in before]
        return {(self._written[number], None if after is None else self._written[after]) for number, after in edges}

    def __hash__(self) -> int:
        return hash(frozenset(job.worker_name for job in self.jobs))

    def serialize(self) -> dict[str, Any]:
        """Return what `deserialize` takes, of JSON's types.

        ``jobs`` as `Job.serialize` gives them, ``graph``: pairs of their numbers, the second null
        where nothing comes after, ``data``.
        """
        return self.as_message()

    def as_message(self) -> dict[str, Any]:
        """Return what is sent to the Router, whatever `serialize` of a subclass returns."""
        found = {"jobs": [job.as_message() for job in self._written], "graph": [list(edge) for edge in self._edges], "data": self.data}
        return found | {"priority": self.priority} if self.priority else found

    @classmethod
    def deserialize(cls, information: Any) -> Pipeline:
        """Return the pipeline from what `serialize` returned.

        Raises:
            PipelineError: it is not that, or not a pipeline that can be.
        """
        fields = fields_of(information, "a pipeline", {"jobs", "graph", "data", "priority"})
        jobs = [Job.deserialize(job) for job in sequence_of(fields.get("jobs"), "a pipeline's jobs")]
        if len(set(jobs)) != len(jobs):
            raise PipelineError("a pipeline's jobs must differ in worker_name or data: two of them are the same")

        def at(number: Any) -> Job:
            if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < len(jobs):
                raise PipelineError(f"an edge must name jobs by their numbers, 0 to {len(jobs) - 1}, but has {shown(number)}")
            return jobs[number]

        edges = []
        for edge in sequence_of(fields.get("graph"), "a pipeline's graph"):
            if not isinstance(edge, (list, tuple)) or len(edge) != 2:
                raise PipelineError(f"an edge must be two numbers of jobs, or one and null, but is {shown(edge)}")
            edges.append((at(edge[0]), None if edge[1] is None else at(edge[1])))
        return cls(edges, fields.get("data"), priority=fields.get("priority", 0))

    def after(self) -> list[list[int]]:
        """Return for each job the numbers of the jobs that it comes directly after."""
        return [sorted(numbers) for numbers in self._after]

    def __str__(self) -> str:
        names = self._dot_names()
        nodes = "".join(f"    {name};\n" for name in names)
        arrows = "".join(f"    {names[before]} -> {names[number]};\n" for number, after in enumerate(self.after()) for before in after)
        return f"digraph graphname {{\n{nodes}\n{arrows}}}"

    def _dot_names(self) -> list[str]:
        found = []
        seen: dict[str, int] = {}
        for job in self.jobs:
            seen[job.worker_name] = count = seen.get(job.worker_name, 0) + 1
            name = job.worker_name.replace("\\", r"\\").replace('"', r"\"")
            found.append(f'"{name}"' if count == 1 else f'"{name} {count}"')
        return found

    def save_dot(self, filename: str | Path, encoding: str = "utf-8") -> None:
        """Write the graph in Graphviz's language; replace an old file.

        Args:
            filename: of the file.
            encoding: of the file, as Python names it.
        """
        Path(filename).write_text(f"{self}\n", encoding=encoding)


def edges_of(graph: Any) -> Iterable[tuple[Job, Job | None]]:
    """Yield the edges of a graph in any form that `Pipeline` takes: (job, the job after it or
    None).

    Raises:
        PipelineError: it has other things than jobs.
    """
    if isinstance(graph, Mapping):
        for keys, values in graph.items():
            following = [values] if isinstance(values, Job) or values is None else sequence_of(values, "the jobs after a job") or [None]
            for key in [keys] if isinstance(keys, Job) else sequence_of(keys, "a pipeline's key"):
                for value in following:
                    yield _job(key), None if value is None else _job(value)
        return
    if not isinstance(graph, (list, tuple)):
        raise PipelineError(f"a pipeline must be a dict of jobs, or a list of edges (job, job), but is {shown(graph)}")
    for edge in graph:
        if not isinstance(edge, (list, tuple)) or len(edge) != 2:
            raise PipelineError(f"an edge must be a pair (job, job or None), but is {shown(edge)}")
        yield _job(edge[0]), None if edge[1] is None else _job(edge[1])


def _job(thing: Any) -> Job:
    if not isinstance(thing, Job):
        raise PipelineError(f"a pipeline must consist of Job objects, but has {shown(thing)}: Job({shown(str(thing))})")
    return thing
