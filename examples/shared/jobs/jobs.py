"""Jobs that several networks of this project use."""

from __future__ import annotations

import time

from fission.core.jobs import PythonJob


class SourceJob(PythonJob):
    """Counts, one number a second, without end.

    Args:
        start: the first number.
        step: from one number to the next.
    """

    def __init__(self, start=1, step=1, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.value = start
        self.step = step

    def run(self):
        while True:
            print(f"{self.id} -> {self.value}")
            yield self.value
            time.sleep(1)
            self.value += self.step
