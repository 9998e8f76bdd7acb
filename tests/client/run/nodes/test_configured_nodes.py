"""Recognising the machines that answer, and hints for those that do not."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from fission.adapters.cluster.arrivals import Arrivals, ArrivalState
from fission.adapters.cluster.members import Identity
from fission.adapters.cluster.register import Register
from fission.client.run.nodes.configured_nodes import ConfiguredNodes
from fission.core.base import BaseNode
from fission.core.nodes import MultiNode
from fission.ports import NodeName
from fission.protocol.messages.node_to_client import NodeClaimed

KNOWN: dict[str, str] = {}


@pytest.fixture(autouse=True)
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Host names of the test: what is looked up is found here, or an address, or not known."""
    KNOWN.clear()
    real = socket.getaddrinfo

    def look_up(host: str, port: Any, *args: Any, **options: Any) -> Any:
        return real(KNOWN.get(host, host), port, *args, **{**options, "flags": socket.AI_NUMERICHOST})

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return KNOWN


def name_of(found: Identity | str) -> str:
    return found if isinstance(found, str) else found.name


def test_a_machine_is_known_by_its_address_then_by_its_name(names: dict[str, str]) -> None:
    names["cam3.local"] = "10.0.0.3"
    configured = ConfiguredNodes(
        [BaseNode("10.0.0.1", "cam1"), BaseNode("[fd79::2]"), BaseNode("cam3.local"), BaseNode("cam4.local", "four")]
    )
    assert name_of(configured.recognise("10.0.0.1", "whatever")) == "cam1"
    assert name_of(configured.recognise("10.0.0.77", "cam1")) == "cam1", "its address has changed"
    assert name_of(configured.recognise("fd79:0::2", "x")) == "fd79::2"
    assert name_of(configured.recognise("10.0.0.3", "x")) == "cam3.local"
    assert name_of(configured.recognise("10.0.0.4", "cam4")) == "four", "by the host name in NODES, which is not known here"
    names["cam3.local"] = "10.0.0.33"
    assert name_of(configured.recognise("10.0.0.33", "x")) == "cam3.local", "its name is looked up again"
    assert name_of(configured.recognise("10.0.0.99", "stranger")) == "neither its address nor its name (stranger) is in NODES"
    assert name_of(configured.recognise("10.0.0.99", "10.0.0.1")) == "neither its address nor its name (10.0.0.1) is in NODES"


def test_names_of_a_patterns_machines_do_not_match_other_nodes() -> None:
    configured = ConfiguredNodes([BaseNode("10.0.1.1", "cam1"), MultiNode("10.0.0.*")])
    assert name_of(configured.recognise("10.0.0.5", "client")) == "client (10.0.0.5)"
    assert name_of(configured.recognise("10.0.0.5", "pi")) == "pi"


def claimed(service: str, ip: str, number: int = 1) -> NodeClaimed:
    lease = f"{service}.{number}"
    return NodeClaimed(name="pi", ip=ip, service=service, lease=lease, max_jobs=4, probe_port=0, running=(), acknowledged=0)


@pytest.mark.parametrize("by_pattern", [True, False])
def test_services_of_one_name(by_pattern: bool) -> None:
    register = Register(silent_s=60, orphan_timeout_s=60)
    identity = Identity(NodeName("pi"), ("ALL",), None, by_pattern)
    first, _ = register.enter(identity, claimed("a", "10.0.0.1"))
    first.worker = "tls://10.0.0.1:1"
    settled = register.settled(identity, claimed("b", "10.0.0.2"))
    if by_pattern:
        assert name_of(settled) == "pi (10.0.0.2)"
    else:
        assert name_of(settled).startswith("the service at 10.0.0.1 is the node pi already; give each one its own name")
    first.worker = ""  # its connection has ended: a service that was started again may be it
    assert name_of(register.settled(identity, claimed("b", "10.0.0.2"))) == "pi"


def test_why_a_lease_is_over() -> None:
    register = Register(silent_s=60, orphan_timeout_s=60)
    identity = Identity(NodeName("pi"), ("ALL",), None)
    first, nothing = register.enter(identity, claimed("a", "10.0.0.1"))
    assert nothing is None
    second, older = register.enter(identity, claimed("a", "10.0.0.1", 2))
    assert older is first
    assert second.incarnation == 2
    assert register.why_over(first, second) == "it received nothing from this client for 60 s (ORPHAN_TIMEOUT) and stopped its jobs"
    moved, _ = register.enter(identity, claimed("a", "10.0.0.9", 3))
    assert register.why_over(second, moved) == "its address changed from 10.0.0.1 to 10.0.0.9"
    other, _ = register.enter(identity, claimed("b", "10.0.0.9"))
    assert not register.why_over(moved, other)


def test_hints_fit_the_reason(names: dict[str, str]) -> None:
    """Only a silent service must be started again."""
    nodes = [BaseNode(f"127.0.0.{number}", f"n{number}") for number in range(1, 5)]
    arrivals = Arrivals(ConfiguredNodes([*nodes, BaseNode("cam5.local", "n5"), BaseNode("192.0.2.1", "n6")]), "/home/pi/.fission/keys")
    assert arrivals.absence("n1") == "node n1 does not answer; restart its service: sudo service fission restart"
    bare = Arrivals(ConfiguredNodes(nodes), "")
    assert bare.absence("n1").endswith("restart its service: sudo service fission restart; without SECURITY it must run with --insecure")
    assert arrivals.absence("n5") == (
        "node n5 is not there: its host name cam5.local is not known on this machine; "
        "enter it in /etc/hosts, or write its address into NODES"
    )
    arrivals.note("127.0.0.2", ArrivalState.CONNECTED)
    assert arrivals.absence("n2") == "node n2 is still starting; it takes part as soon as it is ready"
    arrivals.note("127.0.0.2", ArrivalState.REFUSED, "n2")  # other versions, an unwritable folder, another client's
    assert not arrivals.absence("n2"), "a warning has said it"
    text = "Listener on 'tls://10.0.0.1:8786': TLS handshake failed with remote 'tls://127.0.0.3:51436': [SSL: TLSV1_ALERT_UNKNOWN_CA]"
    assert arrivals.dask_says(text) == (
        "node n3 (127.0.0.3) has other keys than this machine, or does not encrypt: copy /home/pi/.fission/keys to it, "
        "then: sudo service fission restart"
    )
    assert not arrivals.dask_says(text), "once"
    assert not arrivals.absence("n3")
    assert not arrivals.dask_says("Couldn't gather 1 keys, rescheduling")
    arrivals.joined("127.0.0.3")
    assert "does not answer" in arrivals.absence("n3")
    scan = "Listener on 'tls://10.0.0.1:8786': TLS handshake failed with remote 'tls://[fd79::9]:51436': Stream is closed"
    assert arrivals.dask_says(scan) == (
        "fd79::9 has connected without the keys of this machine, and was refused; if it is a node: "
        "copy /home/pi/.fission/keys to it, then: sudo service fission restart"
    )


def test_addresses_of_the_other_kind_than_the_clients(names: dict[str, str]) -> None:
    names["cam3.local"] = "::1"
    nodes = [BaseNode("127.0.0.1", "n1"), BaseNode("[::1]", "n2"), BaseNode("cam3.local", "n3")]
    assert ConfiguredNodes(nodes, "::1").absence("n1") == (
        "its address 127.0.0.1 is IPv4, but this machine listens at ::1 (CLIENT_IP), which is IPv6; "
        "write an IPv4 address of this machine into CLIENT_IP, or an IPv6 address of the node into NODES"
    )
    for name in ("n2", "n3"):
        assert "its address ::1 is IPv6" in ConfiguredNodes(nodes, "127.0.0.1").absence(name)
        assert ConfiguredNodes(nodes, "::1").absence(name) == ""
