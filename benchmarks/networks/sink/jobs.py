"""A sink that measures itself, from its first block until all of its file is acknowledged."""

from __future__ import annotations

import json
import time
from pathlib import Path

from fission.core.jobs import BytesSinkJob, CSVSinkJob, PythonJob


class Source(PythonJob):
    """Sends one value ``count`` times, at full speed."""

    def __init__(self, count, value, **keywords):
        super().__init__(**keywords)
        self.count, self.value = count, value

    def run(self):
        value = self.value
        for _ in range(self.count):
            yield value


class Measured:
    """Mix-in: writes the rate at the last block."""

    def __init__(self, count, sync, **keywords):
        super().__init__("out", **keywords)
        self.count, self.SYNC = count, sync
        self.done = 0
        self.first = 0.0

    def run(self, value):
        self.first = self.first or time.time()
        super().run(value)
        self.done += 1
        if self.done == self.count:
            self._fission_sink_file.sync_all()
            Path("result.json").write_text(json.dumps({"blocks_per_s": self.count / (time.time() - self.first)}))


class MeasuredCSV(Measured, CSVSinkJob):
    pass


class MeasuredBytes(Measured, BytesSinkJob):
    pass


SINKS = {"csv": MeasuredCSV, "bytes": MeasuredBytes}
