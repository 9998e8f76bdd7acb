"""What every node and every group has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fission.core.addresses import MUST, canonical, fault_of
from fission.core.registry import JOBS, NODES, Registry, current, where
from fission.errors import Fault

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fission.core.base_job import BaseJob


class BaseNode:
    """A machine that jobs can be placed on.

    Class attributes, to be overridden:
        GROUPS: name of a group, or a list of names, that the node is part of.
        max_jobs: how many jobs it takes; None: what its service was started with, or as many as it has CPUs.

    Args:
        ip: its address, as the client reaches it: IPv4, IPv6, or a host name.
        name: what messages call it; the address if left out. A service of this name (``fission node --name``) is this node, also
            when its address has changed.
        max_jobs: how many jobs it takes, in place of the class's `max_jobs`.

    Raises:
        DefinitionError: `ip` is no address, or `max_jobs` no whole number from 1.
    """

    GROUPS: str | Sequence[str] = "ALL"
    max_jobs: int | None = None

    def __init__(self, ip: str, name: str | None = None, *, max_jobs: int | None = None) -> None:
        self.created_at = where()
        if max_jobs is not None:
            self.max_jobs = max_jobs
        self.named = name is not None
        self.ip = canonical(ip) if type(ip) is str else ip
        self.name = self.ip if name is None else name
        address: Any = ip
        if not isinstance(address, str) or not address:
            text = f"the address of a {type(self).__name__} must be a text like '192.168.4.2', not {ip!r}"
            current().report(Fault(text, self.created_at))
            return
        if fault := self._address_fault():
            current().report(Fault(fault, self.created_at))
            return
        if not (self.max_jobs is None or (type(self.max_jobs) is int and self.max_jobs >= 1)):
            text = f"{self}: max_jobs must be a whole number from 1, or None, but is {self.max_jobs!r}"
            current().report(Fault(text, self.created_at))
            return
        current().nodes[self.ip] = self
        enter_groups(current(), self.GROUPS)

    @property
    def groups(self) -> tuple[str, ...]:
        """The names of its groups."""
        return group_names(self.GROUPS)

    def _address_fault(self) -> str:
        """What is wrong with its address; empty: nothing."""
        fault = fault_of(self.ip)
        pattern = "; for more than one machine write MultiNode" if "*" in self.ip or "/" in self.ip else ""
        return f"the address of a node must be {MUST}, but is {fault}{pattern}" if fault else ""

    def admits(self, ip: str) -> bool:
        """Whether the machine with this address is meant."""
        return canonical(ip) == self.ip

    def __str__(self) -> str:
        return f"{type(self).__name__} {self.name}"

    __repr__ = __str__


class GroupType(type):
    """Makes a call of a group class with a name that is already there give the group that is there."""

    def __call__(cls, name: str) -> Any:
        groups = current().groups
        if name not in groups:
            groups[name] = super().__call__(name)
        return groups[name]


class BaseGroup(metaclass=GroupType):
    """A name that jobs and nodes have in common: a job goes to nodes of its groups. The same name gives the same object."""

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def jobs(self) -> list[BaseJob]:
        """The jobs of the current registry that list this group."""
        return [job for job in JOBS.values() if self.name in group_names(job.GROUPS)]

    @property
    def nodes(self) -> list[BaseNode]:
        """The nodes of the current registry that are part of this group."""
        return [node for node in NODES.values() if self.name in group_names(node.GROUPS)]

    def __str__(self) -> str:
        return f"{type(self).__name__} {self.name}"

    __repr__ = __str__


def group_names(groups: object) -> tuple[str, ...]:
    """GROUPS of a job or node as names in their order; what is no name is left out (`Network.check` reports it)."""
    listed = (groups,) if isinstance(groups, str) else groups if isinstance(groups, (list, tuple)) else ()
    return tuple(name for name in listed if isinstance(name, str) and name)


def enter_groups(registry: Registry, groups: object) -> None:
    """Makes sure that every name in GROUPS of a job or node has its group."""
    for name in group_names(groups):
        if name not in registry.groups:
            registry.groups[name] = BaseGroup(name)
