"""Raises before its first block."""

from fission.core.jobs import PythonJob


class RaisesInSetup(PythonJob):
    def setup(self, *args, **kwargs):
        super().setup(*args, **kwargs)
        with open("model.bin", "rb") as file:
            self.model = file.read()

    def run(self, value):
        return value
