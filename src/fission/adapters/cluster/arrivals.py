"""Why nodes that are expected are not there, as far as what came from their addresses tells."""

from __future__ import annotations

import re
from enum import Enum

from fission.adapters.cluster.members import Identity, NodeDirectory
from fission.core.addresses import canonical

#: How Dask says that a connection could not be encrypted; the address is of who connected.
_HANDSHAKE = re.compile(r"handshake failed with remote '\w+://(?P<host>.+):\d+'", re.IGNORECASE)
#: Addresses that are remembered; arbitrary, more than a network has nodes.
MAX_ADDRESSES = 1024


class ArrivalState(Enum):
    """What is known of a service that has not joined."""

    CONNECTED = "it has connected, and is being asked who it is"
    REFUSED = "it cannot be used, and the user has been notified of the reason"
    OTHER_KEYS = "its connections could not be encrypted"


class Arrivals:
    """What came from which address."""

    def __init__(self, who: NodeDirectory, keys: str) -> None:
        """Args: who: knows the nodes. keys: folder of the network's keys here; empty: nothing is encrypted."""
        self._who, self._keys = who, keys
        self._states: dict[str, tuple[ArrivalState, str]] = {}  # by address, with the name of the service where it is known

    def note(self, ip: str, state: ArrivalState, name: str = "") -> bool:
        """Something came from an address; return whether this is new."""
        ip = canonical(ip)
        before = self._states.get(ip)
        if before is not None and before[0] is state:
            return False
        if len(self._states) < MAX_ADDRESSES:
            self._states[ip] = (state, name)
        return True

    def joined(self, ip: str) -> None:
        """Its service has joined."""
        self._states.pop(canonical(ip), None)

    def dask_says(self, text: str) -> str:
        """Take a warning of Dask's; return what the user should know of it, "" for nothing."""
        found = _HANDSHAKE.search(text)
        if found is None or not self.note(found["host"].strip("[]"), ArrivalState.OTHER_KEYS):
            return ""
        ip = canonical(found["host"].strip("[]"))
        identity = self._who.recognise(ip, "")
        remedy = f"copy {self._keys} to it, then: sudo service fission restart"
        if isinstance(identity, Identity):
            return f"node {identity.name} ({ip}) has other keys than this machine, or does not encrypt: {remedy}"
        # A port scan and a node with other keys look alike here: both connections end in the middle of the handshake.
        return f"{ip} has connected without the keys of this machine, and was refused; if it is a node: {remedy}"

    def absence(self, node: str) -> str:
        """Return what to do about a node that is not there; empty: the user has been notified of that already. May block."""
        for ip, (state, name) in list(self._states.items()):
            identity = self._who.recognise(ip, name)
            if isinstance(identity, Identity) and identity.name == node:
                return f"node {node} is still starting; it takes part as soon as it is ready" if state is ArrivalState.CONNECTED else ""
        if reason := self._who.absence(node):
            return f"node {node} is not there: {reason}"
        return f"node {node} does not answer; on it, try: sudo service fission restart"
