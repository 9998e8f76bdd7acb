"""``fission NETWORK send JOB``."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import click

from fission.cli.completing import jobs
from fission.cli.looking import job_ids
from fission.cli.table import Session, example


@click.command(
    name="send",
    epilog=example("fission my_network send 1", "fission my_network send InteractiveJob --line '*'", "seq 5 | fission my_network send 1"),
)
@click.argument("job", metavar="JOB", shell_complete=jobs)
@click.option("--line", "lines", multiple=True, metavar="TEXT", help="Send this line. Repeatable. Default: standard input.")
@click.option("--end", is_flag=True, help="End the console after the last line; the network continues.")
@click.pass_obj
def command(session: Session, job: str, lines: tuple[str, ...], end: bool) -> None:
    """Send lines to the InteractiveJob JOB of the running NETWORK, from --line or from standard
    input until it ends (Ctrl-D).

    JOB is its id, its name, or its class.
    """
    from fission.client import send_lines

    number = job_ids(session, [job])[0]
    send_lines(session.root / session.network, number, lines or _standard_input(), end=end)


def _standard_input() -> Iterator[str]:
    for line in sys.stdin:
        yield line.rstrip("\n")
