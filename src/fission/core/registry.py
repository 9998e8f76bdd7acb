"""The jobs, pipes, nodes and groups of a network, and their places in the user's files.

Creating a job or a pipe enters it into the *current registry*, which is a context variable. Loading
a network starts a new one (`reset`, `collecting`), so that one process can have two networks.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar

from fission.errors import DefinitionError, Fault

if TYPE_CHECKING:  # core's classes import this module to register themselves; only their types are needed here
    from types import FrameType

    from fission.core.base_job import BaseJob
    from fission.core.base_node import BaseGroup, BaseNode
    from fission.core.base_pipe import BasePipe

K = TypeVar("K")
V = TypeVar("V")

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep

# -- places in the user's files

_place: ContextVar[str] = ContextVar("fission_place", default="")


def where() -> str:
    """Return ``file:line`` of the nearest caller outside of this package, or ``""``.

    The file is relative to the working directory if it is below it. Inside `at` it is that place.
    """
    place = _place.get()
    if place:
        return place
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if not name.startswith("<frozen ") and not os.path.abspath(name).startswith(_PACKAGE):
            return place_of(name, frame.f_lineno)
        frame = frame.f_back
    return ""


def place_of(file: str, line: int) -> str:
    """Return ``file:line``, the file relative to the working directory if it is below it."""
    if not file.startswith("<"):
        path = os.path.abspath(file)
        below = os.path.join(os.getcwd(), "")
        file = path[len(below) :] if path.startswith(below) else path
    return f"{file}:{line}"


@contextmanager
def at(place: str) -> Iterator[None]:
    """Make `place`, as in ``jobs.csv:3``, the place of everything created in the with-block."""
    token = _place.set(place)
    try:
        yield
    finally:
        _place.reset(token)


def in_parentheses(place: str) -> str:
    """Return a place in parentheses, to follow the name of what was created there; empty if it is
    unknown.
    """
    return f" ({place})" if place else ""


# -- the registry


class Registry:
    """The jobs, pipes, nodes and groups of one network while it is being defined.

    Attributes:
        jobs: by id; ids count from 1 in the order of creation.
        pipes: by id.
        nodes: by address, or by pattern for nodes that stand for several machines.
        groups: by name.
        faults: the faults so far; None if faults are raised at once.
    """

    def __init__(self, *, collect: bool = False) -> None:
        self.jobs: dict[int, BaseJob] = {}
        self.pipes: dict[int, BasePipe] = {}
        self.nodes: dict[str, BaseNode] = {}
        self.groups: dict[str, BaseGroup] = {}
        self.faults: list[Fault] | None = [] if collect else None
        self._last_job_id = 0
        self.pipe_arguments: dict[int, tuple[tuple[Any, ...], dict[str, Any]]] = {}

    def new_job_id(self) -> int:
        """Return the id of a job that is being made."""
        self._last_job_id += 1
        return self._last_job_id

    def number_jobs_after(self, number: int) -> None:
        """Give the next job the id after this one."""
        self._last_job_id = number

    def give_back_job_id(self, number: int) -> None:
        """The job with this id was not made after all: the next one has it, unless a younger job
        has the next id already.
        """
        if self._last_job_id == number:
            self._last_job_id -= 1

    def _tables(self) -> tuple[dict[Any, Any], ...]:
        return self.jobs, self.pipes, self.nodes, self.groups, self.pipe_arguments

    def report(self, fault: Fault) -> None:
        """Collect or raise a fault.

        Raises:
            DefinitionError: with the text of the fault, unless faults are collected.
        """
        if self.faults is None:
            raise DefinitionError(str(fault))
        self.faults.append(fault)


_current: ContextVar[Registry | None] = ContextVar("fission_registry", default=None)


def current() -> Registry:
    """Return the registry that new jobs and pipes enter; creates one if there is none."""
    registry = _current.get()
    if registry is None:
        registry = Registry()
        _current.set(registry)
    return registry


def reset() -> None:
    """Start a new registry: no jobs, pipes, nodes and groups, job ids from 1 again."""
    _current.set(Registry())


def use(registry: Registry) -> None:
    """Make a registry the current one; from now on it raises faults instead of collecting them."""
    registry.faults = None
    _current.set(registry)


@contextmanager
def collecting() -> Iterator[Registry]:
    """Use a new registry in the with-block, which collects faults instead of raising them; then
    restore the old one.
    """
    registry = Registry(collect=True)
    token = _current.set(registry)
    try:
        yield registry
    finally:
        _current.reset(token)


@contextmanager
def collecting_copy() -> Iterator[Registry]:
    """Use a copy of the current registry in the with-block, which collects faults; then restore the
    original, unchanged.

    Existing pipes get back their ends, so that a network can be loaded from the registry
    repeatedly.
    """
    original, copy = current(), Registry(collect=True)
    for mine, theirs in zip(copy._tables(), original._tables(), strict=True):
        mine.update(theirs)
    copy._last_job_id = original._last_job_id
    ends = [(pipe, pipe.source, pipe.destination) for pipe in original.pipes.values()]
    token = _current.set(copy)
    try:
        yield copy
    finally:
        _current.reset(token)
        for pipe, source, destination in ends:
            pipe.source, pipe.destination = source, destination


class _View(MutableMapping[K, V]):
    """One of the dicts of the registry that is current at the time of access."""

    def __init__(self, look: Callable[[Registry], dict[K, V]]) -> None:
        self._look = look

    def __getitem__(self, key: K) -> V:
        return self._look(current())[key]

    def __setitem__(self, key: K, value: V) -> None:
        self._look(current())[key] = value

    def __delitem__(self, key: K) -> None:
        del self._look(current())[key]

    def __iter__(self) -> Iterator[K]:
        return iter(self._look(current()))

    def __len__(self) -> int:
        return len(self._look(current()))

    def __repr__(self) -> str:
        return repr(self._look(current()))


JOBS: MutableMapping[int, BaseJob] = _View(lambda registry: registry.jobs)
PIPES: MutableMapping[int, BasePipe] = _View(lambda registry: registry.pipes)
NODES: MutableMapping[str, BaseNode] = _View(lambda registry: registry.nodes)
GROUPS: MutableMapping[str, BaseGroup] = _View(lambda registry: registry.groups)
