"""The output of `senddata` and `removedata`, as lines or JSON."""

from __future__ import annotations

import json
from typing import Any

import click

from fission.errors import EXIT_FAILED, EXIT_OK


def show_outcome(outcome: Any, done: str, as_json: bool) -> int:
    """Show an outcome; return the exit code.

    Args:
        outcome: a `fission.client.attach.node_files.Outcome`.
        done: the text for a node where it succeeded.
        as_json: whether to write JSON.
    """
    if as_json:
        click.echo(json.dumps({"done": outcome.done, "failed": outcome.failed, "warnings": outcome.troubles}, indent=2))
    else:
        for node, size in outcome.done.items():
            click.echo(f"{node}: {done}, {size / 1e6:.1f} MB")
        if not outcome.done and not outcome.failed:
            click.echo("no node is available")
    for trouble in outcome.troubles:
        click.secho("Warning: ", fg="yellow", bold=True, nl=False, err=True)
        click.echo(trouble, err=True)
    for node, why in outcome.failed.items():
        click.secho("Error: ", fg="red", bold=True, nl=False, err=True)
        click.echo(why if node in why else f"{node}: {why}", err=True)
    return EXIT_OK if outcome.done and not outcome.failed else EXIT_FAILED
