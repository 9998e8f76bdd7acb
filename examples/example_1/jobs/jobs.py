"""The jobs of example_1: one that counts and one that hands on what it gets."""

from __future__ import annotations

import time

from fission.core.jobs import PythonJob


class SourceJob(PythonJob):
    """Counts from 0, one number a second, without end."""

    # A source's run may be a generator: each yield sends a value, and local variables keep what is needed between them.
    def run(self):
        value = 0
        while True:
            print(f"SourceJob: {value}")
            yield value
            time.sleep(1)
            value += 1


class MiddleJob(PythonJob):
    """Prints each value and hands it on."""

    # Called once for each value that arrives; what it returns goes to the output.
    def run(self, value):
        print(f"MiddleJob: {value}")
        return value
