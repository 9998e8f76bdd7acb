"""ASYNC outputs without a limit.

Their producer never waits for their consumer, but is warned when waiting blocks take much memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fission.protocol.output import Output
from fission.protocol.window import WINDOW_BLOCKS


class UnboundedOutputs:
    """The ASYNC outputs of a job whose pipes have no OPTIONAL_BUFFER_SIZE."""

    def __init__(self, names: Mapping[int, str]) -> None:
        """Begin without a warning.

        Args:
            names: names of the unbounded outputs, by pipe.
        """
        self._unwarned = dict(names)

    def look(self, outputs: Iterable[Output]) -> list[str]:
        """Return a warning for each pipe with too many waiting blocks, once per pipe.

        Too many are more than any other pipe would let wait.
        """
        return [
            f"{one.queue} blocks of {self._unwarned.pop(one.pipe)} wait for its consumer, and more may come; "
            "OPTIONAL_BUFFER_SIZE limits them"
            for one in outputs
            if one.pipe in self._unwarned and one.queue > WINDOW_BLOCKS
        ]
