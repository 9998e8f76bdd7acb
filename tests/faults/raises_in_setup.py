"""Raises before its first block."""

from fission.core.jobs import PythonJob


class RaisesInSetup(PythonJob):
    def setup(self, *args, **kwargs):
        super().setup(*args, **kwargs)
        self.model = open("model.bin").read()

    def run(self, value):
        return value
