"""``fission NETWORK top``."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import click

from fission.cli.jobs_table import jobs_table, standing_lines, terminal_width
from fission.cli.json_names import JOB_UNITS, PATH_UNITS, job_as_json
from fission.cli.looking import folder_of, polite, seconds
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
    least, the median and the 99th percentile of the last minute.
    """
    from fission.cli import interrupts
    from fission.client.attach.follow import measure, paths, rates

    interrupts.loaded()
    polite()
    folder = folder_of(session)
    before = measure(folder)
    if once or as_json or not sys.stdout.isatty():
        while True:
            time.sleep(interval)
            after = measure(folder)
            rows = rates(before, after)
            if as_json:
                shown = {"network": session.network, "time": after["time"], "jobs": [job_as_json(row) for row in rows]}
                units = {"jobs": JOB_UNITS, "paths": PATH_UNITS}
                click.echo(json.dumps({**shown, "paths": paths(after), "units": units}, indent=2 if once else None))
            else:
                width = terminal_width()
                for line in [*jobs_table(rows, width).lines(), *standing_lines(rows), *path_lines(paths(after), width)]:
                    click.echo(line)
            if once:
                return
            before = after
    _live(folder, before, interval)


def _live(folder: Any, before: dict[str, Any], interval: float) -> None:
    from rich.console import Console
    from rich.live import Live

    from fission.client.attach.follow import measure, paths, rates
    from fission.errors import UserError

    with Live(console=Console(), auto_refresh=False, screen=False) as live:
        while True:
            time.sleep(interval)
            try:
                after = measure(folder)
            except UserError:
                live.console.print("the network has ended")
                return
            live.update(_shown(rates(before, after), paths(after), interval, live.console.width), refresh=True)
            before = after


def _shown(rows: list[dict[str, Any]], ways: list[dict[str, Any]], interval: float, width: int) -> Any:
    from rich.console import Group
    from rich.text import Text

    table = jobs_table(rows, width)
    more = "; a wider terminal and --json show more" if table.left else ""
    headings, *lines = table.lines()
    notes = [*standing_lines(rows), f"IN/S and OUT/S add up the pipes of a job; every {interval:g} s; Ctrl-C ends{more}"]
    return Group(
        Text(headings, style="bold", no_wrap=True, overflow="crop"),
        *(Text(line, style=_style(row), no_wrap=True, overflow="crop") for line, row in zip(lines, rows, strict=True)),
        *(Text(line, no_wrap=True, overflow="crop") for line in [*path_lines(ways, width), ""]),
        *(Text(note, style="dim italic") for note in notes),
    )


def _style(row: dict[str, Any]) -> str:
    return "red" if row["state"] == "failed" else "dim" if row["cpu"] is None else ""
