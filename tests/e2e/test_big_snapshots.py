"""Jobs with large states: one kill, and the new incarnation continues in seconds; what is too large is refused by name."""

from __future__ import annotations

import json
import time

import pytest

from tests.waiting import CommandLine

JOBS = """
import os, signal, time
from fission.core.jobs import CSVSinkJob, PythonJob

class Counts(PythonJob):
    CHECKPOINT = 10
    number = 0
    def run(self):
        self.number += 1
        time.sleep(0.01)
        if self.number == 60:
            self.finish()
        return self.number
    def snapshot(self):
        return self.number
    def restore(self, number):
        self.number = number

class Big(PythonJob):
    '''Its state is SIZE bytes, and a sum; it kills itself once, after a snapshot.'''
    CHECKPOINT = 20
    total = 0
    def setup(self):
        self.state = os.urandom(1 << 20) * SIZE_MB
    def run(self, number):
        self.total += number
        if number == 45 and not os.path.exists("../killed"):
            open("../killed", "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        return self.total
    def snapshot(self):
        return self.total, self.state, hash(self.state[:1000])
    def restore(self, state):
        self.total, self.state, _ = state
        assert len(self.state) == SIZE_MB << 20
"""
HEAVY = """
class Heavy(Big):
    def __init__(self, **options):
        super().__init__(**options)
        self.load = bytes(2 << 20)
"""
LISTED = (
    "Counts(outputs=[PicklePipe(1)]), Big(inputs=[PicklePipe(1)], outputs=[PicklePipe(2)]), CSVSinkJob('out.csv', inputs=[PicklePipe(2)])"
)
#: From the death to the first block of the next incarnation. What is asked for is seconds; three for each 100 MB on a busy machine.
SECONDS_FOR_100_MB = 6.0


def project(size_mb: int, listed: str = LISTED, jobs: str = JOBS) -> dict[str, str]:
    config = f"from fission.core.pipes import *\nfrom net.jobs.jobs import *\nJOBS = [{listed}]\n"
    return {"net/config.py": config, "net/jobs/jobs.py": jobs.replace("SIZE_MB", str(size_mb))}


LONG = [pytest.mark.slow, pytest.mark.soak]


@pytest.mark.parametrize("size_mb", [60, pytest.param(200, marks=LONG), pytest.param(500, marks=LONG)])
@pytest.mark.timeout(240)
def test_a_large_state_survives_a_kill(fission: CommandLine, size_mb: int) -> None:
    fission.project(project(size_mb))
    done = fission.start("net", "simulate").wait(200)
    rows = (fission.root / "net" / "simulation" / "3" / "out.csv").read_text().split()
    assert rows[1:] == [str(sum(range(1, last + 1))) for last in range(1, 61)], done
    entries = [json.loads(line) for line in (fission.root / "net" / "simulation" / "events.jsonl").read_text().splitlines()]
    ended = next(one["s"] for one in entries if one["what"] == "JobEnded" and one.get("job") == 2)
    again = next(one["s"] for one in entries if one["what"] == "JobReady" and one.get("job") == 2 and one["incarnation"] == 2)
    assert again - ended < SECONDS_FOR_100_MB * max(1.0, size_mb / 100), (ended, again)


def test_a_job_that_is_too_large_to_start_is_refused_by_name(fission: CommandLine) -> None:
    """A bundle above 1 GiB is refused, and the fork server survives: here with a bound of 1 MB."""
    code = "import fission.adapters.local_engine.engine as engine\nengine.MOST_BUNDLE = 1 << 20\n"
    jobs = JOBS + HEAVY
    files = project(1, LISTED.replace("Big(", "Heavy("), jobs)
    files["net/config.py"] = code + files["net/config.py"]
    fission.project(files)
    began = time.monotonic()
    done = fission.start("net", "simulate").wait(60, exit_code=1)
    assert "Heavy 2" in done.stderr + done.stdout
    assert "must have at most 1048576 bytes" in done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    assert time.monotonic() - began < 50
