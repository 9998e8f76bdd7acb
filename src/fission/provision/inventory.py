"""Compares the hosts of an inventory with the NODES of a network, and writes an inventory from them."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fission.core.addresses import canonical
from fission.errors import UserError
from fission.provision.places import program
from fission.provision.playbook import STRICT, yaml_fault

GROUP = "fissionservers"
#: What Ansible accepts as the name of a host in every place.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class ListedNode:
    """An entry of NODES, or a host of an inventory.

    Attributes:
        name: its name; of a node without one, its address.
        address: its address or host name; of a host, the one for ssh.
        node_address: of a host, the address that its service uses, if it is another one.
    """

    name: str
    address: str
    node_address: str = ""

    def is_also(self, other: ListedNode) -> bool:
        """Return whether both are the same machine: they share a name or an address."""
        own = {self.name, *(canonical(address) for address in (self.address, self.node_address) if address)}
        return bool(own & {other.name, *(canonical(address) for address in (other.address, other.node_address) if address)})


def read_hosts(path: Path) -> list[ListedNode]:
    """Return the hosts of an inventory, as Ansible reads it.

    Raises:
        UserError: Ansible is not installed, or refuses the file.
    """
    words = [program("ansible-inventory"), "--inventory", str(path), "--list"]
    done = subprocess.run(words, env={**os.environ, **STRICT, "LC_ALL": "C.UTF-8"}, capture_output=True, text=True, check=False)
    try:
        found = json.loads(done.stdout)
        variables: Mapping[str, Mapping[str, str]] = found["_meta"]["hostvars"]
        names: Collection[str] = found.get(GROUP, {}).get("hosts", ())
    except (ValueError, KeyError, AttributeError):
        fault = yaml_fault(done.stderr) or f"{path} must list hosts as Ansible reads them, but does not"
        raise UserError(f"{fault}; correct it there") from None
    hosts = [(name, variables.get(name, {})) for name in names]
    return [ListedNode(name, str(own.get("ansible_host", name)), str(own.get("node_ip", own.get("dispy_ip", "")))) for name, own in hosts]


def without_host(nodes: Sequence[ListedNode], hosts: Sequence[ListedNode]) -> list[ListedNode]:
    """Return the nodes that no host is."""
    return [node for node in nodes if not any(node.is_also(host) for host in hosts)]


def inventory_text(nodes: Sequence[ListedNode], variables: Mapping[str, str | int], user: str = "") -> str:
    """Return the text of a hosts.yml with these nodes.

    Args:
        nodes: the nodes.
        variables: settings of all of them; those of setting.yml take precedence.
        user: the user that logs in; takes precedence over setting.yml. Empty: that of setting.yml.

    Raises:
        UserError: a name cannot be that of a host.
    """
    lines = ["---", "# Written by `fission provision inventory`; change it as you like.", f"{GROUP}:", "  hosts:"]
    for node in nodes:
        name = node.name if node.name != node.address else f"node_{re.sub('[^A-Za-z0-9]', '_', node.address)}"
        if _NAME.fullmatch(name) is None:
            text = "the name of a node must have only letters, digits, _, - and . to be the name of a host"
            raise UserError(f"{text}, but is {name!r}; rename it in NODES")
        lines += [f"    {name}:", f"      ansible_host: {json.dumps(node.address)}"]
        lines += [f"      ansible_user: {json.dumps(user)}"] if user else []
    lines += ["  vars:", *(f"    {name}: {json.dumps(value)}" for name, value in variables.items())] if variables else []
    return "\n".join(lines) + "\n"
