"""A chain that measures itself: the source stamps each block, the sink writes what it saw into result.json."""

from __future__ import annotations

import json
import os
import resource
import statistics
import time

from chain import windowless
from fission.core.jobs import LocalJob, PythonJob

#: So many blocks never end; what each was delayed is not kept then.
ENDLESS = 10**9

# here, because each job's process loads this file before it makes its links
if "windows" in os.environ.get("FISSION_BENCH", "") and not json.loads(os.environ["FISSION_BENCH"])["windows"]:
    windowless.install()


class Source(PythonJob):
    """Sends ``count`` blocks [time, payload], as fast as they go or ``rate`` a second."""

    def __init__(self, count, payload, rate, **keywords):
        super().__init__(**keywords)
        self.count, self.payload, self.rate = count, payload, rate

    def run(self):
        payload, now = self.payload, time.time
        due = time.perf_counter()
        for _ in range(self.count):
            yield [now(), payload]
            if self.rate:
                due += 1 / self.rate
                time.sleep(max(0.0, due - time.perf_counter()))


class Forward(PythonJob):
    def run(self, value):
        return value


class Sink(LocalJob, PythonJob):
    """Notes the delay of each block; at the last one writes rate, median and 99th percentile."""

    def __init__(self, count, **keywords):
        super().__init__(**keywords)
        self.count = count

    def setup(self, *args, **keywords):
        super().setup(*args, **keywords)
        self.delays = []
        self.first = None

    def run(self, value):
        now = time.time()
        if self.first is None:
            self.first = now
        if self.count >= ENDLESS:
            return  # the viewer counts
        self.delays.append(now - value[0])
        if len(self.delays) == self.count:
            self.write()

    def write(self):
        delays = sorted(self.delays)
        result = {
            "count": self.count,
            "blocks_per_s": self.count / (time.time() - self.first),
            "p50_us": statistics.median(delays) * 1e6,
            "p99_us": delays[int(len(delays) * 0.99)] * 1e6,
            "first_block_at": self.first,
            "resident_bytes": _resident(),
            "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        }
        with open("result.json", "w") as file:
            json.dump(result, file)


class CountingSink(Sink):
    """Keeps nothing but the delay of the last block."""

    came = 0

    def run(self, value):
        self.came += 1
        if self.first is None:
            self.first = time.time()
        if self.came == self.count:
            self.delays = [time.time() - value[0]]
            self.write()


def _resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()
