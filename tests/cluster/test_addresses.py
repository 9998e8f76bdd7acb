"""Addresses: IPv6, names, nodes whose address changes, services that start before the network."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.cluster.hosts import Host, call
from tests.cluster.support import Site
from tests.e2e.failover import CHAIN, chain_rows
from tests.waiting import eventually

MakeSite = Callable[..., Site]
STEADY = 40
SOAK = (pytest.mark.slow, pytest.mark.soak)


@pytest.mark.parametrize("form", ["{}", pytest.param("[{}]", marks=SOAK)])
def test_ipv6_from_end_to_end(cluster: MakeSite, form: str) -> None:
    """Dask, pulses, words, blocks between the nodes; a failover too."""
    site = cluster(2, start=False)
    for node in site.nodes.values():
        node.client_ip = form.format(site.network.client_ipv6)
        node.start()
    nodes = ", ".join(f"BaseNode({form.format(node.host.ipv6)!r}, name={node.name!r})" for node in site.nodes.values())
    client = site.run(CHAIN.format(limit=0), extra=f"CLIENT_IP = {form.format(site.network.client_ipv6)!r}\nNODES = [{nodes}]")
    site.rows(STEADY)
    assert {site.node_of(job) for job in (1, 2, 3, 4)} == {"n1", "n2"}
    victim = site.nodes[site.node_of(4)]
    victim.kill()
    site.happened("NodeLost", node=victim.name)
    site.more_rows(STEADY)
    done = site.finish(client, chain_rows)
    assert site.network.client_ipv6 in done.stderr


@pytest.mark.slow
@pytest.mark.soak
def test_a_pattern_of_ipv6_and_services_of_one_name(cluster: MakeSite) -> None:
    """All boards are named raspberrypi: each is a separate node."""
    site = cluster(2, start=False)
    for node in site.nodes.values():
        node.client_ip = site.network.client_ipv6
        node.start("--name", "raspberrypi", jobs=3)
    network = f"fd77:{site.network.number + 1:x}::/64"
    client = site.run(CHAIN.format(limit=0), extra=f"CLIENT_IP = {site.network.client_ipv6!r}\nNODES = [MultiNode({network!r})]")
    site.rows(STEADY)
    names = {site.node_of(job) for job in (1, 2, 3, 4)}
    assert len(names) == 2
    assert "raspberrypi" in names
    site.finish(client, chain_rows)
    assert site.lost_nodes() == []


@pytest.mark.slow
@pytest.mark.soak
def test_a_second_service_of_one_name_is_left_alone(cluster: MakeSite) -> None:
    """Neither service may replace the other: that would be a failover every second."""
    site = cluster(2)
    config = f"NODES = [BaseNode({site[1].ip!r}, 'n1')]"
    client = site.run(CHAIN.format(limit=0), extra=config)
    site.rows(STEADY)
    site[2].stop()
    site[2].start("--name", "n1")
    site.until(lambda: "is the node n1 already" in client.stderr, "the client says so")
    site.more_rows(STEADY)
    done = site.finish(client, chain_rows)
    assert site.lost_nodes() == []
    assert done.stderr.count("is the node n1 already") == 1


@pytest.mark.parametrize("named", [True, pytest.param(False, marks=SOAK)])
@pytest.mark.slow
@pytest.mark.soak
def test_a_node_whose_address_changes(cluster: MakeSite, named: bool) -> None:
    """It is the same node again, under its new address; nothing is lost. A service that was there needs no name for that."""
    site = cluster(1, start=False)
    node = site[1]
    node.start(*([] if named else ["--name", "whatever"]))
    name = ", name='n1'" if named else ""
    client = site.run(CHAIN.format(limit=0), extra=f"NODES = [BaseNode({node.ip!r}{name})]\nALLOCATION_TIMEOUT = 60")
    site.rows(STEADY)
    old, new = node.ip, node.ip[: node.ip.rindex(".")] + ".77"
    node.host.readdress(new)
    site.happened("NodeJoined", 2)
    assert [entry["ip"] for entry in site.events("NodeJoined")] == [old, new]
    assert len({entry["name"] for entry in site.events("NodeJoined")}) == 1
    site.more_rows(STEADY)
    if named:  # also after it was restarted with an address that is new to all
        node.stop()
        node.host.readdress(f"{new[: new.rindex('.')]}.78")
        node.start()
        site.happened("NodeJoined", 3)
        site.more_rows(STEADY)
    site.finish(client, chain_rows)


Lack: TypeAlias = "tuple[dict[str, str], Callable[[], None], str]"


def no_network(site: Site, hosts: Callable[[Host], Path]) -> Lack:
    """At boot: no address, no route."""
    site[1].host.addresses(False)
    return {}, lambda: site[1].host.addresses(True), "unreachable"


def no_name(site: Site, hosts: Callable[[Host], Path]) -> Lack:
    """The client's name cannot be looked up yet."""
    file = hosts(site[1].host)

    def appear() -> None:
        file.write_text(f"127.0.0.1 localhost\n{site.network.client_ip} thecentre\n")

    return {"client": "thecentre"}, appear, "the name thecentre is not known"


def no_own_address(site: Site, hosts: Callable[[Host], Path]) -> Lack:
    """--ip is not there yet."""
    ip = site[1].ip[: site[1].ip.rindex(".")] + ".99"
    return {"ip": ip}, lambda: site[1].host.readdress(ip), f"this machine does not have the address {ip}"


@pytest.mark.parametrize("lacks", [no_network, pytest.param(no_name, marks=SOAK), pytest.param(no_own_address, marks=SOAK)])
def test_a_service_that_starts_before_the_network(
    cluster: MakeSite, hosts_file: Callable[[Host], Path], lacks: Callable[[Site, Callable[[Host], Path]], Lack]
) -> None:
    """It waits, with one line, and is there when it can be."""
    site = cluster(1, start=False)
    node = site[1]
    options, appear, reason = lacks(site, hosts_file)
    node.client_ip = options.pop("client", node.client_ip)
    node.start(*(word for key, value in options.items() for word in (f"--{key}", value)))
    node.logged("waits for a route to the client")
    over = time.monotonic() + 3
    eventually(lambda: time.monotonic() > over, 10, "it has looked three times")
    assert node.process.poll() is None
    assert reason in node.log
    assert node.log.count("\n") == 1, node.log
    appear()
    node.logged(f"node n1 at {node.ip} waits for a client at {site.network.client_ip}:8786")
    client = site.run(CHAIN.format(limit=0))
    site.rows(STEADY)
    site.finish(client, chain_rows)


@pytest.mark.slow
@pytest.mark.soak
def test_a_client_that_is_resumed_at_another_address(cluster: MakeSite, hosts_file: Callable[[Host], Path]) -> None:
    """Its name means another address now: the services find it there, and so do the jobs, which continue."""
    site = cluster(1, start=False)
    hosts = hosts_file(site[1].host)
    second = site.network.client_ip[: site.network.client_ip.rindex(".")] + ".201"
    call("ip", "address", "add", f"{second}/24", "dev", site.network.switch)
    hosts.write_text(f"{site.network.client_ip} thecentre\n")
    site[1].client_ip = "thecentre"
    site[1].start()
    client = site.run(CHAIN.format(limit=0))
    site.rows(STEADY)
    client.process.kill()
    client.wait(exit_code=-9)
    call("ip", "address", "del", f"{site.network.client_ip}/24", "dev", site.network.switch)
    call("ip", "address", "replace", f"{second}/24", "dev", site.network.switch)
    hosts.write_text(f"{second} thecentre\n")
    config = site.fission.root / "net" / "config.py"
    config.write_text(f"{config.read_text()}\nCLIENT_IP = {second!r}\n")
    client = site.start("--resume")
    site.rows(site.row_count() + STEADY)
    assert all(incarnation == 1 for job, (incarnation, _) in site.incarnations().items() if job != 5)
    site.finish(client, chain_rows)


def test_the_test_machine_has_no_such_name() -> None:
    """What `no_name` stands on."""
    with pytest.raises(OSError):  # noqa: PT011 (of any kind)
        socket.getaddrinfo("thecentre", 1)
