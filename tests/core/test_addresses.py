"""Addresses of machines as users write them, and the nodes that have them."""

from __future__ import annotations

import pytest

from fission.core.addresses import canonical, fault_of, host_port, is_ip, split_host_port
from fission.core.nodes import BaseNode, MultiNode
from fission.errors import DefinitionError

GOOD = ["192.168.4.2", "fd79::1", "[fd79::1]", "::1", "169.254.3.4", "cam1", "cam1.local", "cam_1.lab.", "3com.example", "localhost"]
BAD = [
    "192.168.4.256",
    "192.168.4",
    "1.2.3.4.5",
    "256.1.1.1",
    "192.168.4.2:8786",
    "fd79::g",
    "fd79:::1",
    "[fd79::1",
    "fe80::1",
    "fe80::1%eth0",
    "[fe80::1%eth0]",
    "0.0.0.0",
    "::",
    "224.0.0.1",
    "ff02::1",
    "-cam",
    "cam 1",
    "cam/1",
    "häuschen",
    "a" * 64,
    "192.168.4.*",
    ".",
    "tcp://cam1",
    "0x7f000001",
    "10.0.0.0x1",
    "255.255.255.255",
]


@pytest.mark.parametrize("text", GOOD)
def test_right_addresses(text: str) -> None:
    assert not fault_of(text)
    node = BaseNode(text)
    assert node.admits(text)
    assert node.admits(canonical(text))


@pytest.mark.parametrize("text", BAD)
def test_wrong_addresses(text: str) -> None:
    assert fault_of(text)
    with pytest.raises(DefinitionError, match="must be an IPv4 address, an IPv6 address or a host name, but is"):
        BaseNode(text)


@pytest.mark.parametrize("host", ["192.168.4.2", "[fd79::1]", "cam1.local"])
def test_an_address_with_a_port(host: str) -> None:
    assert (
        fault_of(f"{host}:8786")
        == f"'{host}:8786', which has a port; write {host} alone, and the port where it has a place of its own (PORT, --port)"
    )
    assert "a port" not in fault_of(f"{host}!:8786")


@pytest.mark.parametrize("text", ["fe80::1", "fe80::1%eth0", "[fe80::1%eth0]"])
def test_a_link_local_address_says_why_it_is_refused(text: str) -> None:
    assert "only valid on one machine's interface; use another one, or a host name" in fault_of(text)


def test_one_machine_has_one_form() -> None:
    forms = ["[FD79::0001]", "fd79:0:0::1", "fd79::1"]
    assert {canonical(form) for form in forms} == {"fd79::1"}
    assert {BaseNode(form).ip for form in forms} == {"fd79::1"}
    assert all(BaseNode("fd79::1").admits(form) for form in forms)
    assert MultiNode("fd79::/64").admits("[fd79::5]")
    assert MultiNode("fd79::*").admits("FD79::5")
    assert not MultiNode("fd79::/64").admits("fd80::5")
    assert BaseNode("::ffff:192.168.4.2").ip == "192.168.4.2"
    assert BaseNode("192.168.4.2").admits("[::FFFF:192.168.4.2]")
    assert is_ip("[fd79::1]")
    assert not is_ip("cam1")


@pytest.mark.parametrize("pattern", ["300.1.*", "192.168.4.5.*", "*.256"])
def test_a_pattern_that_no_address_can_fit_is_refused(pattern: str) -> None:
    with pytest.raises(DefinitionError, match="a pattern must look like"):
        MultiNode(pattern)


@pytest.mark.parametrize(("host", "text"), [("fd79::1", "[fd79::1]:8786"), ("[fd79::1]", "[fd79::1]:8786"), ("cam1", "cam1:8786")])
def test_host_and_port(host: str, text: str) -> None:
    assert host_port(host, 8786) == text
    assert split_host_port(text) == (canonical(host), "8786")
    assert split_host_port(f"tls://{text}") == (canonical(host), "8786")


def test_max_jobs_of_one_node() -> None:
    assert BaseNode("10.0.0.1", max_jobs=3).max_jobs == 3
    assert BaseNode("10.0.0.2").max_jobs is None
    assert MultiNode("10.0.0.*", max_jobs=2).max_jobs == 2
    for wrong in (0, -1, 2.5, "3", True):
        with pytest.raises(DefinitionError, match="max_jobs must be a whole number from 1, or None, but is"):
            BaseNode("10.0.0.3", max_jobs=wrong)  # type: ignore[arg-type]
