"""Jobs that make no progress: how they are shown, and STALL_TIMEOUT."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

import pytest

from tests.e2e.failover import Stage, csv_of, project_of
from tests.e2e.support import finish, network
from tests.waiting import CommandLine, eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]  # several command lines each, which a busy machine starts in seconds

#: Jobs that misbehave in their first incarnation, at the tenth block or in `setup`, and then work.
STANDS = """
class Stands(PythonJob):
    STALL_TIMEOUT = 2.0
    how = "{how}"
    def setup(self, *args, **kwargs):
        self.first = not os.path.exists("was here")
        open("was here", "w").close()
        self.stand("setup")
    def run(self, value):
        if value == 10:
            time.sleep(0.5)  # the client has heard that it is ready
            self.stand("run")
        return value
    def stand(self, where):
        what, _, there = self.how.partition(" in ")
        if not self.first or there != where:
            return
        if what == "stopped":
            os.kill(os.getpid(), signal.SIGSTOP)
        elif what == "computes":
            while True:
                pass
        elif what == "computes in C":
            sum(range(10**12))
        else:
            threading.Event().wait()
"""
REASONS = {"stopped": "its process is stopped by a signal"}


def standing(fission: CommandLine, job: int) -> dict[str, Any]:
    """Return what `status` reports of a job that makes no progress; empty if it makes some."""
    row = json.loads(fission.run("net", "status", "--json", exit_code=0).stdout)["jobs"][job - 1]
    return row["standing"] or {}


@pytest.mark.parametrize(
    "how", ["stopped in run", "computes in run", "waits in run", "waits in setup", pytest.param("stopped in setup", marks=pytest.mark.slow)]
)
def test_a_stalled_job_is_restarted_as_after_a_failure_with_the_reason(fission: CommandLine, how: str) -> None:
    what, _, where = how.partition(" in ")
    listed = "Numbers(60, outputs=[PicklePipe(101)]), Stands(inputs=[PicklePipe(101)], outputs=[PicklePipe(102)]), "
    listed += "CSVSinkJob('result.csv', inputs=[PicklePipe(102)])"
    fission.project(project_of(listed, STANDS.format(how=how)))
    ran = Stage(fission, sink=3).run()
    assert ran.summary.exit_code == 0, ran
    (line,) = ran.failovers
    assert "Stands 2 died: no progress for " in line
    assert f"{REASONS.get(what, '')}" in line
    assert f"in {where} (STALL_TIMEOUT)" in line
    assert [job.restarts for job in ran.summary.jobs.values()] == [0, 1, 0]
    assert ran.result.read_bytes() == csv_of(range(1, 61), 102)


@pytest.mark.soak
def test_a_stopped_job_is_named_with_the_reason_and_continues_when_it_may(fission: CommandLine) -> None:
    listed = "Endless(outputs=[PicklePipe(1)]), Show(inputs=[PicklePipe(1)])"
    fission.project(network("", listed))
    client = fission.start("net", "simulate")
    client.wait_for("got 5")
    row = json.loads(fission.run("net", "top", "--once", "--json", exit_code=0).stdout)["jobs"][1]
    os.kill(row["pid"], signal.SIGSTOP)
    found = eventually(lambda: standing(fission, 2), 30, "it is noticed")
    assert found["reason"].startswith("its process is stopped by a signal, ")
    assert found["seconds"] >= 3
    assert json.loads(fission.run("net", "status", "--json", exit_code=0).stdout)["jobs"][1]["pid"] == row["pid"]  # while it is stopped
    text = fission.run("net", "status", exit_code=0).stdout
    assert "Show 2: no progress for " in text
    assert not standing(fission, 1)  # it waits for room, or for nothing
    os.kill(row["pid"], signal.SIGCONT)
    eventually(lambda: not standing(fission, 2), 30, "it continues")
    client.interrupt()
    done = finish(client, fission.root, 130)
    assert "Failover" not in done.stderr


def test_a_setup_that_never_returns_is_reported(fission: CommandLine) -> None:
    jobs = "class Hangs(PythonJob):\n    def setup(self):\n        threading.Event().wait()\n    def run(self):\n        yield 1\n"
    fission.project(network(jobs, "Hangs(outputs=[PicklePipe(1)]), Show(inputs=[PicklePipe(1)])"))
    client = fission.start("net", "simulate")
    client.wait_for("Show 2 started", stream="stderr")
    assert eventually(lambda: standing(fission, 1), 30, "it is noticed")["reason"] == "in setup"
    client.interrupt()
    finish(client, fission.root, 130)


@pytest.mark.parametrize(("code", "said"), [("while True: pass", "has not returned within"), ("raise SystemExit", "raised SystemExit")])
def test_a_preference_that_never_returns_or_raises_does_not_stop_the_client(fission: CommandLine, code: str, said: str) -> None:
    jobs = f"class Prefers(Count):\n    def preference(self, nodes):\n        {code}\n"
    fission.project(network(jobs, "Prefers(outputs=[PicklePipe(1)]), Show(inputs=[PicklePipe(1)])"))
    done = fission.run("net", "simulate", "--nodes", "2", exit_code=0)
    assert f"Warning: Prefers 1: preference {said}" in done.stderr
    assert "got 10" in done.stdout
