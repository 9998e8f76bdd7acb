"""NODES of the config and the machines that answer: who is who."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Sequence

from fission.adapters.cluster.members import Identity
from fission.core.base import BaseNode
from fission.core.nodes import MultiNode, NodeInfo
from fission.ports import NodeName

#: Addresses and names of this machine, for whoever asks from it.
LOCALHOST = frozenset({"localhost", "127.0.0.1", "::1"})


def only_here(nodes: Sequence[BaseNode]) -> bool:
    """Whether NODES name no other machine: the network runs on this one, without any service."""
    return all(not isinstance(node, MultiNode) and node.ip in LOCALHOST for node in nodes)


class Roster:
    """The nodes of one config."""

    def __init__(self, nodes: Sequence[BaseNode]) -> None:
        """Args: nodes: as in the config. Host names are looked up, which may block."""
        self._nodes = nodes
        self._ips = {node.ip: {node.ip, *_addresses(node.ip)} for node in nodes if not isinstance(node, MultiNode)}

    def expected(self) -> list[NodeInfo]:
        """The nodes that are known by their own names; they have no room until they answer."""
        named = [node for node in self._nodes if not isinstance(node, MultiNode)]
        return [NodeInfo(node.name, node.ip, node.groups, max_jobs=0) for node in named]

    def recognise(self, ip: str, name: str) -> Identity | str:
        """Return who the machine with that address is, whose service calls it ``name``; a text says why it is nobody."""
        for node in self._nodes:
            if not isinstance(node, MultiNode) and ip in self._ips[node.ip]:
                return Identity(NodeName(node.name), node.groups, node.max_jobs)
        for node in self._nodes:
            if isinstance(node, MultiNode) and node.admits(ip):
                return Identity(NodeName(name), node.groups, node.max_jobs)
        return "it is not in NODES"


def _addresses(host: str) -> set[str]:
    with contextlib.suppress(OSError):
        return {str(found[4][0]) for found in socket.getaddrinfo(host, None)}
    return set()
