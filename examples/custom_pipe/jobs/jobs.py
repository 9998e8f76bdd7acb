"""The jobs of custom_pipe: a typed number is added to a counted one, and a program that knows nothing of FISSION gets the sum."""

from __future__ import annotations

import time

from fission.core.jobs import ExecutableJob, PythonJob

LIMIT = 1_000_000_000  # of what is typed, so that the sum fits the 4 bytes of IntPipe


class SourceJob(PythonJob):
    """Counts from 0, at most one number a second, without end."""

    def run(self):
        value = 0
        while True:
            print(f"SourceJob: {value}")
            yield value
            time.sleep(1)
            value += 1


class MiddleJob(PythonJob):
    """Adds what was typed to what was counted."""

    def run(self, value, text):
        # InteractiveJob hands on lines as they were typed: they are str, and may be anything.
        try:
            typed = int(text)
            if abs(typed) > LIMIT:
                raise ValueError
        except ValueError:
            print(f"MiddleJob: {text!r} is not an integer from -{LIMIT} to {LIMIT}, 0 is taken for it")
            typed = 0
        result = value + typed
        print(f"MiddleJob: {value} + {typed} = {result}")
        return result  # not a tuple, so both outputs get it


class AppendJob(ExecutableJob):
    """Appends each integer to a text file.

    The program is called with ``-i PATH`` of a named pipe for its input, in the job's own folder, to which the files of
    DEPENDENCIES have been copied.
    """

    EXECUTABLE = "./append_integers.py"
    PARAMETERS = "--file integers.txt"
    DEPENDENCIES = "custom_pipe/source"
