"""How far clocks of hosts differ, over links with known delays: between real services and a real client.

All hosts share this machine's clocks, so the true offset is known: 0 for the time of day. The steady clock of one is an hour ahead, in a
time namespace of its own.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from fission.client.serve.control_server import Viewer
from fission.protocol.messages.client_to_viewer import RunStatus
from fission.protocol.messages.viewer_to_client import InspectRun
from tests.cluster.delay_line import delay
from tests.cluster.support import FISSION, Site
from tests.e2e.failover import CHAIN, chain_rows
from tests.e2e.support import rows
from tests.waiting import eventually

MakeSite = Callable[..., Site]

#: A program before another one, whose steady clock is an hour ahead then.
AN_HOUR_AHEAD = ("unshare", "--time", "--monotonic", "3600")
#: Number of measurements that are compared with the truth.
MEASUREMENTS = 100
#: Makes the time of day of a program later by the number of seconds in a file, and nothing else.
SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

int clock_gettime(clockid_t clock, struct timespec *time) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, time);
    FILE *file;
    long later = 0;
    if (clock == CLOCK_REALTIME && (file = fopen(getenv("LATER_FILE"), "r"))) {
        if (fscanf(file, "%ld", &later) == 1) time->tv_sec += later;
        fclose(file);
    }
    return result;
}
"""


def clocks(folder: Path) -> dict[str, tuple[float, float]]:
    """Return (offset, error) of the time of day of each node whose clock is known, in seconds."""
    with Viewer(folder) as viewer:
        nodes = viewer.ask(InspectRun(), RunStatus).nodes
    return {node.name: (node.clock_offset, node.clock_error or 0.0) for node in nodes if node.clock_offset is not None}


@pytest.mark.soak
@pytest.mark.slow
@pytest.mark.timeout(240)
def test_offsets_are_right_and_their_error_covers_the_truth(cluster: MakeSite) -> None:
    """Delays of 5 ms +- 2 ms, the same in both directions; and of 2 and 20 ms."""
    site = cluster(2, start=False)
    delay(site[1].host, out=(0.003, 0.007), back=(0.003, 0.007))
    delay(site[2].host, out=(0.001, 0.003), back=(0.018, 0.022))
    site[1].start(program=(*AN_HOUR_AHEAD, *FISSION))
    site[2].start()
    client = site.run(CHAIN.format(limit=0), extra="PULSE_INTERVAL = 0.1")
    site.rows(30)
    folder = site.fission.root / "net"
    found: dict[str, list[tuple[float, float]]] = {"n1": [], "n2": []}

    def enough() -> bool:
        for name, value in clocks(folder).items():
            if value not in found[name][-1:]:
                found[name].append(value)
        return all(len(values) >= 100 + MEASUREMENTS for values in found.values())

    eventually(enough, 120, lambda: f"each node has measured its clock often enough: {[len(values) for values in found.values()]}")
    uncovered = {name: sum(abs(offset) > error for offset, error in values) / len(values) for name, values in found.items()}
    assert max(uncovered.values()) <= 0.01, uncovered
    late = sorted(abs(offset) for offset, _ in found["n1"][100:])  # the first ten seconds are over
    # the cable is a program: where the machine is busy, it delays one direction more than the other for seconds
    assert late[int(0.95 * len(late))] <= 0.0005
    assert late[-1] <= 0.001
    assert abs(found["n2"][-1][0]) > 0.005  # it cannot be known better: half of the difference of both ways
    text = site.fission.run("net", "status", exit_code=0, env=site.env).stdout
    assert "CLOCK OF  AHEAD MS  +/- MS  DRIFT PPM" in text
    top = json.loads(site.fission.run("net", "top", "--once", "--json", exit_code=0, env=site.env).stdout)
    assert {row["node"] for row in top["clocks"] if row["clock_offset_s"] is not None} == {"n1", "n2"}
    site.finish(client, chain_rows)


#: A job that compares the network's time with the truth: the time of day, which all hosts here share.
COMPARES = """
class Compares(PythonJob):
    def run(self, value):
        before = time.time()
        found = self.network_time()
        wrong = found - (before + time.time()) / 2
        return [wrong, found.error_s, time.time() - before]
"""
COMPARED = """
Numbers({limit}, outputs=[PicklePipe(1)], pace=0.02),
Compares(inputs=[PicklePipe(1)], outputs=[PicklePipe(2)]),
CSVSinkJob("result.csv", inputs=[PicklePipe(2)]),
"""


@pytest.mark.soak
@pytest.mark.slow
@pytest.mark.timeout(120)
def test_the_networks_time_on_a_node_whose_steady_clock_is_an_hour_ahead(cluster: MakeSite) -> None:
    site = cluster(1, start=False)
    delay(site[1].host, out=(0.003, 0.007), back=(0.003, 0.007))
    site[1].start(program=(*AN_HOUR_AHEAD, *FISSION))
    client = site.run(COMPARED.format(limit=0), jobs=COMPARES, extra="PULSE_INTERVAL = 0.1")
    site.rows(1000, sink=3, deadline_s=90)
    site.wait(client)
    compared = [json.loads(row[0]) for row in rows(site.result(3))[1:] if "inf" not in row[0]]
    assert len(compared) > 900, "the clocks are compared at the first pulses"
    quick = [(wrong, error) for wrong, error, took in compared if took < 0.002]  # not held up between the readings
    assert len(quick) > 500
    uncovered = [one for one in quick if abs(one[0]) > one[1] + 0.0005]
    assert len(uncovered) <= len(quick) // 100, uncovered
    late = sorted(abs(wrong) for wrong, _ in quick[len(quick) // 2 :])
    assert late[len(late) * 9 // 10] < 0.001


@pytest.mark.soak
@pytest.mark.slow
def test_a_clock_that_is_set_is_reported_and_changes_nothing(cluster: MakeSite, tmp_path: Path) -> None:
    site = cluster(2, start=False)
    file, source, shim = tmp_path / "later", tmp_path / "shim.c", tmp_path / "shim.so"
    file.write_text("0")
    source.write_text(SHIM)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", shim, source, "-ldl"], check=True)
    site[1].start(env={"LD_PRELOAD": str(shim), "LATER_FILE": str(file)})
    site[2].start()
    client = site.run(CHAIN.format(limit=0))
    site.rows(30)
    folder = site.fission.root / "net"
    eventually(lambda: set(clocks(folder)) == {"n1", "n2"}, 30, "both clocks are known")
    for ahead, words in ((7200, "was set forward by 7200.0 s"), (-86400, "was set back by 93600.0 s")):
        part = tmp_path / "part"
        part.write_text(str(ahead))
        part.replace(file)
        client.wait_for(f"the clock of node n1 {words}", stream="stderr")
        site.more_rows(60)
        assert clocks(folder)["n1"][0] == pytest.approx(ahead, abs=1)
        assert abs(clocks(folder)["n2"][0]) < 0.1
    assert not site.lost_nodes()
    assert not any(incarnation > 1 for incarnation, _ in site.incarnations().values())
    site.finish(client, chain_rows)
