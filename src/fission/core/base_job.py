"""What every job has, whatever runs it."""

from __future__ import annotations

from abc import ABCMeta
from types import ModuleType
from typing import TYPE_CHECKING, Any

from fission.core.base_node import enter_groups
from fission.core.base_pipe import BasePipe
from fission.core.registry import current, where
from fission.errors import Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import timedelta


class Answer(int):
    """True or False, which may also be called, as a method of a job was in MARVELO: ``job.is_source`` and ``job.is_source()``."""

    def __call__(self) -> bool:
        return bool(self)

    def __repr__(self) -> str:
        return str(bool(self))

    __str__ = __repr__


class Asked:
    """An attribute that FISSION answers, unless the job or its class has one of that name of its own."""

    def __init__(self, answer: Callable[[Any], Any]) -> None:
        self._answer = answer
        self.__doc__ = answer.__doc__

    def __get__(self, job: Any, owner: Any = None) -> Any:
        return self if job is None else self._answer(job)


class JobType(ABCMeta):
    """Gives every job its id, the place where it was created, and its entry in the registry, whatever its `__init__` does."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        registry = current()
        given = kwargs.pop("name", None) if "name" in kwargs and not _takes_name(cls) else None
        hashed: Any = cls.__hash__
        if hashed is None:  # a dataclass, or a class with an __eq__ of its own: a job is itself all the same
            type.__setattr__(cls, "__hash__", object.__hash__)
        make: Any = cls.__new__
        job: BaseJob = make(cls, *args, **kwargs)
        number = job._fission_id = registry.new_job_id()
        job._fission_place = where()
        job.inputs, job.outputs = [], []
        job._fission_call_it(given)
        try:
            job.__init__(*args, **kwargs)  # type: ignore[misc]
        except BaseException:
            registry.give_back_job_id(number)
            raise
        for side in ("inputs", "outputs"):
            if not _all_pipes(pipes := getattr(job, side)):
                text = f"{side} are the job's pipes, and cannot be {pipes!r}; give your attribute another name, e.g. my_{side}"
                setattr(job, side, [])
                registry.report(Fault(f"{job._fission_name}: {text}", job._fission_place))
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
        DEPENDENCIES: a directory, modules, classes (their modules), or a list with one directory at most; copied to the job's folder.

    Args:
        inputs: pipes that end here, in the order of `run`'s arguments.
        outputs: pipes that begin here, in the order of what `run` returns.
        name: what pictures, tables, messages and commands call the job, in place of class and id; no two jobs have the same. Every job
            takes it, without a word in its class. A class whose `__init__` has an argument of that name keeps it for itself, unless it
            hands it on.

    Raises:
        DefinitionError: `inputs` or `outputs` is no list of pipes, or `name` no line of text.
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

    inputs: list[BasePipe]
    outputs: list[BasePipe]
    _fission_id: int
    _fission_place: str = ""
    _fission_given_name: str | None = None
    _fission_initialised = False

    # What users may have attributes of their own for: an answer of ours only where they have none.
    id: Any = Asked(lambda job: job._fission_id)
    name: Any = Asked(lambda job: job._fission_name)
    created_at: Any = Asked(lambda job: job._fission_place)
    is_source: Any = Asked(lambda job: Answer(job._fission_is_source))
    is_sink: Any = Asked(lambda job: Answer(not job.outputs))
    is_connector: Any = Asked(lambda job: Answer(bool(job.inputs and job.outputs)))
    is_async: Any = Asked(lambda job: Answer(any(pipe.ASYNC for pipe in job.inputs)))

    def __init__(
        self, inputs: Sequence[BasePipe] | None = None, outputs: Sequence[BasePipe] | None = None, *, name: str | None = None
    ) -> None:
        self._fission_initialised = True
        self._fission_call_it(name)
        self.inputs = self._fission_pipes("inputs", inputs)
        self.outputs = self._fission_pipes("outputs", outputs)
        # Only the first end is noted: a second one is a fault that Network.check names together with the first.
        for pipe in self.inputs:
            pipe.destination = pipe.destination or self
        for pipe in self.outputs:
            pipe.source = pipe.source or self

    def _fission_pipes(self, name: str, pipes: Any) -> list[BasePipe]:
        if pipes is None:
            return []
        if isinstance(pipes, (list, tuple)):
            wrong = [pipe for pipe in pipes if not isinstance(pipe, BasePipe)]
            got = f"has {wrong[0]!r} in it" if wrong else ""
        else:
            wrong, got = [pipes], f"is {pipes!r}"
        if wrong:
            current().report(Fault(f"{self._fission_name}: {name} must be a list of pipes, but {got}", self._fission_place))
        return [pipe for pipe in pipes if isinstance(pipe, BasePipe)] if isinstance(pipes, (list, tuple)) else []

    def _fission_call_it(self, name: Any) -> None:
        """Takes the argument ``name``, if there is one."""
        if name is None:
            return
        if isinstance(name, str) and name.isprintable() and name.strip() and not name.strip().isdecimal():
            self._fission_given_name = name.strip()
            return
        text = f"name must be a line of text that is not only digits, but is {name!r}"
        current().report(Fault(f"{self._fission_name}: {text}", self._fission_place))

    @property
    def _fission_name(self) -> str:
        """What pictures, tables and messages call it: the argument ``name``, else ``ClassName ID``."""
        return self._fission_given_name or f"{type(self).__name__} {self._fission_id}"

    @property
    def _fission_is_source(self) -> bool:
        return all(pipe.ASYNC for pipe in self.inputs)

    def _fission_faults(self) -> list[str]:
        """What is wrong with this job beyond what every job is checked for; asked by `Network.check`. Texts without the job's name."""
        return []

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__)
        # modules cannot be pickled, and the node gets them as files
        if "DEPENDENCIES" in state:
            listed = state["DEPENDENCIES"]
            if isinstance(listed, (ModuleType, type)):
                state["DEPENDENCIES"] = None
            elif isinstance(listed, (list, tuple)):
                state["DEPENDENCIES"] = [entry for entry in listed if not isinstance(entry, (ModuleType, type))]
        return state

    def __str__(self) -> str:
        return self._fission_name

    def __repr__(self) -> str:
        return self._fission_name


def _all_pipes(pipes: Any) -> bool:
    return isinstance(pipes, (list, tuple)) and all(isinstance(pipe, BasePipe) for pipe in pipes)


def _takes_name(cls: type) -> bool:
    """Whether a class of the user's has ``name`` among the arguments of its `__init__`: it means what the user says then."""
    for entry in cls.__mro__:
        if entry is BaseJob:
            break
        if entry.__module__.startswith("fission.core."):
            continue
        code = getattr(vars(entry).get("__init__"), "__code__", None)
        if code is not None and "name" in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]:
            return True
    return False
