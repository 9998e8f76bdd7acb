"""A network: its jobs and the pipes that join them, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from fission.core.checks import check_network, place_warnings
from fission.core.rates import needed_blocks, rate_warnings

if TYPE_CHECKING:
    from fission.core.base_job import BaseJob
    from fission.core.base_node import BaseNode
    from fission.core.base_pipe import BasePipe
    from fission.core.registry import Registry
    from fission.errors import Fault

__all__ = ["Network"]


class Network:
    """The jobs of a network, by id, and everything that follows from how their pipes join them. Does not change.

    Args:
        name: what messages call it.
        jobs: by id.
        nodes: the machines it may use.
        pipes: pipes that must be part of it, by id, besides those of the jobs: one that no job names is a fault.
    """

    def __init__(
        self,
        name: str,
        jobs: Mapping[int, BaseJob],
        nodes: Iterable[BaseNode] = (),
        pipes: Mapping[int, BasePipe] | None = None,
    ) -> None:
        self.name = name
        self.jobs: Mapping[int, BaseJob] = MappingProxyType(dict(jobs))
        self.nodes = tuple(nodes)
        known = dict(pipes or {})
        self._producers: dict[int, list[BaseJob]] = {}
        self._consumers: dict[int, list[BaseJob]] = {}
        for job in self.jobs.values():
            for listed, ends in ((job.inputs, self._consumers), (job.outputs, self._producers)):
                for pipe in listed:
                    if not pipe.id:  # it has no usable id, which was reported when it was created
                        continue
                    known.setdefault(pipe.id, pipe)
                    ends.setdefault(pipe.id, []).append(job)
        self.pipes: Mapping[int, BasePipe] = MappingProxyType(dict(sorted(known.items())))

    @classmethod
    def from_registry(cls, name: str, registry: Registry) -> Network:
        """The network of everything that was entered into `registry`. The faults that it collected stay with it."""
        return cls(name, registry.jobs, registry.nodes.values(), registry.pipes)

    def producer(self, pipe_id: int) -> BaseJob | None:
        """The job whose output the pipe is; None if it has none (a fault)."""
        return next(iter(self.producers(pipe_id)), None)

    def consumer(self, pipe_id: int) -> BaseJob | None:
        """The job whose input the pipe is; None if it has none (a fault)."""
        return next(iter(self.consumers(pipe_id)), None)

    def producers(self, pipe_id: int) -> tuple[BaseJob, ...]:
        """All jobs that name the pipe as an output, once for each time; exactly one unless `check` reports it."""
        return tuple(self._producers.get(pipe_id, ()))

    def consumers(self, pipe_id: int) -> tuple[BaseJob, ...]:
        """All jobs that name the pipe as an input, once for each time; exactly one unless `check` reports it."""
        return tuple(self._consumers.get(pipe_id, ()))

    @property
    def required(self) -> frozenset[int]:
        """Ids of the jobs whose end is the end of the network.

        Those are all that a non-ASYNC way leads to from a source (a job without inputs, or with only ASYNC ones), the source
        itself among them, but not those that only feed ASYNC pipes, such as consoles. Where none is left, it is all jobs.
        """
        # Whoever is no source has a non-ASYNC input, so going upstream ends at a source: circles are only allowed through ASYNC pipes.
        kept = frozenset(number for number, job in self.jobs.items() if not _feeds_only_async(job))
        return kept or frozenset(self.jobs)

    def check(self) -> list[Fault]:
        """Everything that is wrong and can be known before anything starts; empty if the network can be started.

        Not among it: faults that a `Registry` collected while the network was written down.
        """
        return check_network(self)

    def warnings(self) -> list[str]:
        """What is allowed but cannot go well: a job that takes two pipes on which blocks come at rates that do not fit, or that no node
        in NODES can take."""
        return [*rate_warnings(self), *place_warnings(self)]

    @property
    def needed(self) -> Mapping[int, int]:
        """Blocks of each pipe that its consumer may have to hold before it can let go of any, by pipe; see `fission.core.rates`."""
        return needed_blocks(self)

    def __repr__(self) -> str:
        return f"Network({self.name!r}, {len(self.jobs)} jobs, {len(self.pipes)} pipes)"


def _feeds_only_async(job: BaseJob) -> bool:
    return bool(job.outputs) and all(pipe.ASYNC for pipe in job.outputs)
