"""The jobs of demo_network_v2; the sources come from `shared`."""

from __future__ import annotations

import math

from fission.core.jobs import PythonJob


class JoinJob(PythonJob):
    """Multiplies the values of all its inputs that belong together, however many inputs it has."""

    def run(self, *values):
        result = math.prod(values)
        print(f"{self.id} -> {result}")
        return result


class ReduceJob(PythonJob):
    """Sums up what it gets at a time: a list, because its pipe has a BLOCK_COUNT."""

    def run(self, values):
        result = sum(values)
        print(f"{self.id} -> Sum over {values} is {result}")
