"""Ends its process as a script would, instead of calling finish()."""

import os
import sys

from fission.core.jobs import PythonJob


class Vanishes(PythonJob):
    def run(self, value):
        os._exit(0)


class Exits(PythonJob):
    def run(self, value):
        sys.exit()


class ExitsWithText(PythonJob):
    def run(self, value):
        sys.exit("that was it")
