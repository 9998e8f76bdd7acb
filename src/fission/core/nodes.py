"""Nodes: the machines on which jobs are placed."""

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
    """Every machine whose address matches a pattern.

    Args:
        host: an address with ``*`` for any text (``192.168.4.*``), a network (``192.168.4.0/24``,
            ``fd79::/64``), or one address.
        name: name of the pattern in messages; its machines have the names of their services.
        max_jobs: number of jobs that each machine takes.
        port: as for `BaseNode`.
        cpus: as for `BaseNode`.
        depends: as for `BaseNode`.
        setup_args: as for `BaseNode`.

    Raises:
        DefinitionError: `host` is none of these.
    """

    def _address_fault(self) -> str:
        if "/" in self.ip and self._network is None:
            return f"MultiNode({self.ip!r}): a network must look like 192.168.4.0/24"
        # an address with * anywhere; nothing can match other patterns
        parts = self.ip.split(".") if re.fullmatch(r"[0-9.*]+", self.ip) else []
        impossible = len(parts) > 4 or any(part.isdigit() and int(part) > 255 for part in parts)
        if "*" in self.ip and (impossible or re.fullmatch(r"[A-Za-z0-9_.:*?\[\]-]+", self.ip) is None):
            return f"MultiNode({self.ip!r}): a pattern must look like 192.168.4.*"
        return "" if "/" in self.ip or "*" in self.ip else super()._address_fault()

    @cached_property
    def _network(self) -> IPv4Network | IPv6Network | None:
        from ipaddress import ip_network

        try:
            return ip_network(self.ip, strict=False) if "/" in self.ip else None
        except ValueError:
            return None

    def admits(self, ip: str) -> bool:
        """Return whether the machine with this address matches.

        An invalid address matches no network.
        """
        if "/" in self.ip:
            from ipaddress import ip_address

            try:
                return self._network is not None and ip_address(canonical(ip)) in self._network
            except ValueError:
                return False
        from fnmatch import fnmatchcase

        return fnmatchcase(canonical(ip), self.ip)


class LocalNode(BaseNode):
    """The client's machine, as in MARVELO.

    Accepted in NODES without effect: the client is always a node, in group LOCAL.
    """

    GROUPS = "LOCAL"


@dataclass(frozen=True)
class NodeInfo:
    """A node as a job's `preference` sees it; measured values are means over 3 seconds.

    Attributes:
        name, ip, groups: as in NODES.
        cpu: free processor time, percent.
        memory: free memory, bytes.
        disk: free disk space, bytes.
        swap: swap in use, percent.
        TQ: quality of the links to it, 0 to 255. For a job whose neighbours have a place: the mean
            of the measured links from their nodes; otherwise the link from the client.
        jobs: names of its jobs.
        max_jobs: number of jobs that it takes.
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
