"""Matches the machines that answer with the NODES of the config."""

from __future__ import annotations

import contextlib
import errno
import socket
import threading
import time
from collections.abc import Sequence

from fission.adapters.cluster.members import Identity
from fission.core.addresses import LOCALHOST, canonical, is_ip, kind_of
from fission.core.base import BaseNode
from fission.core.checks import CLIENT
from fission.core.nodes import MultiNode, NodeInfo
from fission.ports import NodeName

#: Seconds for the host names of NODES at the start of a run: as long as it waits for its nodes. Later ones are found when a node
#: answers.
LOOK_UP_S = 5.0


def only_here(nodes: Sequence[BaseNode]) -> bool:
    """Return whether NODES names no other machine: the network runs here, without a service."""
    return all(not isinstance(node, MultiNode) and node.ip in LOCALHOST for node in nodes)


class ConfiguredNodes:
    """The nodes of one config, whether they are present or not."""

    def __init__(self, nodes: Sequence[BaseNode], client_ip: str = "") -> None:
        """Look up the host names of the nodes, which may block.

        Args:
            nodes: nodes as in the config.
            client_ip: the address at which the client listens; empty: unknown.
        """
        self._nodes, self._client_ip = nodes, client_ip
        self._named = [node for node in nodes if not isinstance(node, MultiNode)]
        self._ips = _all_addresses([node.ip for node in self._named])

    def expected(self) -> list[NodeInfo]:
        """Return the nodes known by their own names; they have no room until they answer."""
        return [NodeInfo(node.name, node.ip, node.groups, max_jobs=0) for node in self._named]

    def recognise(self, ip: str, name: str) -> Identity | str:
        """Return the identity of a machine; a text says why it is not one of the nodes.

        Its address takes precedence over its name. With another address it is still the node of
        that name in NODES, or the one with that host name. Host names are looked up again, which
        may block.

        Args:
            ip: address of the machine.
            name: name that its service reports.
        """
        ip = canonical(ip)
        node = self._by_address(ip) or self._by_name(name)
        if node is not None:
            return Identity(NodeName(node.name), node.groups, node.max_jobs)
        for pattern in self._nodes:
            if isinstance(pattern, MultiNode) and pattern.admits(ip):
                taken = name == CLIENT or any(name == other.name for other in self._named)
                return Identity(NodeName(f"{name} ({ip})" if taken else name), pattern.groups, pattern.max_jobs, by_pattern=True)
        return f"neither its address nor its name ({name}) is in NODES"

    def absence(self, name: str) -> str:
        """Return why a node cannot be present, as far as known here; empty: no known reason."""
        node = next((one for one in self._named if one.name == name), None)
        if node is None:
            return ""
        if not self._ips[node.ip]:
            return f"its host name {node.ip} is not known on this machine; enter it in /etc/hosts, or write its address into NODES"
        if self._client_ip and kind_of(self._client_ip) not in map(kind_of, self._ips[node.ip]):
            found, here = min(self._ips[node.ip]), kind_of(self._client_ip)
            return (
                f"its address {found} is {kind_of(found)}, but this machine listens at {self._client_ip} (CLIENT_IP), which is {here}; "
                f"write an {kind_of(found)} address of this machine into CLIENT_IP, or an {here} address of the node into NODES"
            )
        reasons = {_no_way_to(ip) for ip in self._ips[node.ip]}
        return "" if "" in reasons else f"this machine has no route to {node.ip} ({reasons.pop()}); is its network connected?"

    def _by_address(self, ip: str) -> BaseNode | None:
        for node in self._named:
            if ip in self._ips[node.ip]:
                return node
        # addresses of names may have changed, or were not known yet
        for host, found in _all_addresses([node.ip for node in self._named if not is_ip(node.ip)]).items():
            self._ips[host] = found or self._ips[host]
        return next((node for node in self._named if ip in self._ips[node.ip]), None)

    def _by_name(self, name: str) -> BaseNode | None:
        for node in self._named:
            host = "" if is_ip(node.ip) else node.ip
            if (node.named and node.name == name) or (host and name in (host, host.partition(".")[0])):
                return node
        return None


def _all_addresses(hosts: Sequence[str]) -> dict[str, set[str]]:
    """Return the addresses of each host; none for names that are not known in time."""
    found: dict[str, set[str]] = {host: _addresses(host) for host in hosts if is_ip(host)}
    names = [host for host in hosts if host not in found]
    answers: dict[str, set[str]] = {}

    def look(name: str) -> None:
        answers[name] = _addresses(name)

    # at once, and not for longer: without its name server, each lookup takes 5 s and more
    threads = [threading.Thread(target=look, args=(name,), name="fission-lookup", daemon=True) for name in names]
    for thread in threads:
        thread.start()
    until = time.monotonic() + LOOK_UP_S
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    return {host: found[host] if host in found else answers.get(host, set()) for host in hosts}


def _addresses(host: str) -> set[str]:
    with contextlib.suppress(OSError):
        return {canonical(str(found[4][0])) for found in socket.getaddrinfo(host, None)}
    return set()


def _no_way_to(ip: str) -> str:
    try:
        with socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((ip, 9))  # a datagram socket: nothing is sent
    except OSError as why:
        if why.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL):
            return str(why.strerror).lower()
    return ""
