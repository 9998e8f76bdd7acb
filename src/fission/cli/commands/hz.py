"""``fission NETWORK hz PIPE``."""

from __future__ import annotations

import json
import math
import time

import click

from fission.cli.completing import pipes
from fission.cli.loading import load_network
from fission.cli.looking import cut_text, find_pipe, folder_of, polite, seconds
from fission.cli.table import Session, example

#: Seconds between reports; arbitrary.
REPORT_S = 1.0


class Rate:
    """Number of blocks and intervals between them, of one report or of all.

    Attributes:
        blocks: number of blocks.
    """

    def __init__(self) -> None:
        self.blocks = 0
        self._first = self._last = 0.0
        self._count = 0
        self._mean = self._spread = 0.0  # of the intervals, by Welford's algorithm: one pass, numerically stable
        self._least, self._most = math.inf, 0.0

    def add(self, moment: float, count: int, before: float) -> None:
        """Add ``count`` blocks at a moment, in seconds; ``before``: the moment of the previous
        ones, 0 if there are none.
        """
        if not self.blocks:
            self._first = before or moment
        self.blocks += count
        self._last = moment
        if not before:
            count -= 1  # the first block ends no interval
        for index in range(count):
            interval = max(0.0, moment - before) if index == 0 and before else 0.0
            self._count += 1
            off = interval - self._mean
            self._mean += off / self._count
            self._spread += off * (interval - self._mean)
            self._least, self._most = min(self._least, interval), max(self._most, interval)

    def row(self, missed: int) -> dict[str, float | int | None]:
        """Return the report."""
        span = self._last - self._first
        return {
            "blocks": self.blocks,
            "per_s": round(self._count / span, 3) if span > 0 else None,
            "mean_s": round(self._mean, 6) if self._count else None,
            "jitter_s": round(math.sqrt(self._spread / self._count), 6) if self._count else None,
            "least_s": round(self._least, 6) if self._count else None,
            "most_s": round(self._most, 6) if self._count else None,
            "missed": missed,
        }


@click.command(name="hz", epilog=example("fission my_network hz 101", "fission my_network hz 101 --for 10 --json"))
@click.argument("pipe", shell_complete=pipes)
@click.option("--for", "duration", type=float, metavar="SECONDS", callback=seconds, help="End after this time. Default: Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Write only one JSON object, at the end.")
@click.pass_obj
def command(session: Session, pipe: str, duration: float | None, as_json: bool) -> None:
    """Show the rate of blocks on PIPE (its id) of the running NETWORK, each second and at the end.

    The jitter is the standard deviation of the intervals between blocks. Blocks that travel
    together, as on a busy pipe, pass at the same moment.
    """
    from fission.client.attach.follow import WatchedPipes

    network = load_network(session, simulation=True).network
    polite()
    found = find_pipe(network, pipe)
    whole, part = Rate(), Rate()
    before, began = 0.0, time.monotonic()
    report_at = began + REPORT_S
    with WatchedPipes(folder_of(session), [found.id], payload=False) as watch:
        follower = watch.followers[found.id]
        try:
            for moment in watch.moments(None if duration is None else began + duration, REPORT_S):
                if moment is not None:
                    for rate in (whole, part):
                        rate.add(moment.time, moment.count, before)
                    before = moment.time
                if time.monotonic() >= report_at:
                    report_at += REPORT_S
                    if not as_json:
                        click.echo(_line(found, part.row(follower.missed)))
                    part = Rate()
        finally:
            row = whole.row(follower.missed)
            click.echo(json.dumps({"pipe": found.id, **row}) if as_json else f"in all: {_line(found, row)}")
            if watch.cut:
                click.echo(cut_text(watch.cut), err=True)


def _line(pipe: object, row: dict[str, float | int | None]) -> str:
    if row["per_s"] is None:
        return f"{pipe}: {row['blocks']} blocks" if row["blocks"] != 1 else f"{pipe}: 1 block"
    missed = f", {row['missed']} unseen" if row["missed"] else ""
    spread = f"interval {row['mean_s']} s, jitter {row['jitter_s']} s, {row['least_s']} to {row['most_s']} s"
    return f"{pipe}: {row['per_s']} blocks/s, {spread}{missed}"
