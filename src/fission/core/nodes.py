"""Nodes: the machines that jobs are placed on."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from fission.core.addresses import canonical
from fission.core.base_node import BaseNode

if TYPE_CHECKING:
    from ipaddress import IPv4Network, IPv6Network

__all__ = ["BaseNode", "LocalNode", "MultiNode", "NodeInfo"]


class MultiNode(BaseNode):
    """Every machine whose address fits a pattern.

    Args:
        host: an address with ``*`` for any text (``192.168.4.*``), a network (``192.168.4.0/24``, ``fd79::/64``), or one address.
        name: what messages call the pattern; its machines have the names of their services.
        max_jobs: how many jobs each machine takes.
        port, cpus, depends, setup_args: as of `BaseNode`.

    Raises:
        DefinitionError: `host` is none of these.
    """

    def _address_fault(self) -> str:
        if "/" in self.ip and self._network is None:
            return f"MultiNode({self.ip!r}): a network looks like 192.168.4.0/24"
        # parts of an address with * in any place; nothing can match anything else
        parts = self.ip.split(".") if re.fullmatch(r"[0-9.*]+", self.ip) else []
        impossible = len(parts) > 4 or any(part.isdigit() and int(part) > 255 for part in parts)
        if "*" in self.ip and (impossible or re.fullmatch(r"[A-Za-z0-9_.:*?\[\]-]+", self.ip) is None):
            return f"MultiNode({self.ip!r}): a pattern looks like 192.168.4.*"
        return "" if "/" in self.ip or "*" in self.ip else super()._address_fault()

    @cached_property
    def _network(self) -> IPv4Network | IPv6Network | None:
        from ipaddress import ip_network

        try:
            return ip_network(self.ip, strict=False) if "/" in self.ip else None
        except ValueError:
            return None

    def admits(self, ip: str) -> bool:
        """Whether the machine with this address fits the pattern. What is no address fits no network."""
        if "/" in self.ip:
            from ipaddress import ip_address

            try:
                return self._network is not None and ip_address(canonical(ip)) in self._network
            except ValueError:
                return False
        from fnmatch import fnmatchcase

        return fnmatchcase(canonical(ip), self.ip)


class LocalNode(BaseNode):
    """The client's own machine, as published. It is accepted in NODES without an effect: the client is always a node, in group LOCAL."""

    GROUPS = "LOCAL"


@dataclass(frozen=True)
class NodeInfo:
    """A node as `preference` of a job sees it; measured values are means over 3 seconds.

    Attributes:
        name, ip, groups: as in NODES.
        cpu: free processor time, percent.
        memory: free memory, bytes.
        disk: free disk space, bytes.
        swap: swap in use, percent.
        TQ: quality of the way to it, 0 to 255. For a job with neighbours that have a place: the mean of the links from their nodes, as far
            as nodes have measured any; else the way from the client.
        jobs: names of the jobs it has.
        max_jobs: how many it takes.
        rtt: round trip to it, seconds; None: not measured.
    """

    name: str
    ip: str
    groups: tuple[str, ...] = ("ALL",)
    cpu: float = 100.0
    memory: int = 0
    disk: int = 0
    swap: float = 0.0
    TQ: int = 255
    jobs: tuple[str, ...] = ()
    max_jobs: int = 1
    rtt: float | None = None
