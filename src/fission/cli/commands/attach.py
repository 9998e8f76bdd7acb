"""``fission NETWORK attach``."""

from __future__ import annotations

import click

from fission.cli import interrupts
from fission.cli.looking import folder_of
from fission.cli.table import Session, example


@click.command(name="attach", epilog=example("fission my_network attach"))
@click.pass_obj
def command(session: Session) -> int:
    """Follow a network that runs in the background or in another terminal until it ends, and exit
    with its exit code.

    Shows the client's latest messages, and from then on all messages and the output of all jobs.
    Ctrl-C ends this view, not the network.
    """
    from fission.cli.console import ConsoleObserver
    from fission.client.attach.attach import attach

    interrupts.loaded()
    console = ConsoleObserver()
    lines, exit_code = attach(folder_of(session), console)
    for line in lines:
        click.echo(line)
    console.last_words()
    return exit_code
