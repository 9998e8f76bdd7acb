"""Ends its own process."""

import os
import signal

from fission.core.jobs import PythonJob


class Killed(PythonJob):
    def run(self, value):
        os.kill(os.getpid(), signal.SIGKILL)


class Aborted(PythonJob):
    def run(self, value):
        os.abort()


class Terminated(PythonJob):
    """Ends as if another process had stopped it."""

    def run(self, value):
        os.kill(os.getpid(), signal.SIGTERM)
