"""``fission NETWORK top``."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import click

from fission.cli.looking import folder_of, polite, seconds, table
from fission.cli.table import Session, example

HEADINGS = ("JOB", "NODE", "STATE", "CPU %", "MEMORY", "IN/S", "OUT/S", "QUEUE", "LATENCY", "RESTARTS", "BUSY", "STARVED", "BLOCKED")


@click.command(
    name="top", epilog=example("fission my_network top", "fission my_network top --once", "fission my_network top --once --json")
)
@click.option("--once", is_flag=True, help="Show it once, after one interval, and end.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object each time instead of the table.")
@click.option("--interval", type=float, default=1.0, metavar="SECONDS", callback=seconds, help="Seconds between two looks. Default: 1.")
@click.pass_obj
def command(session: Session, once: bool, as_json: bool, interval: float) -> None:
    """Show how the jobs of the running NETWORK get on: a live table, until Ctrl-C.

    IN/S and OUT/S are blocks a second, QUEUE blocks that were sent and are still needed, LATENCY the time from a block's sending until
    its consumer has let go of it. BUSY, STARVED (waiting for blocks) and BLOCKED (waiting for room) are shares of the time.
    """
    from fission.cli import interrupts
    from fission.client.watching import measure, rates

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
                for line in table(HEADINGS, [cells(row) for row in rows]):
                    click.echo(line)
            if once:
                return
            before = after
    _live(folder, before, interval)


def _live(folder: Any, before: dict[str, Any], interval: float) -> None:
    from rich.console import Console
    from rich.live import Live

    from fission.client.watching import measure, rates
    from fission.errors import UserError

    with Live(console=Console(), auto_refresh=False, screen=False) as live:
        while True:
            time.sleep(interval)
            try:
                after = measure(folder)
            except UserError:
                live.console.print("the network has ended")
                return
            live.update(_table(rates(before, after), interval), refresh=True)
            before = after


def _table(rows: list[dict[str, Any]], interval: float) -> Any:
    from rich.table import Table
    from rich.text import Text

    shown = Table(title=None, caption=f"every {interval:g} s; Ctrl-C ends", expand=False)
    for index, heading in enumerate(HEADINGS):
        shown.add_column(heading, justify="left" if index < 3 else "right", no_wrap=True)
    for row in rows:
        style = "red" if row["state"] == "failed" else "dim" if row["cpu"] is None else ""
        shown.add_row(*map(Text, cells(row)), style=style)
    return shown


def cells(row: dict[str, Any]) -> list[str]:
    """The cells of a row of `rates`."""
    return [
        row["name"],
        row["node"] or "-",
        row["state"],
        _number(row["cpu"]),
        "-" if row["memory"] is None else f"{row['memory'] / 2**20:.0f} MB",
        _number(row["in_per_s"]),
        _number(row["out_per_s"]),
        "-" if row["queue"] is None else str(row["queue"]),
        "-" if row["latency_s"] is None else f"{row['latency_s'] * 1000:.1f} ms",
        str(row["restarts"]),
        *("-" if row[name] is None else f"{row[name]:.0%}" for name in ("busy", "starved", "blocked")),
    ]


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.1f}" if value < 1000 else f"{value:.0f}"
