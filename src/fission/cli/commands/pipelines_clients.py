"""``fission pipelines submit|send|list|show|retry|cancel``."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fission.cli import interrupts
from fission.cli.commands.pipelines_daemons import api_option, broadcast_option, keys_option
from fission.cli.table import example
from fission.errors import EXIT_FAILED, EXIT_OK

if TYPE_CHECKING:
    from fission.pipelines import PipelineManager

timeout_option = click.option(
    "--timeout", type=float, default=10.0, show_default=True, metavar="SECONDS", help="Wait so long for the Router."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Write the result as JSON to standard output.")
file_argument = click.argument("file", type=click.Path(path_type=Path))


def _ask(api: str, message: Mapping[str, Any], timeout: float, keys: Path | None) -> dict[str, Any]:
    from fission.adapters.zmq_api import ApiClient
    from fission.pipelines.daemon import ask, protect_with, read_keys

    interrupts.loaded()
    client = ApiClient(api, protect_with(read_keys(keys)))
    try:
        return ask(client, api, message, timeout)
    finally:
        client.close()


@contextmanager
def _manager(api: str, broadcast: str, keys: Path | None, timeout: float) -> Iterator[PipelineManager]:
    from fission.pipelines import PipelineManager

    with PipelineManager(api, broadcast, timeout=timeout, keys=keys) as manager:
        yield manager


@click.command(name="submit", epilog=example("fission pipelines submit pipelines.yaml", "fission pipelines submit pipelines.json --json"))
@file_argument
@api_option
@broadcast_option
@keys_option
@timeout_option
@json_option
def submit(file: Path, api: str, broadcast: str, keys: Path | None, timeout: float, as_json: bool) -> int:
    """Hand in the pipelines of FILE (YAML or JSON) and print their ids; they are accepted for good."""
    from fission.pipelines.files import read_pipelines

    interrupts.loaded()
    pipelines = read_pipelines(file)
    with _manager(api, broadcast, keys, timeout) as manager:
        ids = manager.start_all(pipelines)
    if as_json:
        click.echo(json.dumps({"pipelines": ids}, indent=2))
    else:
        for one in ids:
            click.echo(one)
    return EXIT_OK


@click.command(
    name="send", epilog=example("fission pipelines send pipelines.yaml", "fission pipelines send pipelines.yaml --for 60 --json")
)
@file_argument
@click.option("--for", "duration", type=float, metavar="SECONDS", help="Wait so long for their end at most. [default: no limit]")
@api_option
@broadcast_option
@keys_option
@timeout_option
@json_option
def send(file: Path, duration: float | None, api: str, broadcast: str, keys: Path | None, timeout: float, as_json: bool) -> int:
    """Hand in the pipelines of FILE and wait until all of them are over, with a progress bar on a terminal.

    Ctrl-C ends the waiting, not the pipelines. The exit code is 1 if one has failed, or is not over in time.
    """
    from fission.pipelines.files import read_pipelines

    interrupts.loaded()
    pipelines = read_pipelines(file)
    begin = time.monotonic()
    with _manager(api, broadcast, keys, timeout) as manager:
        manager.start_all(pipelines)
        over = _wait(manager, len(pipelines), duration)
    seconds = time.monotonic() - begin
    failed = [pipeline for pipeline in pipelines if pipeline.error]
    if as_json:
        told = {"pipelines": len(pipelines), "finished": sum(one.finished for one in pipelines) - len(failed), "failed": len(failed)}
        rows = [{"id": one.id, "finished": one.finished, "duration": one.duration, "error": one.error} for one in pipelines]
        click.echo(json.dumps({**told, "seconds": seconds, "each": rows}, indent=2))
    else:
        for pipeline in failed:
            error = pipeline.error or {}
            click.secho("Failed: ", fg="red", bold=True, nl=False, err=True)
            click.echo(f"{pipeline.id}, {error.get('worker')}: {error.get('error')}\n{error.get('traceback', '')}".rstrip(), err=True)
        number = sum(one.finished for one in pipelines)
        click.echo(f"{number} of {len(pipelines)} pipelines are over after {seconds:.2f} s, {len(failed)} failed")
    return EXIT_OK if over and not failed else EXIT_FAILED


def _wait(manager: PipelineManager, number: int, duration: float | None) -> bool:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    deadline = None if duration is None else time.monotonic() + duration
    columns = (TextColumn("pipelines"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(file=sys.stderr)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("pipelines", total=number)
        while manager.finished_pipelines < number:
            if deadline is not None and time.monotonic() > deadline:
                return False
            manager.update(0.1)
            progress.update(task, completed=manager.finished_pipelines)
    return True


@click.command(name="list", epilog=example("fission pipelines list", "fission pipelines list --state failed --limit 20 --json"))
@click.option(
    "--state", "states", multiple=True, type=click.Choice(["waiting", "finished", "failed", "cancelled"]), help="Only those. Repeatable."
)
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, metavar="N", help="So many at most.")
@click.option("--before", type=click.IntRange(1), metavar="ORDER", help="Only those accepted before the one with this order.")
@api_option
@keys_option
@timeout_option
@json_option
def list_(states: tuple[str, ...], limit: int, before: int | None, api: str, keys: Path | None, timeout: float, as_json: bool) -> None:
    """The newest pipelines, newest first."""
    answer = _ask(api, {"command": "pipelines", "states": list(states), "limit": limit, "before": before or 0}, timeout, keys)
    if as_json:
        click.echo(json.dumps(answer["pipelines"], indent=2))
        return
    rows = [
        [row["id"], row["state"], _when(row["accepted"]), _seconds(row["duration"]), _short(row["error"])] for row in answer["pipelines"]
    ]
    _table(["id", "state", "accepted", "duration", "error"], rows, "There are no pipelines.")


@click.command(name="show", epilog=example("fission pipelines show 1f2e...", "fission pipelines show 1f2e... --json"))
@click.argument("pipeline_id", metavar="ID")
@api_option
@keys_option
@timeout_option
@json_option
def show(pipeline_id: str, api: str, keys: Path | None, timeout: float, as_json: bool) -> None:
    """One pipeline: each job's state, tries, duration, node and error."""
    answer = _ask(api, {"command": "pipeline", "pipeline id": pipeline_id}, timeout, keys)
    if as_json:
        click.echo(json.dumps({name: value for name, value in answer.items() if name != "answer"}, indent=2))
        return
    click.echo(f"{answer['id']}: {answer['state']}, accepted {_when(answer['accepted'])}, duration {_seconds(answer['duration']) or '-'}")
    if answer["data"] is not None:
        click.echo(f"data: {json.dumps(answer['data'])}")
    rows = [
        [str(job["job"]), job["worker"], job["state"], str(job["tries"]), _seconds(job["duration"]), job["node"], job["error"]]
        for job in answer["jobs"]
    ]
    _table(["job", "worker", "state", "tries", "duration", "node", "error"], rows, "")
    for job in answer["jobs"]:
        if job["traceback"]:
            click.echo(f"\n{job['worker']}:\n{job['traceback'].rstrip()}")


@click.command(name="retry", epilog=example("fission pipelines retry 1f2e..."))
@click.argument("pipeline_id", metavar="ID")
@api_option
@keys_option
@timeout_option
@json_option
def retry(pipeline_id: str, api: str, keys: Path | None, timeout: float, as_json: bool) -> None:
    """Run what is left of a failed or cancelled pipeline; its finished jobs are not run again."""
    _change("retry", pipeline_id, api, keys, timeout, as_json, "goes on")


@click.command(name="cancel", epilog=example("fission pipelines cancel 1f2e..."))
@click.argument("pipeline_id", metavar="ID")
@api_option
@keys_option
@timeout_option
@json_option
def cancel(pipeline_id: str, api: str, keys: Path | None, timeout: float, as_json: bool) -> None:
    """End a pipeline before its end: jobs that run are killed, the others are not begun."""
    _change("cancel", pipeline_id, api, keys, timeout, as_json, "is cancelled")


def _change(command: str, pipeline_id: str, api: str, keys: Path | None, timeout: float, as_json: bool, done: str) -> None:
    answer = _ask(api, {"command": command, "pipeline id": pipeline_id}, timeout, keys)
    if as_json:
        click.echo(json.dumps({"id": answer["pipeline id"], "done": command}, indent=2))
    else:
        click.echo(f"{answer['pipeline id']} {done}")


def _table(head: list[str], rows: list[list[str]], empty: str) -> None:
    if not rows:
        click.echo(empty)
        return
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    for row in [head, *rows]:
        click.echo("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def _when(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.3f} s"


def _short(error: Mapping[str, Any] | None) -> str:
    return "" if not error else f"{error['worker']}: {error['error']}"[:80]
