"""``fission NETWORK replay FILE --job ID``."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import click

from fission.cli.completing import jobs
from fission.cli.json_values import as_json_value
from fission.cli.loading import load_network
from fission.cli.looking import find_job, seconds, value_reader
from fission.cli.table import Session, example

#: Default of --longest-gap in seconds; arbitrary: after a minute without a block the user has stopped watching.
LONGEST_GAP_S = 60.0


def _speed(ctx: click.Context, parameter: click.Parameter, value: str) -> float | None:
    if value == "max":
        return None
    try:
        speed = float(value)
    except ValueError:
        speed = math.nan
    if not (math.isfinite(speed) and speed > 0):
        raise click.BadParameter(f"must be a number above 0 (1: as recorded, 2: twice as fast) or max, but is {value!r}")
    return speed


@click.command(
    name="replay",
    epilog=example(
        "fission my_network replay evening.rec --job 5", "fission my_network replay evening.rec --job 5 --speed max --out new.rec"
    ),
)
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--job", required=True, metavar="JOB", shell_complete=jobs, help="The job to feed: its id, name or class.")
@click.option("--speed", default="1", metavar="FACTOR", callback=_speed, help="1: as recorded (default); 10: ten times as fast; max.")
@click.option(
    "--longest-gap",
    type=float,
    default=LONGEST_GAP_S,
    metavar="SECONDS",
    callback=seconds,
    show_default=True,
    help="Longest wait between two blocks; longer gaps are shortened and reported.",
)
@click.option(
    "--out", "out", type=click.Path(path_type=Path), metavar="FILE", help="Record the job's output blocks instead of showing them."
)
@click.option("--overwrite", is_flag=True, help="Replace an existing --out FILE.")
@click.option("--json", "as_json", is_flag=True, help="Show the job's output blocks as JSON, one object for each block.")
@click.pass_obj
def command(
    session: Session, path: Path, job: str, speed: float | None, longest_gap: float, out: Path | None, overwrite: bool, as_json: bool
) -> None:
    """Feed the recording FILE to one job of NETWORK, alone on this machine, and show or record its
    output blocks.

    The job runs as in a network, in the folder .emulate/ID of the project. Blocks that the
    recording lacks are treated as lost blocks.
    """
    from fission.recordings import Recorder, Recording
    from fission.testing.replay import Replay

    loaded = load_network(session, simulation=True)
    found = find_job(loaded.network, job)
    recording = Recording(path)
    replay = None
    recorder = Recorder(out, session.network, found.outputs, overwrite=overwrite) if out else None
    try:
        base = session.root / ".emulate"
        replay = Replay(found, recording, base, speed=speed, head_size=loaded.config.head_size, longest_gap_s=longest_gap, notice=_notice)
        show = _to_recorder(recorder) if recorder else _to_stdout(found, as_json)
        replay.run(show, _printed_to(sys.stderr if as_json else sys.stdout))
    finally:
        if recorder is not None:
            recorder.close()
        if recording.problem:
            click.secho("Warning: ", fg="yellow", bold=True, nl=False, err=True)
            click.echo(recording.problem, err=True)
    sent = f", {recorder.blocks} output blocks were recorded into {out}" if recorder else ""
    click.echo(f"{found._fission_name}: {replay.fed} blocks were fed in{sent}", err=True)


def _notice(text: str) -> None:
    click.echo(text, err=True)


def _printed_to(stdout: TextIO) -> Callable[[str, str], None]:
    """Return the function that takes the job's output; standard output goes to *stdout*."""

    def write(stream: str, text: str) -> None:
        (sys.stderr if stream == "stderr" else stdout).write(text)

    return write


def _to_recorder(recorder: Any) -> Any:
    import time

    epoch = time.time() - time.monotonic()

    def write(data: Any) -> None:
        recorder.write(epoch + time.monotonic(), data.pipe, data.generation, data.sqn, data.payloads, data.heads, data.times)

    return write


def _to_stdout(job: Any, as_json: bool) -> Any:
    readers = {pipe.id: value_reader(pipe) for pipe in job.outputs}

    def show(data: Any) -> None:
        heads = data.heads or [0] * len(data.payloads)
        for index, payload in enumerate(data.payloads):
            value, sqn, head = readers[data.pipe](payload), data.sqn + index, heads[index]
            if as_json:
                click.echo(json.dumps({"pipe": data.pipe, "sqn": sqn, "head": head, "value": as_json_value(value)}))
            else:
                click.echo(f"{data.pipe} #{sqn}{f' head {head:#04x}' if head else ''}: {value!r}")

    return show
