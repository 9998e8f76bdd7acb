"""Returns values that cannot be pickled."""

import threading

from fission.core.jobs import PythonJob


class ReturnsLambda(PythonJob):
    def run(self, value):
        return lambda: value


class ReturnsLock(PythonJob):
    def run(self, value):
        return {"value": value, "lock": threading.Lock()}


class ReturnsGenerator(PythonJob):
    def run(self, value):
        return (part for part in range(value))


class Reluctant:
    def __reduce__(self):
        raise ValueError("cannot be pickled")


class ReturnsReluctant(PythonJob):
    def run(self, value):
        return Reluctant()


class YieldsLambda(PythonJob):
    def run(self):
        yield 1
        yield lambda: 2
