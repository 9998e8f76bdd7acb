"""Raises on its third block, when the results of the first two are in the files of the other jobs."""

import time
from pathlib import Path

from fission.core.jobs import PythonJob

DEADLINE_S = 10


class Raises(PythonJob):
    def __init__(self, waits_for, **kwargs):
        super().__init__(**kwargs)
        self.waits_for = waits_for

    def run(self, value):
        if value == 3:
            self.wait()
            return self.deeper({"value": value})
        return value

    def wait(self):
        deadline = time.monotonic() + DEADLINE_S
        for path in self.waits_for:
            while not Path(path).exists() or "\n2\n" not in Path(path).read_text():
                if time.monotonic() > deadline:
                    raise TimeoutError(path)
                time.sleep(0.005)

    def deeper(self, table):
        return table["missing"]
