"""``fission NETWORK simulate``."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from functools import partial
from pathlib import Path
from typing import Any

import click

from fission.cli import interrupts
from fission.cli.loading import load_network
from fission.cli.page_process import Page, no_page, page_of, page_option
from fission.cli.table import Session, example


def seconds_above_0(ctx: click.Context, parameter: click.Parameter, value: float | None) -> float | None:
    """Validate an option: a number of seconds must be above 0."""
    if value is not None and not (math.isfinite(value) and value > 0):
        raise click.BadParameter(f"must be a number of seconds above 0, but is {value}")
    return value


@click.command(name="simulate", epilog=example("fission my_network simulate", "fission my_network simulate --for 10 --json > summary.json"))
@click.argument("root", required=False, type=click.Path(path_type=Path))
@click.option("--for", "duration", type=float, metavar="SECONDS", callback=seconds_above_0, help="Stop after this time.")
@click.option("--nodes", type=click.IntRange(0, 1000), default=0, metavar="N", help="Spread the jobs over N virtual nodes, named 1 to N.")
@click.option(
    "--kill", "kills", multiple=True, metavar="NODE@SECONDS", help="Kill a virtual node, or a job with job:JOB@SECONDS. Repeatable."
)
@click.option("--cut", "cuts", multiple=True, metavar="NODE@SECONDS+DURATION", help="Freeze a virtual node for a while. Repeatable.")
@click.option("--chaos", metavar="SEED:RATE", help="Inject random faults, RATE per second; the same SEED gives the same faults.")
@page_option
@click.option("--json", "as_json", is_flag=True, help="Write the summary as JSON to standard output, all else to standard error.")
@click.pass_obj
def command(
    session: Session,
    root: Path | None,
    duration: float | None,
    nodes: int,
    kills: tuple[str, ...],
    cuts: tuple[str, ...],
    chaos: str | None,
    page_at: tuple[str, int] | None,
    as_json: bool,
) -> int:
    """Run the network on this machine, each job in a process of its own, until all jobs have
    finished or Ctrl-C.

    The jobs' output is prefixed with their names. Each job works in NETWORK/simulation/ID, which is
    emptied first; info.txt there lists the jobs and their IDs. NODES, CLIENT_IP, USER and
    REMOTE_ROOT of config.py are ignored.

    With ROOT, a folder, each job works in ROOT/ID. Other files in ROOT are kept.
    """
    from fission.client import parse_chaos, parse_cut, parse_kill

    loaded = load_network(session, simulation=True)
    faults = [_with_id(parse_kill(text), loaded.network) for text in kills] + [parse_cut(text) for text in cuts]
    options = {"duration": duration, "nodes": nodes, "faults": faults, "chaos": parse_chaos(chaos) if chaos else None, "folder": root}
    page = partial(page_of, session, page_at, loaded.config.dashboard)
    return simulate_loaded(loaded, as_json=as_json, page=page, **options)


def simulate_loaded(loaded: Any, *, as_json: bool = False, page: Page = no_page, **options: Any) -> int:
    """Simulate a loaded network, show events and the summary, and return the exit code.

    Args:
        loaded: a `LoadedNetwork`.
        as_json: whether the summary goes to standard output as JSON, all else to standard error.
        page: serves the page of the network meanwhile; by default no page.
        options: keyword arguments of `fission.client.run.simulate`.
    """
    from fission.cli.console import ConsoleObserver
    from fission.client import simulate
    from fission.project.foresight import warnings_of

    console = ConsoleObserver(out=sys.stderr) if as_json else ConsoleObserver()
    for warning in warnings_of(loaded, starts=True):
        console.warning(warning)
    if interrupts.came():  # the user's modules have suppressed it
        raise KeyboardInterrupt
    with page(console.notice, console.warning):
        summary = simulate(loaded, observer=console, **options)
    if as_json:
        click.echo(json.dumps(summary.to_json(), indent=2))
    else:
        for line in summary.lines():
            click.echo(line)
    console.last_words()
    return summary.exit_code


def _with_id(fault: Any, network: Any) -> Any:
    """Return a fault with the id of its job, which the user may name in another way."""
    from fission.cli.looking import find_job

    if fault.kind != "kill job" or fault.target.isdecimal():
        return fault
    return dataclasses.replace(fault, target=str(find_job(network, fault.target)._fission_id))
