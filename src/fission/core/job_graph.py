"""The jobs of a network and the pipes that join them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fission.core.base_job import BaseJob
    from fission.core.base_node import BaseNode
    from fission.core.base_pipe import BasePipe

__all__ = ["JobGraph"]


class JobGraph:
    """The jobs of a network by id, and everything that follows from how pipes join them. Immutable.

    Args:
        name: its name in messages.
        jobs: by id.
        nodes: the machines that it may use.
        pipes: further pipes by id, which must be part of it: one that no job lists is a fault.
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
                    if not pipe.id:  # its invalid id was reported when it was created
                        continue
                    known.setdefault(pipe.id, pipe)
                    ends.setdefault(pipe.id, []).append(job)
        self.pipes: Mapping[int, BasePipe] = MappingProxyType(dict(sorted(known.items())))

    def producer(self, pipe_id: int) -> BaseJob | None:
        """Return the job whose output the pipe is; None if there is none (a fault)."""
        return next(iter(self.producers(pipe_id)), None)

    def consumer(self, pipe_id: int) -> BaseJob | None:
        """Return the job whose input the pipe is; None if there is none (a fault)."""
        return next(iter(self.consumers(pipe_id)), None)

    def producers(self, pipe_id: int) -> tuple[BaseJob, ...]:
        """Return all jobs that list the pipe as an output, with repetitions; exactly one in a valid
        network.
        """
        return tuple(self._producers.get(pipe_id, ()))

    def consumers(self, pipe_id: int) -> tuple[BaseJob, ...]:
        """Return all jobs that list the pipe as an input, with repetitions; exactly one in a valid
        network.
        """
        return tuple(self._consumers.get(pipe_id, ()))

    @property
    def required(self) -> frozenset[int]:
        """Ids of the jobs whose end is the end of the network.

        These are all jobs that a non-ASYNC path from a source leads to (a source is a job without
        inputs, or with only ASYNC ones), including the source, except those that only feed ASYNC
        pipes, such as consoles. If none is left, it is all jobs.
        """
        # A job that is not a source has a non-ASYNC input, so every path upstream ends at a source: cycles need an ASYNC pipe.
        kept = frozenset(number for number, job in self.jobs.items() if not _feeds_only_async(job))
        return kept or frozenset(self.jobs)

    @property
    def timed(self) -> frozenset[int]:
        """Ids of the pipes whose blocks carry times: those on a way to a job with BLOCK_TIME.

        ASYNC pipes carry none.
        """
        found: set[int] = set()
        asking: list[BaseJob | None] = [job for job in self.jobs.values() if job.BLOCK_TIME]
        while asking:
            job = asking.pop()
            new = [pipe.id for pipe in job.inputs if not pipe.ASYNC and pipe.id not in found] if job is not None else []
            found.update(new)
            asking += map(self.producer, new)
        return frozenset(found)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {len(self.jobs)} jobs, {len(self.pipes)} pipes)"


def _feeds_only_async(job: BaseJob) -> bool:
    return bool(job.outputs) and all(pipe.ASYNC for pipe in job.outputs)
