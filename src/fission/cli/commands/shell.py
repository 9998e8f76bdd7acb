"""``fission NETWORK shell``."""

from __future__ import annotations

import shlex
import sys

import click

from fission.cli import interrupts
from fission.cli.table import COMMANDS, Session, example
from fission.errors import EXIT_INTERRUPTED

ENDS = ("exit", "quit")


@click.command(name="shell", epilog=example("fission my_network shell", "echo 'check' | fission my_network shell"))
@click.pass_obj
def command(session: Session) -> int:
    """Open a prompt for the commands of one network, with completion: `check`, `simulate --for 10`,
    `echo 101 --count 3`.

    `help` lists the commands, Ctrl-C ends one, Ctrl-D or `exit` ends the prompt. The exit code is
    that of the last command.
    """
    from fission.cli.loading import load_network
    from fission.cli.main import run_line

    network = load_network(session, simulation=True).network
    words = [name for name, entry in COMMANDS.items() if entry.scope == "network" and name != "shell"]
    typing = sys.stdin.isatty()
    if typing:
        _complete(session, words)
        click.echo(f"{network.name}: {len(network.jobs)} jobs, {len(network.pipes)} pipes; help lists the commands, Ctrl-D ends")
    code = 0
    while True:
        try:
            line = input(f"{network.name}> " if typing else "")
        except EOFError:
            if typing:
                click.echo()
            return code
        except KeyboardInterrupt:
            interrupts.taken()
            click.echo()
            continue
        try:
            typed = shlex.split(line)
        except ValueError as why:
            click.echo(f"Error: {why}", err=True)
            code = 2
            continue
        if not typed or typed[0].startswith("#"):
            continue
        if typed[0] in ENDS:
            return code
        if typed == ["help"]:
            for name in words:
                click.echo(f"  {name:<12} {COMMANDS[name].help}")
            continue
        if typed[0] == "shell":
            click.echo("Error: the shell is already open; type another command", err=True)
            continue
        code = run_line([session.network, *typed], session)
        interrupts.taken()
        if code == EXIT_INTERRUPTED and not typing:
            return code


def _complete(session: Session, words: list[str]) -> None:
    """Set up completion of commands, options, pipes and jobs, if Python has readline."""
    try:
        import readline
    except ImportError:
        return
    from fission.cli.completing import completions

    found: list[str] = []

    def complete(text: str, state: int) -> str | None:
        nonlocal found
        if state == 0:
            before = readline.get_line_buffer()[: readline.get_begidx()].split()
            found = [f"{word} " for word in completions(session, before, text, [*words, "help", *ENDS])]
        return found[state] if state < len(found) else None

    readline.set_completer(complete)
    readline.set_completer_delims(" ")
    readline.parse_and_bind("bind ^I rl_complete" if "libedit" in (readline.__doc__ or "") else "tab: complete")
