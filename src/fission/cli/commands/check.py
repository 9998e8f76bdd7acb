"""``fission NETWORK check``."""

from __future__ import annotations

import json

import click

from fission.cli.table import Session, example
from fission.errors import EXIT_OK, ConfigError


@click.command(name="check", epilog=example("fission my_network check", "fission my_network check --json"))
@click.option("--json", "as_json", is_flag=True, help="Write the result as JSON to standard output.")
@click.pass_obj
def command(session: Session, as_json: bool) -> int:
    """Load the network and check all of its config, jobs and pipes, without starting anything.

    Everything that is wrong is told at once, each with its file and line. The exit code is 2 if something is wrong; warnings are not.
    """
    from fission.project.config import load

    try:
        loaded = load(session.root, session.network)
    except ConfigError as error:
        if not as_json:
            raise
        _write(session.network, False, faults=[{"where": fault.where, "text": fault.text} for fault in error.faults])
        return error.exit_code
    network = loaded.network
    warnings = network.warnings()
    counts = {"jobs": len(network.jobs), "pipes": len(network.pipes), "nodes": len(loaded.config.nodes)}
    if as_json:
        _write(session.network, True, warnings=warnings, **counts)
    else:
        for warning in warnings:
            click.secho("Warning: ", fg="yellow", bold=True, nl=False, err=True)
            click.echo(warning, err=True)
        click.echo(
            f"{session.network} is right: " + ", ".join(f"{count} {name if count != 1 else name[:-1]}" for name, count in counts.items())
        )
    return EXIT_OK


def _write(network: str, right: bool, **rest: object) -> None:
    click.echo(json.dumps({"network": network, "ok": right, "faults": [], "warnings": [], **rest}, indent=2))
