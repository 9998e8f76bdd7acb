"""The nest of worker processes, where its end is met at an awkward moment."""

from __future__ import annotations

import subprocess
import sys

BROKER = """
import os, select, signal
from fission.pipelines.nest import Nest

nest = Nest(lambda: None, lambda slot, told: signal.pause())
for slot in range(3):
    nest.start(slot, {})
for _ in range(UNREAD):
    select.select([nest], [], [])  # news has come, which nobody reads
nest._socket.close()
print(os.waitstatus_to_exitcode(os.waitpid(nest.pid, 0)[1]))
"""


def _ends(unread: int) -> subprocess.CompletedProcess[str]:
    script = BROKER.replace("UNREAD", str(unread))
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=20, check=True)


def test_a_broker_that_goes_away_before_it_has_read_the_news() -> None:
    """The system tells that as a connection that was reset, not as its end."""
    done = _ends(unread=1)
    assert (done.stdout, done.stderr) == ("0\n", "")


def test_a_broker_that_goes_away_before_there_is_news() -> None:
    for _ in range(5):  # the nest may be about to tell: the socket breaks under it
        done = _ends(unread=0)
        assert (done.stdout, done.stderr) == ("0\n", "")
