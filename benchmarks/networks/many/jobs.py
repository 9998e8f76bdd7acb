"""Jobs that do almost nothing, so that the client's work is supervision."""

from __future__ import annotations

import time

from fission.core.jobs import PythonJob


class Source(PythonJob):
    """Counts without end."""

    def __init__(self, rate, **keywords):
        super().__init__(**keywords)
        self.rate = rate

    def run(self):
        number = 0
        while True:
            time.sleep(1 / self.rate)
            number += 1
            yield number


class Sink(PythonJob):
    def run(self, number):
        pass


class UsesNumpy(PythonJob):
    """Imports numpy in its process, as a job does whose module imports it."""

    def setup(self, *args, **keywords):
        super().setup(*args, **keywords)
        import numpy

        self.values = numpy.zeros(8)


class NumpySource(UsesNumpy, Source):
    pass


class NumpySink(UsesNumpy, Sink):
    pass
