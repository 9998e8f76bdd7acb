"""What every job has, whatever runs it."""

from __future__ import annotations

from abc import ABCMeta
from types import ModuleType
from typing import TYPE_CHECKING, Any

from fission.core.base_node import enter_groups
from fission.core.base_pipe import BasePipe
from fission.core.registry import current, where
from fission.errors import DefinitionError, Fault

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta


class JobType(ABCMeta):
    """Gives every job its id, the place where it was created, and its entry in the registry, whatever its `__init__` does."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        registry = current()
        make: Any = cls.__new__
        job: BaseJob = make(cls, *args, **kwargs)
        registry._last_job_id += 1
        number = job.id = registry._last_job_id
        job.created_at = where()
        job.inputs, job.outputs = [], []
        try:
            job.__init__(*args, **kwargs)  # type: ignore[misc]
        except BaseException:
            if registry._last_job_id == number:  # else a job that is younger has the next id already
                registry._last_job_id -= 1
            raise
        registry.jobs[number] = job
        enter_groups(registry, job.GROUPS)
        return job


class BaseJob(metaclass=JobType):
    """A task of a network. `PythonJob` and `ExecutableJob` are what can be run; inherit from one of them.

    Class attributes, to be overridden:
        HEAD: whether the job sees the heads of its blocks.
        GROUPS: name of a group of nodes, or a list of names, the most wanted first; [] means DEFAULT_NODE or nothing.
        DEFAULT_NODE: address of the node that is tried first.
        MAX_QUEUE: how many blocks may wait before the oldest is dropped; 0: none is dropped, the producer waits.
        PRIORITY: who keeps a place when there are too few; higher first.
        RESTARTS: how often it may fail within RESTART_WINDOW; "config": as the config says; None: it is always started again.
        STALL_TIMEOUT: seconds without progress, in `setup` or `run`, after which its process is killed, as a failure; None: never.
        CHECKPOINT: None, or a snapshot every so many blocks (int) or so often (`datetime.timedelta`).
        DEPENDENCIES: a directory, modules, or a list of them with one directory at most; copied to the job's folder.

    Args:
        inputs: pipes that end here, in the order of `run`'s arguments.
        outputs: pipes that begin here, in the order of what `run` returns.

    Raises:
        DefinitionError: `inputs` or `outputs` is no list of pipes.
    """

    HEAD: bool = False
    GROUPS: str | Sequence[str] = "ALL"
    DEFAULT_NODE: str | None = None
    MAX_QUEUE: int = 0
    PRIORITY: int = 0
    RESTARTS: int | str | None = "config"
    STALL_TIMEOUT: float | None = None
    CHECKPOINT: int | timedelta | None = None
    DEPENDENCIES: Any = None

    id: int
    inputs: list[BasePipe]
    outputs: list[BasePipe]
    created_at: str = ""
    _fission_initialised = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Raises DefinitionError: the class, or another one that it inherits from, defines a name that is FISSION's own."""
        super().__init_subclass__(**kwargs)
        for name in ("name", "is_source", "is_sink", "is_connector"):
            owner = next(entry for entry in cls.__mro__ if name in vars(entry))
            if owner is not BaseJob:
                raise DefinitionError(
                    f"class {owner.__name__} defines {name}, which is FISSION's own in every job; give it another name, e.g. my_{name}"
                )

    def __init__(self, inputs: Sequence[BasePipe] | None = None, outputs: Sequence[BasePipe] | None = None) -> None:
        self._fission_initialised = True
        self.inputs = self._pipes("inputs", inputs)
        self.outputs = self._pipes("outputs", outputs)
        # Only the first end is noted: a second one is a fault that Network.check names together with the first.
        for pipe in self.inputs:
            pipe.destination = pipe.destination or self
        for pipe in self.outputs:
            pipe.source = pipe.source or self

    def _pipes(self, name: str, pipes: Any) -> list[BasePipe]:
        if pipes is None:
            return []
        if isinstance(pipes, (list, tuple)):
            wrong = [pipe for pipe in pipes if not isinstance(pipe, BasePipe)]
            got = f"has {wrong[0]!r} in it" if wrong else ""
        else:
            wrong, got = [pipes], f"is {pipes!r}"
        if wrong:
            current().report(Fault(f"{self.name}: {name} must be a list of pipes, but {got}", self.created_at))
        return [pipe for pipe in pipes if isinstance(pipe, BasePipe)] if isinstance(pipes, (list, tuple)) else []

    @property
    def name(self) -> str:
        """``ClassName ID``, as in messages and logs."""
        return f"{type(self).__name__} {self.id}"

    @name.setter
    def name(self, value: object) -> None:
        raise AttributeError(f"name is FISSION's own ({self.name}); give your attribute another name, e.g. label")

    @property
    def is_source(self) -> bool:
        """Whether nothing makes its `run` wait: it has no inputs, or only ASYNC ones."""
        return all(pipe.ASYNC for pipe in self.inputs)

    @property
    def is_sink(self) -> bool:
        """Whether it has no outputs."""
        return not self.outputs

    @property
    def is_connector(self) -> bool:
        """Whether it has inputs and outputs."""
        return bool(self.inputs and self.outputs)

    def definition_faults(self) -> list[str]:
        """What is wrong with this job beyond what every job is checked for; asked by `Network.check`. Texts without the job's name."""
        return []

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__)
        # modules cannot be pickled, and the node gets them as files
        if "DEPENDENCIES" in state:
            listed = state["DEPENDENCIES"]
            if isinstance(listed, ModuleType):
                state["DEPENDENCIES"] = None
            elif isinstance(listed, (list, tuple)):
                state["DEPENDENCIES"] = [entry for entry in listed if not isinstance(entry, ModuleType)]
        return state

    def __str__(self) -> str:
        return self.name

    __repr__ = __str__
