"""A microphone that notes when PortAudio calls it, and the job after it."""

import json
import threading
import time
from collections import deque
from pathlib import Path

from fission.connectors.audio import MicrophoneJob
from fission.core.jobs import PythonJob

#: Blocks at the start that are left out: processes and the sound server have just begun.
FIRST = 100


class Hears(MicrophoneJob):
    """Sends each block with the time of the call that had it; PortAudio calls once per block."""

    def setup(self, *args, **kwargs):
        self.calls, main = deque(), threading.get_ident()

        def clock():
            now = time.monotonic()
            if threading.get_ident() != main:  # PortAudio's thread
                self.calls.append(now)
            return now

        self._fission_clock = clock
        super().setup(*args, **kwargs)

    def snapshot(self):
        return None

    def run(self):
        block = super().run()
        return [self.calls.popleft(), block]


class Notes(PythonJob):
    """Writes (seconds from hearing to the call, seconds from the call to `run`) of each block, and ends the network."""

    def __init__(self, blocks, began, **pipes):
        super().__init__(**pipes)
        self.blocks, self.began, self.notes = blocks, began, []

    def run(self, value):
        now, (called, block) = time.monotonic(), value
        heard = self.began + (int(block.samples[-1]) >> 8) / block.rate  # the counter of tests/sound_server.py
        self.notes.append((called - heard, now - called))
        if len(self.notes) == self.blocks + FIRST:
            Path("result.json").write_text(json.dumps(self.notes[FIRST:]))
            self.finish()
