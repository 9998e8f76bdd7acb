"""Each file operation of the client fails once: the run is correct all the same, or refused before it begins."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.disk_faults import DISK_ERRORS
from tests.e2e.support import column, network
from tests.waiting import CommandLine

ROOT = Path(__file__).parents[2]
#: Runs the client with the n-th operation failing, and prints how many there were.
CLIENT = """
import json, sys
from fission import durable
from fission.cli.main import manage
from tests.disk_faults import FailNth

fault = FailNth(int(sys.argv[1]), int(sys.argv[2]), times=2, half=True, only="/runs/")
sys.argv = ["manage.py", "net", "run"]
try:
    with durable.interpose(fault):
        code = manage("manage.py")
except SystemExit as why:
    code = why.code
print(json.dumps({"failed": fault.failed, "seen": len(fault.seen), "at": fault.seen[fault.nth - 1 : fault.nth]}))
sys.exit(code)
"""
JOBS = """
class Numbers(PythonJob):
    CHECKPOINT = 20
    def setup(self):
        self.number = 0
    def run(self):
        self.number += 1
        if self.number == 60:
            self.finish()
        return self.number
"""
LISTED = 'Numbers(outputs=[PicklePipe(1)]),\nCSVSinkJob("n.csv", inputs=[PicklePipe(1)]),'
#: About as many as there are; each with one of the errors.
OPERATIONS = 130


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("first", range(1, 7, 2))
def test_every_write_fails_once(fission: CommandLine, first: int) -> None:
    root = fission.project(network(JOBS, LISTED))
    script = root / "client.py"
    script.write_text(CLIENT)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src"), str(root)])}
    for index, nth in enumerate(range(first, OPERATIONS, 6)):
        error = DISK_ERRORS[(index + first) % len(DISK_ERRORS)]
        command = [sys.executable, str(script), str(nth), str(getattr(errno, error))]
        done = subprocess.run(
            command, cwd=root, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
        )
        report = f"operation {nth}, {error}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        printed = json.loads(done.stdout.splitlines()[-1])
        assert "Traceback" not in done.stderr, report
        if done.returncode == 0:
            assert column(root / "net" / "local" / "2" / "n.csv") == list(range(1, 61)), report
            assert "net: finished after" in done.stdout, report
        else:
            assert done.returncode == 2, report
            assert f"Error: {root}/net/" in done.stderr or "Error: the event log" in done.stderr, report
            assert "started" not in done.stderr, report
        if not printed["failed"]:
            return  # the run has fewer operations
    pytest.fail(f"there are more operations than {OPERATIONS}: raise the number")
