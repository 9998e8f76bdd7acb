"""``fission NETWORK send JOB_ID``."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import click

from fission.cli.completing import jobs
from fission.cli.table import Session, example


@click.command(
    name="send", epilog=example("fission my_network send 1", "fission my_network send 1 --line '*'", "seq 5 | fission my_network send 1")
)
@click.argument("job_id", type=click.IntRange(min=1), shell_complete=jobs)
@click.option("--line", "lines", multiple=True, metavar="TEXT", help="Send this line; may be given several times. Default: standard input.")
@click.option("--end", is_flag=True, help="End the console after the last line; the network continues.")
@click.pass_obj
def command(session: Session, job_id: int, lines: tuple[str, ...], end: bool) -> None:
    """Send lines to the InteractiveJob JOB_ID of the running NETWORK, from --line or from standard input until it ends (Ctrl-D)."""
    from fission.client import send_lines

    send_lines(session.root / session.network, job_id, lines or _standard_input(), end=end)


def _standard_input() -> Iterator[str]:
    for line in sys.stdin:
        yield line.rstrip("\n")
