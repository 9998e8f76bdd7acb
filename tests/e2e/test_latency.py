"""Latency of each path, and DEADLINE, in a whole network."""

from __future__ import annotations

import json
import os
import re
import signal
from typing import Any

import pytest

from tests.e2e.support import network, stop
from tests.waiting import CommandLine, eventually

JOBS = """
class Ticks(PythonJob):
    def run(self):
        number = 0
        while True:
            number += 1
            yield number
            time.sleep(0.02)

class Delays(PythonJob):
    def __init__(self, seconds, **pipes):
        super().__init__(**pipes)
        self.seconds = seconds
    def run(self, value):
        time.sleep(self.seconds)
        return value

class Joins(PythonJob):
    def run(self, one, other):
        return one

class Sink(PythonJob):
    def run(self, value):
        pass

class Strict(Sink):
    DEADLINE = 0.2
"""
#: The blocks of source 1 reach sink 6 by two ways, 0.3 s and at once; those of source 2 too.
LISTED = """
Ticks(outputs=[PicklePipe(1), PicklePipe(2)]),
Ticks(outputs=[PicklePipe(3)]),
Joins(inputs=[PicklePipe(1), PicklePipe(3)], outputs=[PicklePipe(4)]),
Sink(inputs=[PicklePipe(2)]),
Delays(0.3, inputs=[PicklePipe(4)], outputs=[PicklePipe(5)]),
Strict(inputs=[PicklePipe(5)]),
"""


@pytest.mark.slow
def test_each_path_is_measured_and_late_blocks_are_counted_with_one_warning_also_after_a_failover(fission: CommandLine) -> None:
    fission.project(network(JOBS, LISTED))
    client = fission.start("net", "simulate")

    def report() -> dict[str, Any]:
        found: dict[str, Any] = json.loads(fission.run("net", "status", "--json", exit_code=0).stdout)
        return found

    def all_measured() -> dict[str, Any] | None:
        found = report()
        return found if len(found["paths"]) == 3 and min(path["blocks"] for path in found["paths"]) >= 3 else None

    client.wait_for("Strict 6 started", stream="stderr")
    found = eventually(all_measured, 60, "that every path is measured")
    paths = {(path["source_name"], path["sink_name"]): path for path in found["paths"]}
    assert set(paths) == {("Ticks 1", "Sink 4"), ("Ticks 1", "Strict 6"), ("Ticks 2", "Strict 6")}
    for path in paths.values():
        assert 0 < path["min_s"] <= path["p50_s"] <= path["p99_s"]
        assert path["uncertainty_s"] == 0  # one machine has one clock
    for source in ("Ticks 1", "Ticks 2"):
        assert paths[source, "Strict 6"]["min_s"] >= 0.3
    assert paths["Ticks 1", "Sink 4"]["min_s"] < paths["Ticks 1", "Strict 6"]["min_s"]
    strict, sink = found["jobs"][5], found["jobs"][3]
    assert strict["late"] == strict["judged"] > 0  # none can be in time
    assert sink["late"] is sink["judged"] is None
    assert set(found["units"]["paths"]) <= {*found["paths"][0], "late", "judged"}
    text = fission.run("net", "status", exit_code=0).stdout
    assert re.search(r"^FROM +TO +BLOCKS +MIN MS +P50 MS +P99 MS +\+/- MS +LATE$", text, re.MULTILINE)
    assert re.search(r"^Ticks 2 +Strict 6 +\d+ +\d+\.\d +\d+\.\d +\d+\.\d +0\.0 +(\d+)/\1$", text, re.MULTILINE)
    assert "Ticks 1" in fission.run("net", "top", "--once", exit_code=0).stdout.partition("FROM")[2]
    late = eventually(lambda: (now := report()["jobs"][5]["late"]) > strict["late"] and now, 30, "more late blocks")
    os.kill(report()["jobs"][5]["pid"], signal.SIGKILL)
    restarted = eventually(
        lambda: (now := report()["jobs"][5])["restarts"] == 1 and now["late"] > late and now, 60, "late blocks of the next one"
    )
    assert restarted["late"] == restarted["judged"]  # what its first incarnation counted is not forgotten
    found = eventually(all_measured, 60, "that every path is measured again")
    assert {(path["source_name"], path["sink_name"]) for path in found["paths"]} == set(paths)
    warnings = [line for line in stop(client, fission.root).stderr.splitlines() if "later than DEADLINE = 0.2" in line]
    assert len(warnings) == 1
    assert warnings[0].startswith("Warning: Strict 6: a block came ")
