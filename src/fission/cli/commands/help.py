"""``fission help``."""

from __future__ import annotations

import click

from fission.cli.table import COMMANDS, Session, example


def _names(context: click.Context, parameter: click.Parameter, text: str) -> list[str]:
    return [name for name in COMMANDS if name.startswith(text)]


@click.command(name="help", epilog=example("fission help", "fission help simulate"))
@click.argument("name", required=False, metavar="[COMMAND]", shell_complete=_names)
@click.pass_obj
def command(session: Session, name: str | None) -> int:
    """Show all commands, or the help of COMMAND; the same as COMMAND --help."""
    from fission.cli.grammar import NetworkCommands
    from fission.cli.main import run_line

    if name is not None and name not in COMMANDS:
        NetworkCommands(name).require_known(session)
    return run_line([*([] if name is None else [name]), "--help"], session)
