"""A chain that measures itself: the source stamps each block, the sinks write what they saw into result.json, and each job its
processor time into cpu.json."""

from __future__ import annotations

import json
import os
import time

from chain import unstamped, windowless
from chain.meter import Meter, blocks, double, write_json
from fission.core.jobs import LocalJob, PythonJob

# here, because each job's process loads this file before it makes its links
if "windows" in os.environ.get("FISSION_BENCH", "") and not json.loads(os.environ["FISSION_BENCH"]).get("windows", True):
    windowless.install()
if "FISSION_BENCH_STAMPS" in os.environ:
    unstamped.install(*map(float, os.environ["FISSION_BENCH_STAMPS"].split()))


class Measured(PythonJob):
    """Writes the processor seconds of its process, with all of its threads, from setup to teardown."""

    def setup(self, *args, **keywords):
        super().setup(*args, **keywords)
        self.cpu_before = time.process_time()

    def teardown(self):
        write_json("cpu.json", time.process_time() - self.cpu_before)


class Source(Measured):
    """Sends what chain/meter.py says."""

    def __init__(self, order, **keywords):
        super().__init__(**keywords)
        self.order = order

    def run(self):
        yield from blocks(self.order)


class Forward(Measured):
    def run(self, value):
        return value


class Double(Measured):
    """Changes each array."""

    def run(self, value):
        return double(value)


class DoubleInPlace(Measured):
    """Changes each array; the result is computed where the next job reads it."""

    def run(self, value):
        import numpy

        stamp, values = value
        if type(values) is int:
            return value
        result = self.new_array(values.shape, values.dtype)
        numpy.multiply(values, 2.0, out=result)
        return [stamp, result]


class Stateful(Forward):
    """Has state, so many bytes of it."""

    def __init__(self, every, state, **keywords):
        super().__init__(**keywords)
        self.CHECKPOINT, self.state = every, bytes(state)

    def snapshot(self):
        return self.state

    def restore(self, state):
        self.state = state


class Sink(LocalJob, Measured):
    """Writes rate, median and 99th percentile at the last block."""

    def __init__(self, order, **keywords):
        super().__init__(**keywords)
        self.order = order

    def setup(self, *args, **keywords):
        super().setup(*args, **keywords)
        self.take = Meter(self.order).take

    def run(self, value):
        result = self.take(value)
        if result is not None:
            write_json("result.json", result)
