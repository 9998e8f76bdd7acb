"""Returns what its pipe does not take."""

from fission.core.jobs import PythonJob
from fission.core.pipes import BasePipe, PicklePipe


class ReturnsShortBytes(PythonJob):
    def run(self, value):
        return b"abc"


class ReturnsText(PythonJob):
    def run(self, value):
        return "abcd"


class ReturnsSet(PythonJob):
    def run(self, value):
        return {value}


class TablePipe(PicklePipe):
    """Its pack has a bug."""

    def pack(self, data):
        return {"known": 1}[data]


class FixedPipe(BasePipe):
    """Writes more than its blocks have."""

    BLOCK_SIZE = 4

    def write(self, file, data):
        file.write(b"12345")


class Returns(PythonJob):
    def run(self, value):
        return value
