"""``fission NETWORK top``."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import click

from fission.cli.jobs_table import COLUMNS, GAP, LEFT, WHOLE, columns_for, job_lines, standing_lines, terminal_width
from fission.cli.looking import folder_of, polite, seconds
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
    until its consumer releases it. The rest are shares of time: BUSY (in run, on a processor), OFF
    CPU (in run, but asleep, waiting for a device or for a processor), STARVED (waiting for blocks),
    BLOCKED (waiting for space). A narrow terminal shows the largest of them, MOSTLY. A job that
    makes no progress is named below the table.
    """
    from fission.cli import interrupts
    from fission.client.attach.follow import measure, rates

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
                click.echo(json.dumps({"network": session.network, "time": after["time"], "jobs": rows}, indent=2 if once else None))
            else:
                for line in [*job_lines(rows, terminal_width()), *standing_lines(rows)]:
                    click.echo(line)
            if once:
                return
            before = after
    _live(folder, before, interval)


def _live(folder: Any, before: dict[str, Any], interval: float) -> None:
    from rich.console import Console
    from rich.live import Live

    from fission.client.attach.follow import measure, rates
    from fission.errors import UserError

    with Live(console=Console(), auto_refresh=False, screen=False) as live:
        while True:
            time.sleep(interval)
            try:
                after = measure(folder)
            except UserError:
                live.console.print("the network has ended")
                return
            live.update(_table(rates(before, after), interval, live.console.width), refresh=True)
            before = after


def _table(rows: list[dict[str, Any]], interval: float, width: int) -> Any:
    from rich.table import Table
    from rich.text import Text

    layout = columns_for(rows, width)
    more = "" if layout == WHOLE else "; a wider terminal and --json show more"
    notes = [*standing_lines(rows), f"IN/S and OUT/S add up the pipes of a job; every {interval:g} s; Ctrl-C ends{more}"]
    shown = Table(
        title=None, caption="\n".join(notes), caption_justify="left", expand=False, box=None, pad_edge=False, padding=(0, GAP, 0, 0)
    )
    for heading in layout:
        shown.add_column(heading, justify="left" if heading in LEFT else "right", no_wrap=True)
    for row in rows:
        style = "red" if row["state"] == "failed" else "dim" if row["cpu"] is None else ""
        shown.add_row(*(Text(COLUMNS[heading](row)) for heading in layout), style=style)
    return shown
