"""``fission NETWORK echo PIPE``."""

from __future__ import annotations

import json

import click

from fission.cli.completing import pipes
from fission.cli.json_values import as_json_value
from fission.cli.loading import load_network
from fission.cli.looking import cut_text, find_pipe, folder_of, polite, value_reader
from fission.cli.table import Session, example

#: Longest text of a value, in characters; arbitrary, a few lines of a terminal.
SHOWN = 500


@click.command(
    name="echo",
    epilog=example("fission my_network echo 101", "fission my_network echo 101 --count 10", "fission my_network echo 101 --json --count 1"),
)
@click.argument("pipe", shell_complete=pipes)
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="End after N blocks. Default: when the pipe ends, or Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each block: pipe, sqn, head, time, value.")
@click.pass_obj
def command(session: Session, pipe: str, count: int | None, as_json: bool) -> None:
    """Show the blocks on PIPE (its id) of the running NETWORK, each with its number.

    The network does not wait for this command: blocks that it cannot take in time are missed; their
    number is shown at the end.
    """
    from fission.client.attach.follow import WatchedPipes

    network = load_network(session, simulation=True).network
    polite()
    found = find_pipe(network, pipe)
    read = value_reader(found)
    left = count if count is not None else -1
    with WatchedPipes(folder_of(session), [found.id]) as watch:
        try:
            for _, seen in watch.seen():
                heads = seen.heads or [0] * seen.count
                for index, payload in enumerate(seen.payloads or ()):
                    value = read(payload)
                    if as_json:
                        row = {
                            "pipe": found.id,
                            "sqn": seen.sqn + index,
                            "head": heads[index],
                            "time": seen.time,
                            "value": as_json_value(value),
                        }
                        click.echo(json.dumps(row))
                    else:
                        head = f" head {heads[index]:#04x}" if heads[index] else ""
                        click.echo(f"{found.id} #{seen.sqn + index}{head}: {_shown(value)}")
                    left -= 1
                    if left == 0:
                        return
        finally:
            missed = watch.followers[found.id].missed
            if missed:
                click.echo(f"{missed} blocks were missed", err=True)
            if watch.cut:
                click.echo(cut_text(watch.cut), err=True)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."
