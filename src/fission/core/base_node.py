"""The base classes of nodes and groups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fission.core.addresses import MUST, canonical, fault_of
from fission.core.registry import JOBS, NODES, Registry, current, where
from fission.errors import Fault, value_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fission.core.base_job import BaseJob


class BaseNode:
    """A machine on which jobs can be placed, as in ``BaseNode("192.168.4.2", "kitchen",
    max_jobs=3)``.

    Class attributes, for subclasses to override:
        GROUPS: name of a group, or a list of names, that the node is part of.
        max_jobs: number of jobs that it takes; None: the number given to its service, or its number
            of CPUs.

    Args:
        host: the address at which the client reaches it: IPv4, IPv6, or a host name. The keyword
            `ip` is a synonym.
        port: if text, the node's name. Other values are accepted without effect: nodes listen at
            ports that the system chooses.
        cpus: synonym of `max_jobs`; 0: not given.
        depends: accepted without effect, because DEPENDENCIES of a job are sent to its node.
        setup_args: accepted without effect, because `setup` of a job has its own arguments.
        name: its name in messages, one line; default: the address. A service with this name
            (``fission node --name``) is this node, even if its address has changed.
        max_jobs: number of jobs that it takes, in place of the class's `max_jobs`.

    Attributes:
        without_effect: names of the given arguments that have no effect.

    Raises:
        DefinitionError: `host` is not an address, `name` not one line of text, or `max_jobs` not a
            whole number from 1.
    """

    GROUPS: str | Sequence[str] = "ALL"
    max_jobs: int | None = None

    def __init__(
        self,
        host: str = "",
        port: str | int | None = None,
        cpus: int = 0,
        depends: Sequence[object] = (),
        setup_args: Sequence[object] = (),
        name: str | None = None,
        *,
        ip: str = "",
        max_jobs: int | None = None,
    ) -> None:
        self.created_at = where()
        if isinstance(port, str):
            port, name = None, name or port
        given = {"port": port is not None, "depends": bool(depends), "setup_args": bool(setup_args)}
        self.without_effect = tuple(argument for argument, is_given in given.items() if is_given)
        limit = max_jobs if max_jobs is not None else cpus or None
        if limit is not None:
            self.max_jobs = limit
        address: Any = host or ip
        self.ip = canonical(address) if type(address) is str else address
        self.named = name not in (None, "")
        self.name: str = name if name is not None and name != "" else self.ip
        fault = self._fault("max_jobs" if max_jobs is not None or limit is None else "cpus")
        if fault:
            current().report(Fault(fault, self.created_at))
            return
        current().nodes[self.ip] = self
        enter_groups(current(), self.GROUPS)

    def _fault(self, limit: str) -> str:
        """Return the fault of the arguments, or "".

        ``limit``: name of the argument that gave `max_jobs`.
        """
        address: Any = self.ip
        name: Any = self.name
        jobs: Any = self.max_jobs
        if not isinstance(address, str) or not address:
            return f"the address of a {type(self).__name__} must be a text like '192.168.4.2', but is {address!r}"
        if fault := self._address_fault():
            return fault
        if not isinstance(name, str) or not name.isprintable() or name != name.strip():
            return f"the name of the node {address} must be one line of printable text, but is {value_text(name)}"
        if not (jobs is None or (type(jobs) is int and jobs >= 1)):
            return f"{self}: {limit} must be a whole number from 1, or {'0' if limit == 'cpus' else 'None'}, but is {jobs!r}"
        return ""

    @property
    def groups(self) -> tuple[str, ...]:
        """The names of its groups."""
        return group_names(self.GROUPS)

    def _address_fault(self) -> str:
        """Return the fault of its address; empty if there is none."""
        fault = fault_of(self.ip)
        pattern = "; for more than one machine write MultiNode" if "*" in self.ip or "/" in self.ip else ""
        return f"the address of a node must be {MUST}, but is {fault}{pattern}" if fault else ""

    def admits(self, ip: str) -> bool:
        """Return whether the machine with this address is this node."""
        return canonical(ip) == self.ip

    def __str__(self) -> str:
        return f"{type(self).__name__} {self.name}"

    __repr__ = __str__


class GroupType(type):
    """Returns the existing group when a group class is called with a known name."""

    def __call__(cls, name: str) -> Any:
        groups = current().groups
        if name not in groups:
            groups[name] = super().__call__(name)
        return groups[name]


class BaseGroup(metaclass=GroupType):
    """A name that jobs and nodes share: a job goes to nodes of its groups.

    The same name gives the same object.
    """

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
    """Return GROUPS of a job or node as a tuple of names; ignores invalid ones, which
    `Network.check` reports.
    """
    listed = (groups,) if isinstance(groups, str) else groups if isinstance(groups, (list, tuple)) else ()
    return tuple(name for name in listed if isinstance(name, str) and name)


def enter_groups(registry: Registry, groups: object) -> None:
    """Create the missing groups that GROUPS of a job or node names."""
    for name in group_names(groups):
        if name not in registry.groups:
            registry.groups[name] = BaseGroup(name)
