"""Which networks of a project run on nodes now, and with which version of FISSION."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Mapping
from pathlib import Path

from fission.client.folders.run_folders import current
from fission.client.serve.control_server import RUNNING_FILE
from fission.errors import UserError
from fission.project.finding import list_networks
from fission.protocol.version_rule import work_together


def running_on_nodes(project: Path) -> Mapping[str, str]:
    """Return the version of the client of each network that runs on nodes, by network.

    Only this machine's clients are known.

    Args:
        project: folder of the project.
    """
    return {network: version for network in list_networks(project) if (version := _version(project / network))}


def check_update(project: Path, version: str) -> None:
    """Check that a version of FISSION can be brought to nodes now.

    Args:
        project: folder of the project.
        version: the new version.

    Raises:
        UserError: a running network of the project would lose its nodes for good.
    """
    for network, present in running_on_nodes(project).items():
        if not work_together(present, version):
            raise UserError(
                f"the network {network} is running with FISSION {present}: a new version must have the same first two numbers, but is "
                f"{version}; stop the network first: fission {network} stop"
            )


def _version(network: Path) -> str:
    """Return the version of a network's client; empty if it does not run on nodes."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        found = json.loads((current(network) / RUNNING_FILE).read_text())
        if found.get("nodes"):
            with socket.socket(socket.AF_UNIX) as probe:
                probe.connect(found["requests"])  # a killed client leaves its file behind
            return str(found["version"])
    return ""
