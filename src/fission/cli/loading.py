"""How a command loads its network: code of the user runs, and Ctrl-C ends it whatever that code does."""

from __future__ import annotations

from typing import Any

from fission.cli import interrupts
from fission.cli.table import Session


def load_network(session: Session, *, simulation: bool = False) -> Any:
    """The network, without faults. Raises ConfigError.

    Args:
        session: of which network.
        simulation: its machines are not looked at.
    """
    from fission.project.config import load

    interrupts.loaded()
    with interrupts.Noticed():
        return load(session.root, session.network, simulation=simulation)


def load_incomplete_network(session: Session) -> tuple[Any, Any, Any]:
    """As far as it can be loaded: (network, registry, faults)."""
    from fission.project.config import load_incomplete

    interrupts.loaded()
    with interrupts.Noticed():
        return load_incomplete(session.root, session.network)
