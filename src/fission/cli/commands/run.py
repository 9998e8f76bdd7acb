"""``fission NETWORK run``."""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path

import click

from fission.cli import interrupts
from fission.cli.commands.simulate import seconds_above_0
from fission.cli.loading import load_network
from fission.cli.page_process import WAIT_S, page_lines, page_of, page_option
from fission.cli.table import Session, example
from fission.core.addresses import bracketed


@click.command(name="run", epilog=example("fission my_network run", "fission my_network run --for 60 --json > summary.json"))
@click.option("--for", "duration", type=float, metavar="SECONDS", callback=seconds_above_0, help="Stop after this time.")
@click.option("--resume", is_flag=True, help="Continue the last run, whose client was killed.")
@click.option(
    "--resume-or-start",
    is_flag=True,
    help="For services: continue the last run, however it was stopped; if it has finished, or there is none, start one.",
)
@click.option("--detach", is_flag=True, help="Run in the background; see attach and stop.")
@page_option
@click.option("--json", "as_json", is_flag=True, help="Write the summary as JSON to standard output, all else to standard error.")
@click.option("--output", type=click.Path(path_type=Path), hidden=True)
@click.pass_obj
def command(
    session: Session,
    duration: float | None,
    resume: bool,
    resume_or_start: bool,
    detach: bool,
    page_at: tuple[str, int] | None,
    as_json: bool,
    output: Path | None,
) -> int:
    """Run the network on the NODES of its config.py, until all jobs have finished or Ctrl-C.

    Each node runs the service `fission node`. Local jobs work in NETWORK/local/ID on this machine,
    where NETWORK/local is a link to the folder of this run, NETWORK/runs/DATE-N. If NODES is empty,
    or contains only localhost, everything runs here, and no service is needed.
    """
    gc.disable()  # the imported modules are permanent: scanning them repeatedly takes a tenth of the time
    try:
        from fission.cli.console import ConsoleObserver
        from fission.client.run.on_nodes import run
        from fission.project import config  # noqa: F401 - load_network needs it
    finally:
        gc.freeze()
        gc.enable()

    interrupts.loaded()
    if detach:
        words = ["--for", str(duration)] if duration is not None else []
        words += ["--resume-or-start"] if resume_or_start else ["--resume"] if resume else []
        words += ["--dashboard", f"{bracketed(page_at[0])}:{page_at[1]}"] if page_at is not None else []
        words += ["--json"] if as_json else []
        return _detach(session, words)
    from fission.project.foresight import warnings_of

    loaded = load_network(session)
    console = ConsoleObserver(out=sys.stderr) if as_json else ConsoleObserver()
    for warning in warnings_of(loaded, starts=True):
        console.warning(warning)
    if interrupts.came():  # the user's modules have suppressed it
        raise KeyboardInterrupt
    wait_s = 0.0 if output is None else WAIT_S
    with page_of(session, page_at, loaded.config.dashboard, console.notice, console.warning, wait_s=wait_s):
        summary = run(
            loaded, duration=duration, observer=console, resume=resume or resume_or_start, or_start=resume_or_start, output=output
        )
    if as_json:
        click.echo(json.dumps(summary.to_json(), indent=2))
    else:
        for line in summary.lines():
            click.echo(line)
    console.last_words()
    return summary.exit_code


def _detach(session: Session, options: list[str]) -> int:
    from fission.client.attach.attach import start_in_background
    from fission.client.folders.endings import OUTPUT_FILE
    from fission.client.folders.run_folders import LOCAL

    words = [sys.executable, str(session.root / "manage.py"), session.network, "run", *options]
    process, text = start_in_background(words, session.root / session.network)
    name = session.network
    click.echo(f"{name} runs in the background, process {process}; follow it: fission {name} attach; end it: fission {name} stop")
    click.echo(f"its output is in {name}/{LOCAL}/{OUTPUT_FILE}")
    for line in page_lines(name, text):
        click.echo(line)
    return 0
