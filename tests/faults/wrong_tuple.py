"""Returns tuples that do not have one value for each output."""

from fission.core.jobs import PythonJob


class ThreeForTwo(PythonJob):
    def run(self, value):
        return (1, 2, 3)


class TwoForOne(PythonJob):
    def run(self, value):
        return (1, 2)


class NoneForOne(PythonJob):
    def run(self, value):
        return ()


class YieldsTwoForOne(PythonJob):
    def run(self):
        yield 1
        yield 2, 3
