"""How a command loads its network: code of the user runs, and Ctrl-C ends it whatever that code does."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any

import click

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
    with interrupts.Noticed(), prints_apart():
        return load(session.root, session.network, simulation=simulation, module=session.config_module)


def load_incomplete_network(session: Session) -> tuple[Any, Any, Any]:
    """As far as it can be loaded: (network, registry, faults)."""
    from fission.project.config import load_incomplete

    interrupts.loaded()
    with interrupts.Noticed(), prints_apart():
        return load_incomplete(session.root, session.network, module=session.config_module)


@contextlib.contextmanager
def prints_apart() -> Iterator[None]:
    """Send what user code prints inside the with-block to standard error, if the command's own output is JSON (``--json``).

    The descriptor is moved, so that programs and libraries that the code calls are caught as well.
    """
    context = click.get_current_context(silent=True)
    if context is None or not context.params.get("as_json"):
        yield
        return
    sys.stdout.flush()
    try:
        descriptor = sys.stdout.fileno()
        kept = os.dup(descriptor)
    except (OSError, ValueError):  # a stream without a descriptor: only Python's own prints can be moved
        with contextlib.redirect_stdout(sys.stderr):
            yield
        return
    try:
        os.dup2(2, descriptor)
        yield
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        os.dup2(kept, descriptor)
        os.close(kept)
