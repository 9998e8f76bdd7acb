"""``fission NETWORK stop``."""

from __future__ import annotations

import click

from fission.cli import interrupts
from fission.cli.looking import folder_of
from fission.cli.table import Session, example


@click.command(name="stop", epilog=example("fission my_network stop"))
@click.pass_obj
def command(session: Session) -> None:
    """Stop a network that runs in the background or in another terminal, like Ctrl-C there, and
    wait for its end.
    """
    from fission.client.attach.attach import stop

    interrupts.loaded()
    stop(folder_of(session))
    click.echo(f"{session.network} has stopped")
