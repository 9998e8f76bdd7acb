"""``fission NETWORK record PIPE... --out FILE``."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

from fission.cli import completing
from fission.cli.loading import load_network
from fission.cli.looking import cut_text, find_pipe, folder_of, seconds
from fission.cli.table import Session, example
from fission.errors import EXIT_FAILED, EXIT_OK

#: Bytes of each pipe that may be under way to the recorder. Arbitrary: some seconds of a busy pipe, so that a disk may pause.
CREDIT = 32 << 20


@click.command(
    name="record",
    epilog=example("fission my_network record 101 102 --out evening.rec", "fission my_network record 101 --out some.rec --count 1000"),
)
@click.argument("pipes", nargs=-1, required=True, metavar="PIPE...", shell_complete=completing.pipes)
@click.option("--out", "path", required=True, type=click.Path(path_type=Path), metavar="FILE", help="File of the recording.")
@click.option("--for", "duration", type=float, metavar="SECONDS", callback=seconds, help="End after this time.")
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="End after N blocks in total.")
@click.option("--overwrite", is_flag=True, help="Replace an existing FILE.")
@click.option("--json", "as_json", is_flag=True, help="Write the result as one JSON object.")
@click.pass_obj
def command(
    session: Session, pipes: tuple[str, ...], path: Path, duration: float | None, count: int | None, overwrite: bool, as_json: bool
) -> int:
    """Record the blocks on PIPEs (their ids) of the running NETWORK to FILE, with their numbers,
    heads and times.

    Records until the pipes end, or Ctrl-C; FILE is then intact. The network does not wait for the
    disk: blocks that cannot be written in time are counted instead. Feed FILE to a job with
    `replay`; read it in Python with fission.recordings.read_recording.
    """
    from fission.client.attach.follow import WatchedPipes
    from fission.recordings import Recorder

    network = load_network(session, simulation=True).network
    found = [find_pipe(network, text) for text in dict.fromkeys(pipes)]
    deadline = None if duration is None else time.monotonic() + duration
    with WatchedPipes(folder_of(session), [pipe.id for pipe in found], credit=CREDIT, everything=True) as watch:
        recorder = Recorder(path, session.network, found, overwrite=overwrite)
        full = ""
        try:
            for pipe, seen in watch.seen(deadline):
                payloads, heads = seen.payloads or [], seen.heads
                if count is not None and recorder.blocks + len(payloads) > count:
                    payloads = payloads[: count - recorder.blocks]
                recorder.write(seen.time, pipe, seen.generation, seen.sqn, payloads, heads, seen.times)
                if count is not None and recorder.blocks >= count:
                    break
        except OSError as why:
            full = f"{path} cannot be written: {why.strerror}; it is intact up to the last recorded block"
        finally:
            missed = {pipe: follower.missed for pipe, follower in watch.followers.items()}
            if not full:
                recorder.close(missed, watch.cut)
            _report(recorder, missed, watch.cut, full, as_json)
    return EXIT_FAILED if full else EXIT_OK


def _report(recorder: object, missed: dict[int, int], cut: tuple[int, ...], full: str, as_json: bool) -> None:
    path, blocks, size = (getattr(recorder, name) for name in ("path", "blocks", "size"))
    if as_json:
        click.echo(json.dumps({"file": str(path), "blocks": blocks, "bytes": size, "missed": missed, "cut": cut, "error": full}))
        return
    unseen = sum(missed.values())
    more = f"; {unseen} were missed" if unseen else ""
    click.echo(f"recorded {blocks} blocks into {path}, {size / 1e6:.1f} MB{more}")
    if cut:
        click.echo(cut_text(cut), err=True)
    if full:
        click.secho("Error: ", fg="red", bold=True, nl=False, err=True)
        click.echo(full, err=True)
