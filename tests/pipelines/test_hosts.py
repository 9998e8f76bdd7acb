"""The Router on one host, Brokers on two others, one of which is cut off permanently half-way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import fission
from tests.pipelines.daemons import Cluster
from tests.pipelines.hosts import Hosts, remove_left_overs
from tests.waiting import eventually

SEND = """
import sys
from pypelinin import Job, Pipeline, PipelineManager

diamond = {Job("Top"): (Job("Left"), Job("Right")), (Job("Left"), Job("Right")): Job("Bottom")}
with PipelineManager(sys.argv[1], sys.argv[2]) as manager:
    manager.start_all(Pipeline(diamond, data={"document": str(x), "x": x}) for x in range(100))
    print("accepted", flush=True)
    assert manager.wait(60), manager.finished_pipelines
    print(manager.finished_pipelines, manager.failed_pipelines, flush=True)
"""


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.slow
@pytest.mark.soak
def test_a_broker_is_cut_off_for_good(tmp_path: Path) -> None:
    with Hosts(3) as hosts:
        places = {str(host): hosts.inside(host) for host in range(3)}
        with Cluster(tmp_path, prefix=places, host=hosts.address(0)) as cluster:
            cluster.environment["JOB_S"] = "0.05"
            cluster.config["store"] = {"url": str(tmp_path / "results.sqlite")}
            cluster.start("Router", "0", api=["*", cluster.ports[0]], broadcast=["*", cluster.ports[1]])
            cluster.start("Pipeliner", "0")
            for host in ("1", "2"):
                cluster.start("Broker", host, store="DiamondStore", workers="diamonds")
            path = os.pathsep.join([str(Path(fission.__path__[0]).parent), str(tmp_path)])
            command = [*hosts.inside(0), sys.executable, "-c", SEND, cluster.api, cluster.broadcast]
            sender = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.PIPE, text=True)
            try:
                eventually(
                    lambda: len({one["pid"] for one in cluster.runs("begin")}) == 4, 90, lambda: "all processes work\n" + cluster.logs()
                )
                eventually(lambda: len(cluster.runs("save")) > 40, 90, cluster.logs)
                hosts.cut(2)
                output, _ = sender.communicate(timeout=80)
            finally:
                sender.kill()
                sender.wait()
            assert output.split() == ["accepted", "100", "0"], cluster.logs()
            router = cluster.daemons[0].said
            assert " is lost: silent for 5 s" in router, router
            assert len({one["job"] for one in cluster.runs("save")}) == 400
            ips = {json.loads(line)["host"]["network"]["cluster ip"] for line in _monitoring(tmp_path)}
            assert ips == {hosts.address(1), hosts.address(2)}


def _monitoring(folder: Path) -> list[str]:
    from fission.pipelines.stores import SQLStore

    store = SQLStore(str(folder / "results.sqlite"))
    try:
        return [json.dumps(row) for row in store.monitoring(1000)]
    finally:
        store.close()


def test_remains_of_a_killed_run_are_removed() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    name = f"fpipe-{process.pid}-1-0"
    subprocess.run(["ip", "netns", "add", name], check=True)
    remove_left_overs()
    assert name not in os.listdir("/run/netns")


@pytest.mark.slow
def test_a_router_on_a_machine_of_a_closed_network_starts_without_a_warning(tmp_path: Path) -> None:
    """No way to the internet, as boards in the field have it: Dask asks for one, and would warn of it on the user's terminal."""
    closed = {"closed": ["unshare", "--net", "sh", "-c", 'ip link set lo up; exec "$@"', "sh"]}
    with Cluster(tmp_path, prefix=closed) as cluster:
        router = cluster.start("Router", "closed")
        eventually(lambda: "Entering main loop" in router.said, 20, cluster.logs)
        assert "RuntimeWarning" not in router.said, router.said
