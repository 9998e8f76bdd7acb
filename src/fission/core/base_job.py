"""The base class of every job."""

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


class CallableBool(int):
    """A boolean that can also be called, like MARVELO's methods: ``job.is_source`` and
    ``job.is_source()``.
    """

    def __call__(self) -> bool:
        return bool(self)

    def __repr__(self) -> str:
        return str(bool(self))

    __str__ = __repr__


class ComputedAttribute:
    """A computed attribute that an attribute of the same name in the job or its class replaces."""

    def __init__(self, answer: Callable[[Any], Any]) -> None:
        self._answer = answer
        self.__doc__ = answer.__doc__

    def __get__(self, job: Any, owner: Any = None) -> Any:
        return self if job is None else self._answer(job)


class JobType(ABCMeta):
    """Gives every job its id, its place in the source, and its entry in the registry, whatever
    `__init__` does.
    """

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        registry = current()
        given = kwargs.pop("name", None) if "name" in kwargs and not _takes(cls, "name") else None
        deadline = {"DEADLINE": kwargs.pop("deadline")} if "deadline" in kwargs and not _takes(cls, "deadline") else {}
        hashed: Any = cls.__hash__
        if hashed is None:  # a dataclass, or a class with its own __eq__: hash by identity nevertheless
            type.__setattr__(cls, "__hash__", object.__hash__)
        make: Any = cls.__new__
        job: BaseJob = make(cls, *args, **kwargs)
        number = job._fission_id = registry.new_job_id()
        job._fission_place = where()
        job.inputs, job.outputs = [], []
        job._fission_set_name(given)
        try:
            job.__init__(*args, **kwargs)  # type: ignore[misc]
        except BaseException:
            registry.give_back_job_id(number)
            raise
        vars(job).update(deadline)
        for side in ("inputs", "outputs"):
            if not _all_pipes(pipes := getattr(job, side)):
                text = f"{side} must be the job's pipes, but is {pipes!r}; give your attribute another name, e.g. my_{side}"
                setattr(job, side, [])
                registry.report(Fault(f"{job._fission_name}: {text}", job._fission_place))
        registry.jobs[number] = job
        enter_groups(registry, job.GROUPS)
        return job


class BaseJob(metaclass=JobType):
    """A task of a network. Derive from `PythonJob` or `ExecutableJob`, which can be run.

    Class attributes, for subclasses to override:
        HEAD: whether the job sees the heads of its blocks.
        BLOCK_TIME: whether the job reads, or as a source sets, `block_time`.
        GROUPS: name of a group of nodes, or a list of names, the preferred one first; []: only
            DEFAULT_NODE.
        DEFAULT_NODE: address of the node that is tried first.
        MAX_QUEUE: number of blocks that may wait before the oldest is dropped; 0: none is dropped,
            the producer waits.
        PRIORITY: which jobs keep a place when there are too few; higher values first.
        RESTARTS: number of failures allowed within RESTART_WINDOW; "config": the value in the
            config; None: no limit.
        STALL_TIMEOUT: seconds without progress, in `setup` or `run`, after which the process is
            killed, as a failure; None: never.
        DEADLINE: seconds from the time at which its source has made a block until this job should
            be done with it; later blocks are counted. None: no block is late.
        CHECKPOINT: interval between snapshots, in blocks (int) or time (`datetime.timedelta`);
            None: no snapshots.
        DEPENDENCIES: a directory, modules, classes (for their modules), or a list with at most one
            directory; copied to the job's folder.

    Args:
        inputs: pipes that end at this job, in the order of `run`'s arguments.
        outputs: pipes that start at this job, in the order of `run`'s return values.
        name: unique name in pictures, tables, messages and commands, in place of class and id.
            Every job accepts it, without code in its class. A class whose `__init__` has an
            argument of that name keeps it to itself, unless it passes it on.

    An argument ``deadline`` takes the place of DEADLINE, and is accepted as ``name`` is.

    Raises:
        DefinitionError: `inputs` or `outputs` is not a list of pipes, or `name` not a line of text.
    """

    HEAD: bool = False
    BLOCK_TIME: bool = False
    GROUPS: str | Sequence[str] = "ALL"
    DEFAULT_NODE: str | None = None
    MAX_QUEUE: int = 0
    PRIORITY: int = 0
    RESTARTS: int | str | None = "config"
    STALL_TIMEOUT: float | None = None
    DEADLINE: float | None = None
    CHECKPOINT: int | timedelta | None = None
    DEPENDENCIES: Any = None

    inputs: list[BasePipe]
    outputs: list[BasePipe]
    _fission_id: int
    _fission_place: str = ""
    _fission_given_name: str | None = None
    _fission_initialised = False

    # Computed attributes whose names users may use for their own: an attribute of the user's takes precedence.
    id: Any = ComputedAttribute(lambda job: job._fission_id)
    name: Any = ComputedAttribute(lambda job: job._fission_name)
    created_at: Any = ComputedAttribute(lambda job: job._fission_place)
    is_source: Any = ComputedAttribute(lambda job: CallableBool(job._fission_is_source))
    is_sink: Any = ComputedAttribute(lambda job: CallableBool(not job.outputs))
    is_connector: Any = ComputedAttribute(lambda job: CallableBool(bool(job.inputs and job.outputs)))
    is_async: Any = ComputedAttribute(lambda job: CallableBool(any(pipe.ASYNC for pipe in job.inputs)))

    def __init__(
        self, inputs: Sequence[BasePipe] | None = None, outputs: Sequence[BasePipe] | None = None, *, name: str | None = None
    ) -> None:
        self._fission_initialised = True
        self._fission_set_name(name)
        self.inputs = self._fission_pipes("inputs", inputs)
        self.outputs = self._fission_pipes("outputs", outputs)
        # Only the first end is stored: a second one is a fault, which Network.check reports together with the first.
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

    def _fission_set_name(self, name: Any) -> None:
        """Set the name, if one is given."""
        if name is None:
            return
        if isinstance(name, str) and name.isprintable() and name.strip() and not name.strip().isdecimal():
            self._fission_given_name = name.strip()
            return
        text = f"name must be a line of text that is not only digits, but is {name!r}"
        current().report(Fault(f"{self._fission_name}: {text}", self._fission_place))

    @property
    def _fission_name(self) -> str:
        """The name in pictures, tables and messages: the argument ``name``, or ``ClassName ID``."""
        return self._fission_given_name or f"{type(self).__name__} {self._fission_id}"

    @property
    def _fission_is_source(self) -> bool:
        return all(pipe.ASYNC for pipe in self.inputs)

    def _fission_faults(self) -> list[str]:
        """Return the faults that are specific to this class, without the job's name; for
        `Network.check`.
        """
        return []

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__)
        # modules cannot be pickled; the node receives them as files
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


def _takes(cls: type, name: str) -> bool:
    """Return whether a user's class has an argument of this name in its `__init__`."""
    for entry in cls.__mro__:
        if entry is BaseJob:
            break
        if entry.__module__.startswith("fission.core."):
            continue
        code = getattr(vars(entry).get("__init__"), "__code__", None)
        if code is not None and name in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]:
            return True
    return False
