"""ASYNC outputs without a limit.

Their producer never waits for their consumer, but is warned when waiting blocks take much memory.
"""

from __future__ import annotations

from collections.abc import Sequence

from fission.core.base import BaseJob
from fission.core.jobs import InteractiveJob
from fission.protocol.output import Output
from fission.protocol.window import WINDOW_BLOCKS


class UnboundedOutputs:
    """The ASYNC outputs of a job whose pipes have no OPTIONAL_BUFFER_SIZE.

    Attributes:
        pipes: their ids.
    """

    def __init__(self, job: BaseJob) -> None:
        """Find the unbounded outputs of a job.

        Args:
            job: job that has the outputs.
        """
        # a console may wait, and must: input that is written faster than it is taken waits in front
        # of it
        outputs = () if isinstance(job, InteractiveJob) else job.outputs
        self._names = {pipe.id: str(pipe) for pipe in outputs if pipe.ASYNC and not pipe.OPTIONAL_BUFFER_SIZE}
        self.pipes = frozenset(self._names)
        self._told: set[int] = set()

    def look(self, outputs: Sequence[Output]) -> list[str]:
        """Return a warning for each pipe with too many waiting blocks, once per pipe.

        Too many are more than any other pipe would let wait.
        """
        crowded = [one for one in outputs if one.pipe in self.pipes - self._told and one.queue > WINDOW_BLOCKS]
        self._told.update(one.pipe for one in crowded)
        return [
            f"{one.queue} blocks of {self._names[one.pipe]} wait for its consumer, and more may come; OPTIONAL_BUFFER_SIZE limits them"
            for one in crowded
        ]
