"""Loading a command's network: user code runs, and Ctrl-C ends it whatever that code does."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO

import click

from fission.cli import interrupts
from fission.cli.table import Session


def load_network(session: Session, *, simulation: bool = False) -> Any:
    """Load a network that must have no faults. Raises ConfigError.

    Args:
        session: whose network.
        simulation: whether to ignore its machines.
    """
    from fission.project.config import load

    interrupts.loaded()
    with interrupts.Noticed(), prints_apart():
        return load(session.root, session.network, simulation=simulation, module=session.config_module)


def load_incomplete_network(session: Session) -> tuple[Any, Any, Any]:
    """Load a network as far as possible; return (network, registry, faults)."""
    from fission.project.config import load_incomplete

    interrupts.loaded()
    with interrupts.Noticed(), prints_apart():
        return load_incomplete(session.root, session.network, module=session.config_module)


@contextlib.contextmanager
def prints_apart() -> Iterator[None]:
    """Keep this command's output apart from that of the user code in the with-block.

    What the code prints goes to standard error if the command's own output is JSON (``--json``).
    Standard streams that it sets to None to silence itself are restored.
    """
    with _printed_to_stderr(), _streams_kept():
        yield


@contextlib.contextmanager
def prints_dropped() -> Iterator[None]:
    """Drop what the user code in the with-block prints: a shell that completes a word takes it for words, or shows it in mid-line."""
    with contextlib.ExitStack() as stack, open(os.devnull, "w") as nowhere:
        stack.enter_context(_streams_kept())
        for stream in (sys.stdout, sys.stderr):
            stack.enter_context(_redirected(stream, nowhere))
        yield


@contextlib.contextmanager
def _printed_to_stderr() -> Iterator[None]:
    """Redirect standard output to standard error, with ``--json``.

    The file descriptor is redirected, so that the output of programs and C libraries is included.
    """
    context = click.get_current_context(silent=True)
    if context is None or not context.params.get("as_json"):
        yield
        return
    with _redirected(sys.stdout, sys.stderr):
        yield


@contextlib.contextmanager
def _redirected(stream: TextIO, target: TextIO) -> Iterator[None]:
    """Redirect a standard stream, with its file descriptor."""
    stream.flush()
    try:
        descriptor = stream.fileno()
        kept = os.dup(descriptor)
    except (OSError, ValueError):  # a stream without a descriptor: only Python's own prints can be redirected
        redirect = contextlib.redirect_stdout if stream is sys.stdout else contextlib.redirect_stderr
        with redirect(target):
            yield
        return
    try:
        os.dup2(_descriptor(target), descriptor)
        yield
    finally:
        with contextlib.suppress(OSError):
            stream.flush()
        os.dup2(kept, descriptor)
        os.close(kept)


def _descriptor(target: TextIO) -> int:
    try:
        return target.fileno()
    except (OSError, ValueError):
        return 2


@contextlib.contextmanager
def _streams_kept() -> Iterator[None]:
    """Restore the standard streams that the with-block sets to None."""
    before = {name: getattr(sys, name) for name in ("stdin", "stdout", "stderr")}
    try:
        yield
    finally:
        for name, stream in before.items():
            if getattr(sys, name) is None:
                setattr(sys, name, stream)
