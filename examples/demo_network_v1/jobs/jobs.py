"""The jobs of demo_network_v1: three that count, one that multiplies, one that sums up."""

from __future__ import annotations

import time

from fission.core.jobs import PythonJob


class SourceJob(PythonJob):
    """Counts from 1, one number a second, without end."""

    def run(self):
        value = 1
        while True:
            print(f"{self.id} -> {value}")
            yield value
            time.sleep(1)
            value += 1


class JoinJob(PythonJob):
    """Multiplies the values of its three inputs that belong together."""

    def run(self, in_1, in_2, in_3):
        result = in_1 * in_2 * in_3
        print(f"{self.id} -> {result}")
        return result


class ReduceJob(PythonJob):
    """Sums up what it gets at a time: a list, because its pipe has a BLOCK_COUNT."""

    def run(self, values):
        result = sum(values)
        print(f"{self.id} -> Sum over {values} is {result}")
