"""The Router's addresses: IPv4, IPv6 in brackets, host names, and all interfaces."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fission.adapters.zmq_api import ApiServer
from fission.errors import UserError
from fission.pipelines import Job, Pipeline, Router
from fission.pipelines.monitoring import cluster_ip
from tests.cluster.hosts import Hosts, require
from tests.pipelines.daemons import Cluster
from tests.ports import free_ports
from tests.waiting import eventually


def answers(ip: str, port: int) -> bool:
    try:
        socket.create_connection((ip, port), 2).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    ("host", "there", "not_there"),
    [
        ("*", ["127.0.0.1", "127.0.0.2", "::1"], []),
        ("127.0.0.1", ["127.0.0.1"], ["127.0.0.2", "::1"]),
        ("[::1]", ["::1"], ["127.0.0.1"]),
        ("localhost", ["127.0.0.1"], ["127.0.0.2"]),
        ("lo", ["127.0.0.1"], ["127.0.0.2"]),  # the name of an interface
    ],
)
def test_where_a_router_listens(host: str, there: list[str], not_there: list[str]) -> None:
    ports = free_ports(2)
    server = ApiServer(*(f"tcp://{host}:{port}" for port in ports))
    try:
        assert [ip for ip in (*there, *not_there) for port in ports if answers(ip, port)] == [ip for ip in there for _ in ports]
    finally:
        server.close()


def test_a_name_that_is_not_known() -> None:
    with pytest.raises(UserError, match=r"the Router's api address tcp://router\.invalid:5555 cannot be bound"):
        ApiServer("tcp://router.invalid:5555", "tcp://router.invalid:5556")


def test_the_addresses_of_a_router_object() -> None:
    """As the published package takes them: (host, port)."""
    for host, expected in (("::1", "tcp://[::1]:5555"), ("[fd79:0::2]", "tcp://[fd79::2]:5555"), ("*", "tcp://*:5555")):
        assert Router((host, 5555), (host, 5556), {"store": {}})._api == expected


@pytest.mark.parametrize(("host", "expected"), [("::1", "::1"), ("[::1]", "::1"), ("127.0.0.3", "127.0.0.1"), ("no.invalid", "127.0.0.1")])
def test_the_address_towards_a_router(host: str, expected: str) -> None:
    assert cluster_ip(host) in (expected, host)


@pytest.mark.slow
def test_pipelines_at_an_ipv6_address(tmp_path: Path) -> None:
    with Cluster(tmp_path, host="[::1]") as cluster:
        cluster.all(number_of_workers=1)
        with cluster.manager() as manager:
            pipeline = Pipeline({Job("A"): Job("B")}, data={"n": 1})
            manager.start(pipeline)
            assert manager.wait(60), cluster.logs()


SEND = """
import sys
from fission.pipelines import Job, Pipeline, PipelineManager

with PipelineManager(sys.argv[1], sys.argv[2], timeout=60) as manager:
    manager.start(Pipeline({Job("A"): Job("B")}, data={"n": 1}))
    assert manager.wait(60)
    print(manager.finished_pipelines)
"""


@pytest.fixture
def two_hosts() -> Iterator[Hosts]:
    """Two hosts, each of which may have its own /etc/hosts: `ip netns exec` mounts it over the machine's."""
    require()
    network = Hosts(2)
    yield network
    network.close()
    for host in network:
        shutil.rmtree(Path("/etc/netns") / host.name, ignore_errors=True)


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.parametrize("kind", ["IPv6", "both"])
def test_a_router_by_its_name_on_another_host(two_hosts: Hosts, tmp_path: Path, kind: str) -> None:
    """The Router listens at all interfaces; the other host knows its name alone, which has an IPv6 address, or both."""
    router, other = two_hosts
    ips = [router.ipv6] if kind == "IPv6" else [router.ipv6, router.ip]
    folder = Path("/etc/netns") / other.name
    folder.mkdir(parents=True)
    (folder / "hosts").write_text("127.0.0.1 localhost\n" + "".join(f"{ip} router.office\n" for ip in ips))
    if kind == "IPv6":
        other.addresses(False)
    prefix = {place: ["ip", "netns", "exec", host.name] for place, host in (("router", router), ("other", other))}
    with Cluster(tmp_path, prefix=prefix, host="router.office") as cluster:
        cluster.start("Router", "router", api=["*", cluster.ports[0]], broadcast=["*", cluster.ports[1]])
        cluster.start("Broker", "other", number_of_workers=1)
        cluster.start("Pipeliner", "other")
        command = [*prefix["other"], sys.executable, "-c", SEND, cluster.api, cluster.broadcast]
        done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
        assert done.stdout.split() == ["1"], f"{done.stderr}\n{cluster.logs()}"
        eventually(lambda: (tmp_path / "monitoring.jsonl").exists(), 10, "monitoring")
        own = json.loads((tmp_path / "monitoring.jsonl").read_text().splitlines()[0])["host"]["network"]["cluster ip"]
        assert own in (other.ip, other.ipv6)
