"""Why expected nodes are missing, judged by what arrived from their addresses."""

from __future__ import annotations

import re
from enum import Enum

from fission.adapters.cluster.members import Identity, NodeDirectory
from fission.core.addresses import canonical

#: Dask's message for a connection that could not be encrypted; the address is the peer's.
_HANDSHAKE = re.compile(r"handshake failed with remote '\w+://(?P<host>.+):\d+'", re.IGNORECASE)
#: Number of addresses to remember; arbitrary, more than a network has nodes.
MAX_ADDRESSES = 1024


class ArrivalState(Enum):
    """State of a service that has not joined."""

    CONNECTED = "it has connected, and is being identified"
    REFUSED = "it cannot be used, and the user has been notified of the reason"
    OTHER_KEYS = "its connections could not be encrypted"


class Arrivals:
    """State of the services that have not joined, by address."""

    def __init__(self, directory: NodeDirectory, keys: str) -> None:
        """Start with no addresses.

        Args:
            directory: directory of the nodes.
            keys: folder of the network's keys on this machine; empty if nothing is encrypted.
        """
        self._directory, self._keys = directory, keys
        self._states: dict[str, tuple[ArrivalState, str]] = {}  # by address, with the service's name where known

    def note(self, ip: str, state: ArrivalState, name: str = "") -> bool:
        """Record the state of an address; return whether it is new."""
        ip = canonical(ip)
        before = self._states.get(ip)
        if before is not None and before[0] is state:
            return False
        if len(self._states) < MAX_ADDRESSES:
            self._states[ip] = (state, name)
        return True

    def joined(self, ip: str) -> None:
        """Forget an address whose service has joined."""
        self._states.pop(canonical(ip), None)

    def dask_says(self, text: str) -> str:
        """Handle a Dask warning; return the text for the user, empty if there is none."""
        found = _HANDSHAKE.search(text)
        if found is None or not self.note(found["host"].strip("[]"), ArrivalState.OTHER_KEYS):
            return ""
        ip = canonical(found["host"].strip("[]"))
        identity = self._directory.recognise(ip, "")
        remedy = f"copy {self._keys} to it, then: sudo service fission restart"
        if isinstance(identity, Identity):
            return f"node {identity.name} ({ip}) has other keys than this machine, or does not encrypt: {remedy}"
        # A port scan and a node with other keys look alike here: both connections end in mid-handshake.
        return f"{ip} has connected without the keys of this machine, and was refused; if it is a node: {remedy}"

    def absence(self, node: str) -> str:
        """Return what to do about a missing node. May block.

        The text is empty if the user has already been notified.
        """
        for ip, (state, name) in list(self._states.items()):
            identity = self._directory.recognise(ip, name)
            if isinstance(identity, Identity) and identity.name == node:
                return f"node {node} is still starting; it takes part as soon as it is ready" if state is ArrivalState.CONNECTED else ""
        if reason := self._directory.absence(node):
            return f"node {node} is not there: {reason}"
        # a service that expects keys is silent here as well: its connection says nothing that Dask understands
        insecure = "" if self._keys else "; without SECURITY it must run with --insecure"
        return f"node {node} does not answer; restart its service: sudo service fission restart{insecure}"
