"""A pipe whose get_dummy works on the client but not in the job's process, and a job that loses blocks."""

import os
import time
from pathlib import Path

from fission.core.jobs import PythonJob
from fission.core.pipes import BytesPipe

HERE = os.path.basename(os.getcwd()).isdigit()  # the folder of a job
DEADLINE_S = 10


class FailingDummyPipe(BytesPipe):
    def get_dummy(self):
        if not HERE:
            return bytes(self.BLOCK_SIZE)
        with open("dummy.bin", "rb") as file:
            return file.read()


class ShortDummyPipe(BytesPipe):
    def get_dummy(self):
        return b"" if HERE else bytes(self.BLOCK_SIZE)


class SendsMany(PythonJob):
    def run(self):
        for number in range(100):
            yield number.to_bytes(4, "big")
        Path("all_sent").touch()


class Loses(PythonJob):
    """Takes its first block, and the next one after the others have been dropped."""

    MAX_QUEUE = 1

    def run(self, value):
        deadline = time.monotonic() + DEADLINE_S
        while not os.path.exists("../1/all_sent"):
            if time.monotonic() > deadline:
                raise TimeoutError
            time.sleep(0.005)
