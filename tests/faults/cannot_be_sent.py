"""Jobs that cannot be sent to their processes."""

import threading

from fission.core.jobs import PythonJob
from fission.core.pipes import PicklePipe


class Takes(PythonJob):
    def run(self, value):
        pass


class Locked(Takes):
    """Makes in __init__ what belongs into setup."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.guard = threading.Lock()


class LockedPipe(PicklePipe):
    def __init__(self, id):
        super().__init__(id)
        self.guard = threading.Lock()


def make_class():
    class Inner(Takes):
        pass

    return Inner


Inner = make_class()


class WrongState(Takes):
    def __getstate__(self):
        return self.no_such_attribute
