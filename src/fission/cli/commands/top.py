"""``fission NETWORK top``."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import click

from fission.cli.jobs_table import jobs_table, standing_lines, terminal_width
from fission.cli.json_names import CLOCK_NAMES, JOB_UNITS, NODE_UNITS, PATH_UNITS, job_as_json, node_as_json
from fission.cli.looking import folder_of, polite, seconds
from fission.cli.nodes_table import clock_lines
from fission.cli.paths_table import path_lines
from fission.cli.table import Session, example


@click.command(
    name="top", epilog=example("fission my_network top", "fission my_network top --once", "fission my_network top --once --json")
)
@click.option("--once", is_flag=True, help="Show it once, after one interval, and end.")
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object each time instead of the table.")
@click.option("--interval", type=float, default=1.0, metavar="SECONDS", callback=seconds, help="Time between two samples. Default: 1.")
@click.pass_obj
def command(session: Session, once: bool, as_json: bool, interval: float) -> None:
    """Show the rates and loads of the running NETWORK's jobs in a live table, until Ctrl-C.

    IN/S and OUT/S are blocks per second, added up over all pipes of a job (hz shows one pipe).
    QUEUE is the number of blocks sent and not yet released, LATENCY the time from sending a block
    until its consumer releases it. The rest are shares of time: BUSY (computes, or is ready to),
    IDLE (sleeps in run: waits for a clock, a device, a socket, a typed line), STARVED (waits for
    blocks), BLOCKED (waits for room in an output); MOSTLY is the largest of them. A narrow terminal
    has fewer columns. A job that makes no progress is named below the table.

    The second table has the time from making a block in a source until a sink is done with it: the
    least, the median and the 99th percentile of the last minute. The third has the clocks of nodes.
    """
    from fission.cli import interrupts
    from fission.client.attach.attach import status
    from fission.client.attach.follow import paths, rates

    interrupts.loaded()
    polite()
    folder = folder_of(session)
    before = status(folder)
    if once or as_json or not sys.stdout.isatty():
        while True:
            time.sleep(interval)
            after = status(folder)
            rows = rates(before, after)
            if as_json:
                clocks = [_clock_as_json(node) for node in after["nodes"]]
                shown = {"network": session.network, "time": after["time"], "jobs": [job_as_json(row) for row in rows]}
                units = {"jobs": JOB_UNITS, "paths": PATH_UNITS, "clocks": {name: NODE_UNITS[name] for name in CLOCK_NAMES}}
                click.echo(json.dumps({**shown, "paths": paths(after), "clocks": clocks, "units": units}, indent=2 if once else None))
            else:
                width = terminal_width()
                for line in [*jobs_table(rows, width).lines(), *standing_lines(rows), *_further_lines(after, width)]:
                    click.echo(line)
            if once:
                return
            before = after
    _live(folder, before, interval)


def _live(folder: Any, before: dict[str, Any], interval: float) -> None:
    from rich.console import Console
    from rich.live import Live

    from fission.client.attach.attach import status
    from fission.client.attach.follow import rates
    from fission.errors import UserError

    with Live(console=Console(), auto_refresh=False, screen=False) as live:
        while True:
            time.sleep(interval)
            try:
                after = status(folder)
            except UserError:
                live.console.print("the network has ended")
                return
            live.update(_shown(rates(before, after), _further_lines(after, live.console.width), interval, live.console.width), refresh=True)
            before = after


def _further_lines(after: dict[str, Any], width: int | None) -> list[str]:
    """Return the tables below that of the jobs."""
    from fission.client.attach.follow import paths

    return [*path_lines(paths(after), width), *clock_lines(after["nodes"], width)]


def _clock_as_json(node: dict[str, Any]) -> dict[str, Any]:
    found = node_as_json(node)
    return {"node": node["name"], **{name: found[name] for name in CLOCK_NAMES}}


def _shown(rows: list[dict[str, Any]], further: list[str], interval: float, width: int) -> Any:
    from rich.console import Group
    from rich.text import Text

    table = jobs_table(rows, width)
    more = "; a wider terminal and --json show more" if table.left else ""
    headings, *lines = table.lines()
    notes = [*standing_lines(rows), f"IN/S and OUT/S add up the pipes of a job; every {interval:g} s; Ctrl-C ends{more}"]
    return Group(
        Text(headings, style="bold", no_wrap=True, overflow="crop"),
        *(Text(line, style=_style(row), no_wrap=True, overflow="crop") for line, row in zip(lines, rows, strict=True)),
        *(Text(line, no_wrap=True, overflow="crop") for line in [*further, ""]),
        *(Text(note, style="dim italic") for note in notes),
    )


def _style(row: dict[str, Any]) -> str:
    return "red" if row["state"] == "failed" else "dim" if row["cpu"] is None else ""
