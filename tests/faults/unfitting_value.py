"""Returns values that its pipe does not accept."""

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
    """A pipe whose pack has a bug."""

    def pack(self, data):
        return {"known": 1}[data]


class FixedPipe(BasePipe):
    """A pipe that writes more bytes than its blocks have."""

    BLOCK_SIZE = 4

    def write(self, file, data):
        file.write(b"12345")


class Returns(PythonJob):
    def run(self, value):
        return value
