"""A source that numbers its blocks, a job to lose, and a sink that records when each block arrives."""

from __future__ import annotations

import time

from fission.core.jobs import LocalJob, PythonJob


class Source(PythonJob):
    """Sends ``count`` blocks, ``rate`` a second; a new incarnation continues where the old one was."""

    CHECKPOINT = 50

    def __init__(self, count, rate, **keywords):
        super().__init__(**keywords)
        self.count, self.rate = count, rate

    def setup(self, *args, **keywords):
        super().setup(*args, **keywords)
        self.number = 0
        self.due = time.time()

    def snapshot(self):
        return self.number

    def restore(self, state):
        self.number = state

    def run(self):
        # lost time is not made up for: the gap must be the failover's, not that of a source that catches up
        self.due = max(self.due + 1 / self.rate, time.time())
        time.sleep(max(0.0, self.due - time.time()))
        self.number += 1
        if self.number == self.count:
            self.finish()
        return self.number


class Total(PythonJob):
    """The stateful job, which is lost."""

    CHECKPOINT = 50

    def setup(self, *args, **keywords):
        super().setup(*args, **keywords)
        self.total = 0

    def run(self, value):
        self.total += value
        return value, self.total


class Sink(LocalJob, PythonJob):
    """Writes each block's time of arrival, and the block, into arrivals.txt."""

    def setup(self, *args, **keywords):
        super().setup(*args, **keywords)
        self._fission_file = open("arrivals.txt", "a")  # noqa: SIM115 - open as long as the job runs

    def run(self, number, total):
        self._fission_file.write(f"{time.time()} {number} {total}\n")
        self._fission_file.flush()
