"""The nodes that have joined a run: which service is which node, in which of its lives."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping
from typing import Any

from fission.adapters.cluster.members import Identity, Member
from fission.ports import NodeName


class Register:
    """All lives of all nodes, and who they are."""

    def __init__(self, silent_s: float, orphan_timeout_s: float) -> None:
        """Args: silent_s: a node that has not pulsed for so long may be replaced by another service. orphan_timeout_s: of the session."""
        self._silent_s, self._orphan_timeout_s = silent_s, orphan_timeout_s
        self._members: dict[str, Member] = {}  # by life
        self._newest: dict[NodeName, Member] = {}
        self._services: dict[str, Identity] = {}  # who has joined, by service

    def __iter__(self) -> Iterator[Member]:
        """Every life of every node."""
        return iter(list(self._members.values()))

    def life(self, life: object) -> Member | None:
        """The member that has this life."""
        return self._members.get(str(life))

    def newest(self, name: NodeName) -> Member | None:
        """The newest life of a node."""
        return self._newest.get(name)

    def current(self) -> list[Member]:
        """The newest life of each node."""
        return list(self._newest.values())

    def known(self, service: str) -> Identity | None:
        """Who a service is that was here before, whatever its address is now."""
        return self._services.get(service)

    def settled(self, identity: Identity, facts: Mapping[str, Any]) -> Identity | str:
        """Return who a service is among those that live; a text says why it cannot be that node."""
        holder = self._holder(identity.name, facts["service"])
        if holder is not None and identity.by_pattern and holder.ip != facts["ip"]:
            identity = dataclasses.replace(identity, name=NodeName(f"{identity.name} ({facts['ip']})"))
            holder = self._holder(identity.name, facts["service"])
        if holder is not None:
            return f"the service at {holder.ip} is the node {identity.name} already; give each one its own name (--name) and entry in NODES"
        return identity

    def _holder(self, name: NodeName, service: str) -> Member | None:
        """The node of this name, if another service is it, which lives."""
        holder = self._newest.get(name)
        if holder is None or holder.gone or not holder.worker or holder.service == service:
            return None
        return holder if time.monotonic() - holder.pulse_at <= self._silent_s else None

    def enter(self, identity: Identity, facts: Mapping[str, Any]) -> tuple[Member, Member | None]:
        """Take in a new life; return it, and the one that was the node's before."""
        older = self._newest.get(identity.name)
        max_jobs = facts["max_jobs"] if identity.max_jobs is None else identity.max_jobs
        incarnation = 1 if older is None else older.incarnation + 1
        member = Member(identity.name, facts["ip"], facts["service"], facts["life"], incarnation, max_jobs)
        member.pulse_at = time.monotonic()
        member.jobs = {(job, life) for job, life in facts["lives"]}
        member.heard = facts["told"]
        self._services[member.service] = identity
        self._members[member.life] = self._newest[identity.name] = member
        return member, older

    def why_over(self, older: Member, newer: Member) -> str:
        """Why an older life of a node is over; empty: another service has begun, which says so by itself."""
        if older.gone or older.service != newer.service:
            return ""
        if older.ip != newer.ip:
            return f"its address is {newer.ip} now, and was {older.ip}"
        return f"it did not hear this client for {self._orphan_timeout_s:g} s (ORPHAN_TIMEOUT), and has stopped its jobs"
