"""Small predefined jobs: a clock, a relay, a console."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from fission.core.python_job import LocalJob, PythonJob
from fission.errors import InternalError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fission.core.base_pipe import BasePipe


#: Longest sleep at once in seconds. Arbitrary: a day, far below what the system's clock can count.
LONGEST_SLEEP_S = 86400.0


class ClockJob(PythonJob):
    """A source that sends the number 1 at regular intervals, to keep several jobs in step.

    A late tick does not shift later ones; missed ticks are left out.

    Args:
        clock_interval: seconds between two ticks, above 0.
    """

    def __init__(
        self,
        clock_interval: float = 0.04,
        inputs: Sequence[BasePipe] | None = None,
        outputs: Sequence[BasePipe] | None = None,
    ) -> None:
        super().__init__(inputs=inputs, outputs=outputs)
        self.clock_interval = clock_interval

    def _fission_faults(self) -> list[str]:
        interval: Any = self.clock_interval
        faults = super()._fission_faults()
        if isinstance(interval, bool) or not isinstance(interval, (int, float)) or not 0 < interval < float("inf"):
            faults.append(f"clock_interval must be a number of seconds above 0, but is {interval!r}")
        return faults

    def run(self, *args: Any) -> Iterator[int]:
        due = time.monotonic()
        while True:
            yield 1
            due += self.clock_interval
            wait = due - time.monotonic()
            if wait > 0:
                while wait > 0:
                    time.sleep(min(wait, LONGEST_SLEEP_S))
                    wait = due - time.monotonic()
            else:
                due += -wait // self.clock_interval * self.clock_interval


class ForwardingJob(PythonJob):
    """Forwards its input: one input to every output, or several inputs each to the output at the
    same position.
    """

    def _fission_faults(self) -> list[str]:
        faults = super()._fission_faults()
        if not self.inputs or len(self.inputs) not in (1, len(self.outputs)):
            faults.append(
                f"it forwards one input to all outputs, or as many inputs as there are outputs, but has {len(self.inputs)} inputs "
                f"and {len(self.outputs)} outputs"
            )
        return faults

    def run(self, *values: Any) -> Any:
        if not self.outputs:
            return None
        # always a tuple, because a value that is itself a tuple must not be split
        return values if len(values) == len(self.outputs) else values * len(self.outputs)


class InteractiveJob(LocalJob, PythonJob):
    """A console on the client: each typed line is one block.

    An empty line, or the end of the console, finishes the job.

    Override `parse` to send another value than the line; then an empty line is parsed like others.
    """

    def parse(self, line: str) -> Any:
        """Return the value to send for a line (without its end); by default the line.

        A ValueError is shown on the job's stderr, and nothing is sent.
        """
        return line

    def run(self, *args: Any) -> Iterator[tuple[Any, ...]]:
        console = self._fission_console
        if console is None:
            raise InternalError(f"{self._fission_name} was started without a console")
        parses = type(self).parse is not InteractiveJob.parse
        while (line := console.readline()) is not None:
            if not line and not parses:
                return
            try:
                value = self.parse(line)
            except ValueError as error:
                sys.stderr.write(f"{error}\n")  # a typing error must not end the console
                continue
            yield (value,) * len(self.outputs)
