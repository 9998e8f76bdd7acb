"""The words that can follow on a command line, for completion in shells and in our own prompt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fission.cli.table import COMMANDS, Session

if TYPE_CHECKING:
    import click
    from click.shell_completion import CompletionItem


def completions(session: Session, before: Sequence[str], text: str, words: Sequence[str]) -> list[str]:
    """Return the words that can follow.

    Args:
        session: whose network and project.
        before: the words after the network's name.
        text: the beginning of the next word.
        words: the commands, for the first word.
    """
    if not before:
        return [word for word in words if word.startswith(text)]
    from click.shell_completion import ShellComplete

    from fission.cli.grammar import root

    if before[0] not in COMMANDS:
        return []
    asked = ShellComplete(root, {"obj": session}, session.prog, "")
    return [item.value for item in asked.get_completions([session.network, *before], text) if item.type == "plain"]


def pipes(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the ids of the network's pipes, with their classes."""
    from click.shell_completion import CompletionItem

    network = _network(ctx.obj)
    found = network.pipes.items() if network is not None else ()
    return [CompletionItem(str(number), help=str(pipe)) for number, pipe in found if str(number).startswith(incomplete)]


def jobs(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the ids of the network's jobs, with their names; and names of one word, with their
    ids.
    """
    from click.shell_completion import CompletionItem

    network = _network(ctx.obj)
    found: dict[str, str] = {}
    for number, job in network.jobs.items() if network is not None else ():
        found[str(number)] = job._fission_name
    for number, job in network.jobs.items() if network is not None else ():
        name = job._fission_name.removesuffix(f" {number}")
        others = [
            other
            for other in network.jobs.values()
            if name in (other._fission_name.removesuffix(f" {other._fission_id}"), type(other).__name__)
        ]
        if len(others) == 1 and name.split() == [name]:
            found.setdefault(name, f"job {number}")
    return [CompletionItem(word, help=text) for word, text in found.items() if word.startswith(incomplete)]


def _network(session: Any) -> Any:
    """Load the session's network; None if it cannot be loaded, because completion reports no
    errors.
    """
    from fission.cli.loading import prints_dropped
    from fission.project.config import load_incomplete

    try:
        with prints_dropped():
            return load_incomplete(session.root, session.network)[0].network
    except Exception:  # the user's config may raise anything
        return None
