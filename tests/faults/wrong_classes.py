"""Classes with faults that are found before the network starts."""

from fission.core.jobs import PythonJob
from fission.core.pipes import BytesPipe, OptionalJSONPipe, PicklePipe


class TakesTwo(PythonJob):
    def run(self, first, second):
        pass


class Generates(PythonJob):
    def run(self, value):
        yield value


class WrongQueue(PythonJob):
    MAX_QUEUE = "5"

    def run(self, value):
        pass


class WrongCountPipe(PicklePipe):
    BLOCK_COUNT = 0


class WrongDefaultPipe(OptionalJSONPipe):
    OPTIONAL_DEFAULT = "{no JSON"


class ShortDummyPipe(BytesPipe):
    def get_dummy(self):
        return b"123"


class TextDummyPipe(BytesPipe):
    def get_dummy(self):
        return "1234"


class FailingDummyPipe(BytesPipe):
    def get_dummy(self):
        return self.last


class UnreadableDummyPipe(PicklePipe):
    def get_dummy(self):
        return b"no pickle"
