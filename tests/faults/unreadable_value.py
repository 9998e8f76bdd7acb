"""Sends values that can be pickled but not unpickled."""

import os
import sys

from fission.core.jobs import PythonJob
from fission.core.pipes import JSONPipe, PicklePipe


class SendsForeign(PythonJob):
    """Sends an object of a module that the receiver lacks."""

    def setup(self, *args, **kwargs):
        with open("only_here.py", "w") as file:
            file.write("class Foreign:\n    pass\n")
        sys.path.append(os.getcwd())

    def run(self, value):
        import only_here

        return only_here.Foreign()


class Stateful:
    def __init__(self):
        self.table = {}

    def __setstate__(self, state):
        self.value = state["table"]["missing"]


class SendsStateful(PythonJob):
    def run(self, value):
        return Stateful()


class TwoArguments(Exception):
    """An exception with two arguments: unpickling calls it with one."""

    def __init__(self, first, second):
        super().__init__(f"{first} {second}")


class SendsError(PythonJob):
    def run(self, value):
        return TwoArguments(1, 2)


class StopsPipe(PicklePipe):
    """Its unpack raises an exception that would end a loop."""

    def unpack(self, data):
        return next(iter([]))


class ReadsPipe(PicklePipe):
    def read(self, file):
        raise LookupError("no such block")


class LinePipe(JSONPipe):
    def pack(self, data):
        return b"no JSON\n"


class Sends(PythonJob):
    def run(self, value):
        return value


class Short:
    """Its __setstate__ raises an exception that would end a loop."""

    def __init__(self):
        self.table = {}

    def __setstate__(self, state):
        self.first = next(one for one in () if one)


class SendsShort(PythonJob):
    def run(self, value):
        return Short()


class Generation:
    """Unpickling it raises GeneratorExit."""

    def __reduce__(self):
        return leave, ()


def leave():
    raise GeneratorExit


class SendsGeneration(PythonJob):
    def run(self, value):
        return Generation()
