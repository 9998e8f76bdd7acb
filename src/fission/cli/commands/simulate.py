"""``fission NETWORK simulate``."""

from __future__ import annotations

import json
import math
import sys

import click

from fission.cli import interrupts
from fission.cli.table import Session, example


def _seconds(ctx: click.Context, parameter: click.Parameter, value: float | None) -> float | None:
    if value is not None and not (math.isfinite(value) and value > 0):
        raise click.BadParameter(f"must be a number of seconds above 0, is {value}")
    return value


@click.command(name="simulate", epilog=example("fission my_network simulate", "fission my_network simulate --for 10 --json > summary.json"))
@click.option("--for", "duration", type=float, metavar="SECONDS", callback=_seconds, help="Stop after so many seconds.")
@click.option("--json", "as_json", is_flag=True, help="Write the summary as JSON to standard output, all else to standard error.")
@click.pass_obj
def command(session: Session, duration: float | None, as_json: bool) -> int:
    """Run the network on this machine, each job in a process of its own, until all jobs have finished or Ctrl-C.

    What the jobs print appears with their names in front. Each job works in NETWORK/simulation/ID, which is emptied first;
    info.txt there says which job has which ID. NODES, CLIENT_IP, USER and REMOTE_ROOT of config.py are not needed.
    """
    from fission.cli.console import Console
    from fission.client import simulate
    from fission.project.config import load

    interrupts.loaded()
    loaded = load(session.root, session.network, simulation=True)
    console = Console(out=sys.stderr) if as_json else Console()
    for warning in loaded.network.warnings():
        console.warning(warning)
    if interrupts.came():  # the user's modules have swallowed it
        raise KeyboardInterrupt
    summary = simulate(loaded, duration=duration, observer=console)
    if as_json:
        click.echo(json.dumps(summary.to_json(), indent=2))
    else:
        for line in summary.lines():
            click.echo(line)
    return summary.exit_code
