"""Jobs that several networks of this project use."""

from __future__ import annotations

import time

from fission.core.jobs import PythonJob


class SourceJob(PythonJob):
    """Counts without end.

    Args:
        start: the first number.
        step: from one number to the next.
        delay: seconds after each number.
    """

    def __init__(self, start=1, step=1, delay=1, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.value = start
        self.step = step
        self.delay = delay

    def run(self):
        while True:
            print(f"{self.id} -> {self.value}")
            yield self.value
            time.sleep(self.delay)
            self.value += self.step


class DistributingJob(PythonJob):
    """Sends what comes in to each of its outputs."""

    def run(self, value):
        return (value,) * len(self.outputs)
