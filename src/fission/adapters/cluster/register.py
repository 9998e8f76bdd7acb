"""The nodes that have joined a run: which service is which node, and its leases."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator

from fission.adapters.cluster.members import Identity, Member
from fission.ports import NodeName
from fission.protocol.messages.node_to_client import NodeClaimed


class Register:
    """All leases of all nodes, and the identities of their services."""

    def __init__(self, silent_s: float, orphan_timeout_s: float) -> None:
        """Start with no nodes.

        Args:
            silent_s: seconds without a pulse before another service may replace a node.
            orphan_timeout_s: seconds that jobs continue without the client, as in `RunParameters`.
        """
        self._silent_s, self._orphan_timeout_s = silent_s, orphan_timeout_s
        self._members: dict[str, Member] = {}  # by lease
        self._newest: dict[NodeName, Member] = {}
        self._services: dict[str, Identity] = {}  # identities of the services that have joined, by service

    def __iter__(self) -> Iterator[Member]:
        """Iterate over every lease of every node."""
        return iter(list(self._members.values()))

    def of_lease(self, lease: str) -> Member | None:
        """Return the member that has this lease."""
        return self._members.get(lease)

    def newest(self, name: NodeName) -> Member | None:
        """Return the newest lease of a node."""
        return self._newest.get(name)

    def current(self) -> list[Member]:
        """Return the newest lease of each node."""
        return list(self._newest.values())

    def known(self, service: str) -> Identity | None:
        """Return the identity of a service that has joined before, whatever its address is now."""
        return self._services.get(service)

    def settled(self, identity: Identity, claimed: NodeClaimed) -> Identity | str:
        """Return a service's identity among the present nodes, or why it cannot be that node."""
        holder = self._holder(identity.name, claimed.service)
        if holder is not None and identity.by_pattern and holder.ip != claimed.ip:
            identity = dataclasses.replace(identity, name=NodeName(f"{identity.name} ({claimed.ip})"))
            holder = self._holder(identity.name, claimed.service)
        if holder is not None:
            return f"the service at {holder.ip} is the node {identity.name} already; give each one its own name (--name) and entry in NODES"
        return identity

    def _holder(self, name: NodeName, service: str) -> Member | None:
        """Return the present node of this name if it belongs to another service."""
        holder = self._newest.get(name)
        if holder is None or holder.gone or not holder.worker or holder.service == service:
            return None
        return holder if time.monotonic() - holder.pulse_at <= self._silent_s else None

    def enter(self, identity: Identity, claimed: NodeClaimed) -> tuple[Member, Member | None]:
        """Add a new lease; return it and the node's previous lease."""
        older = self._newest.get(identity.name)
        max_jobs = claimed.max_jobs if identity.max_jobs is None else identity.max_jobs
        incarnation = 1 if older is None else older.incarnation + 1
        member = Member(identity.name, claimed.ip, claimed.service, claimed.lease, incarnation, max_jobs)
        member.pulse_at = time.monotonic()
        member.jobs = set(claimed.running)
        member.acknowledged = claimed.acknowledged
        self._services[member.service] = identity
        self._members[member.lease] = self._newest[identity.name] = member
        return member, older

    def why_over(self, older: Member, newer: Member) -> str:
        """Return why a node's older lease is over.

        The text is empty if another service has started, whose own joining shows it.
        """
        if older.gone or older.service != newer.service:
            return ""
        if older.ip != newer.ip:
            return f"its address changed from {older.ip} to {newer.ip}"
        return f"it received nothing from this client for {self._orphan_timeout_s:g} s (ORPHAN_TIMEOUT) and stopped its jobs"
