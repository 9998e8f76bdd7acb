"""``fission pipelines submit|send|list|show|retry|cancel``."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from fission.cli import interrupts
from fission.cli.commands.pipelines_daemons import api_option, broadcast_option, keys_option
from fission.cli.table import example
from fission.errors import EXIT_FAILED, EXIT_OK

if TYPE_CHECKING:
    from fission.pipelines import Pipeline, PipelineManager
    from fission.protocol.messages.pipelines.wire import RouterReply, RouterRequest

timeout_option = click.option(
    "--timeout", type=float, default=10.0, show_default=True, metavar="SECONDS", help="Longest time to wait for the Router."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Write the result as JSON to standard output.")
#: Seconds between two lines of `send` where there is no terminal for its bar.
SAY_S = 5.0
STATES = ["waiting", "running", "finished", "failed", "cancelled"]
priority_option = click.option(
    "--priority",
    type=click.IntRange(-1000, 1000),
    metavar="N",
    help="Pipelines with a larger priority run first. [default: the file's, or 0]",
)
file_argument = click.argument("file", type=click.Path(path_type=Path))

R = TypeVar("R", bound="RouterReply")


def _ask(api: str, request: RouterRequest, kind: type[R], timeout: float, keys: Path | None) -> R:
    from fission.adapters.zmq_api import ApiClient
    from fission.pipelines.daemon import ask, protect_with, read_keys

    interrupts.loaded()
    client = ApiClient(api, protect_with(read_keys(keys)))
    try:
        return ask(client, api, request, kind, timeout)
    finally:
        client.close()


def _as_json(message: Any) -> Any:
    """Return a message, or a part of one, as the Router sent it."""
    import msgspec

    return msgspec.to_builtins(message, str_keys=True)


@contextmanager
def _manager(api: str, broadcast: str, keys: Path | None, timeout: float) -> Iterator[PipelineManager]:
    from fission.pipelines import PipelineManager

    with PipelineManager(api, broadcast, timeout=timeout, keys=keys) as manager:
        yield manager


@click.command(name="submit", epilog=example("fission pipelines submit pipelines.yaml", "fission pipelines submit pipelines.json --json"))
@file_argument
@priority_option
@api_option
@broadcast_option
@keys_option
@timeout_option
@json_option
def submit(file: Path, priority: int | None, api: str, broadcast: str, keys: Path | None, timeout: float, as_json: bool) -> int:
    """Submit the pipelines of FILE (YAML or JSON) and print their ids; accepted pipelines survive
    all daemons.
    """
    interrupts.loaded()
    pipelines = _read(file, priority)
    with _manager(api, broadcast, keys, timeout) as manager:
        ids = manager.start_all(pipelines)
    if as_json:
        _echo_json([{"id": name} for name in ids])
    else:
        for name in ids:
            click.echo(name)
    return EXIT_OK


def _read(file: Path, priority: int | None) -> list[Pipeline]:
    from fission.pipelines.files import read_pipelines

    pipelines = read_pipelines(file)
    for pipeline in pipelines if priority is not None else ():
        pipeline.priority = priority or 0
    return pipelines


def _echo_json(pipelines: Sequence[Mapping[str, Any]], **more: Any) -> None:
    """Print JSON in the shape of all commands: an object with ``pipelines``, each an object with
    ``id``.
    """
    click.echo(json.dumps({"pipelines": list(pipelines), **more}, indent=2))


@click.command(
    name="send", epilog=example("fission pipelines send pipelines.yaml", "fission pipelines send pipelines.yaml --for 60 --json")
)
@file_argument
@click.option("--for", "duration", type=float, metavar="SECONDS", help="Longest time to wait for their end. [default: no limit]")
@priority_option
@api_option
@broadcast_option
@keys_option
@timeout_option
@json_option
def send(
    file: Path, duration: float | None, priority: int | None, api: str, broadcast: str, keys: Path | None, timeout: float, as_json: bool
) -> int:
    """Submit the pipelines of FILE and wait until all of them have ended; progress is shown on
    standard error.

    Ctrl-C ends the waiting, not the pipelines. The exit code is 1 if one has failed, or has not
    ended in time.
    """
    interrupts.loaded()
    pipelines = _read(file, priority)
    begin = time.monotonic()
    with _manager(api, broadcast, keys, timeout) as manager:
        manager.start_all(pipelines)
        over = _wait(manager, len(pipelines), duration)
    seconds = time.monotonic() - begin
    failed = [pipeline for pipeline in pipelines if pipeline.error]
    if as_json:
        rows = [
            {"id": pipeline.id, "state": _state(pipeline), "duration": pipeline.duration, "error": pipeline.error} for pipeline in pipelines
        ]
        finished = sum(pipeline.finished for pipeline in pipelines) - len(failed)
        _echo_json(rows, started=len(pipelines), finished=finished, failed=len(failed), seconds=seconds)
    else:
        for pipeline in failed:
            error = pipeline.error or {}
            click.secho("Failed: ", fg="red", bold=True, nl=False, err=True)
            click.echo(f"{pipeline.id}, {error.get('worker')}: {error.get('error')}\n{error.get('traceback', '')}".rstrip(), err=True)
        number = sum(pipeline.finished for pipeline in pipelines)
        click.echo(f"{number} of {len(pipelines)} pipelines have ended after {seconds:.2f} s, {len(failed)} failed")
    return EXIT_OK if over and not failed else EXIT_FAILED


def _state(pipeline: Pipeline) -> str:
    if not pipeline.finished:
        return "waiting"
    return "finished" if pipeline.error is None else "failed" if pipeline.error.get("worker") else "cancelled"


def _wait(manager: PipelineManager, number: int, duration: float | None) -> bool:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    begin = shown_at = time.monotonic()
    deadline = None if duration is None else begin + duration
    columns = (TextColumn("pipelines"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(file=sys.stderr)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("pipelines", total=number)
        while manager.finished_pipelines < number:
            if deadline is not None and time.monotonic() > deadline:
                return False
            manager.update(0.1)
            progress.update(task, completed=manager.finished_pipelines)
            if not console.is_terminal and time.monotonic() - shown_at >= SAY_S:
                shown_at = time.monotonic()
                click.echo(f"{manager.finished_pipelines} of {number} pipelines have ended after {shown_at - begin:.0f} s", err=True)
    return True


@click.command(name="list", epilog=example("fission pipelines list", "fission pipelines list --state failed --limit 20 --json"))
@click.option("--state", "states", multiple=True, type=click.Choice(STATES), help="Only pipelines in this state. Repeatable.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, metavar="N", help="Maximum number of pipelines.")
@click.option("--before", type=click.IntRange(1), metavar="ORDER", help="Only pipelines accepted before the one with this order.")
@api_option
@keys_option
@timeout_option
@json_option
def list_(states: tuple[str, ...], limit: int, before: int | None, api: str, keys: Path | None, timeout: float, as_json: bool) -> None:
    """List the newest pipelines, newest first, with their data."""
    from fission.protocol.messages.pipelines.client_to_router import ListPipelines
    from fission.protocol.messages.pipelines.router_to_client import PipelineList, PipelineSummary

    found: list[PipelineSummary] = []
    while len(found) < limit:  # an answer has as many as fit into a message
        request = ListPipelines(list(states), limit - len(found), before or 0)
        answer = _ask(api, request, PipelineList, timeout, keys).pipelines
        if not answer:
            break
        found += answer
        before = answer[-1].order
    if as_json:
        _echo_json(_as_json(found))
        return
    rows = [
        [
            row.id,
            row.state,
            _when(row.accepted),
            _seconds(row.duration),
            _data(row.data),
            _short(row.error) or "; ".join(row.waits_for),
        ]
        for row in found
    ]
    _table(["id", "state", "accepted", "duration", "data", "error"], rows, "There are no pipelines.")


@click.command(name="show", epilog=example("fission pipelines show 1f2e", "fission pipelines show 1f2e --json"))
@click.argument("pipeline_id", metavar="ID")
@api_option
@keys_option
@timeout_option
@json_option
def show(pipeline_id: str, api: str, keys: Path | None, timeout: float, as_json: bool) -> None:
    """Show each job of a pipeline: state, tries, duration, node and error. ID may be its first
    letters.
    """
    from fission.protocol.messages.pipelines.client_to_router import ShowPipeline
    from fission.protocol.messages.pipelines.router_to_client import PipelineShown

    shown = _ask(api, ShowPipeline(pipeline_id), PipelineShown, timeout, keys)
    if as_json:
        click.echo(json.dumps({name: value for name, value in _as_json(shown).items() if name != "answer"}, indent=2))
        return
    click.echo(f"{shown.id}: {shown.state}, accepted {_when(shown.accepted)}, duration {_seconds(shown.duration) or '-'}")
    if shown.data is not None:
        click.echo(f"data: {json.dumps(shown.data)}")
    rows = [[str(job.job), job.worker, job.state, str(job.tries), _seconds(job.duration), job.node, job.error] for job in shown.jobs]
    _table(["job", "worker", "state", "tries", "duration", "node", "error"], rows, "")
    for job in shown.jobs:
        if job.traceback:
            click.echo(f"\n{job.worker}:\n{job.traceback.rstrip()}")


@click.command(name="retry", epilog=example("fission pipelines retry 1f2e", "fission pipelines retry --all-failed"))
@click.argument("pipeline_id", metavar="[ID]", required=False)
@click.option("--all-failed", is_flag=True, help="All failed pipelines, instead of one.")
@api_option
@keys_option
@timeout_option
@json_option
def retry(pipeline_id: str | None, all_failed: bool, api: str, keys: Path | None, timeout: float, as_json: bool) -> None:
    """Run the unfinished jobs of a failed or cancelled pipeline. ID may be its first letters."""
    if all_failed == bool(pipeline_id):
        raise click.UsageError("retry needs the ID of a pipeline, or --all-failed instead of it")
    from fission.protocol.messages.pipelines.client_to_router import RetryFailedPipelines, RetryPipeline
    from fission.protocol.messages.pipelines.router_to_client import FailedRetried

    if pipeline_id:
        _change("retry", RetryPipeline(pipeline_id), api, keys, timeout, as_json, "runs again")
        return
    ids: list[str] = []
    before = 0
    while True:
        answer = _ask(api, RetryFailedPipelines(before), FailedRetried, timeout, keys)
        if not answer.pipeline_ids:
            break
        ids += answer.pipeline_ids
        before = answer.before
    if as_json:
        _echo_json([{"id": name} for name in ids], done="retry")
    else:
        click.echo(f"{len(ids)} failed {'pipeline is' if len(ids) == 1 else 'pipelines are'} run again")


@click.command(name="cancel", epilog=example("fission pipelines cancel 1f2e"))
@click.argument("pipeline_id", metavar="ID")
@api_option
@keys_option
@timeout_option
@json_option
def cancel(pipeline_id: str, api: str, keys: Path | None, timeout: float, as_json: bool) -> None:
    """Cancel a pipeline: running jobs are killed, the others never start. ID may be its first
    letters.
    """
    from fission.protocol.messages.pipelines.client_to_router import CancelPipeline

    _change("cancel", CancelPipeline(pipeline_id), api, keys, timeout, as_json, "is cancelled")


def _change(command: str, request: RouterRequest, api: str, keys: Path | None, timeout: float, as_json: bool, done: str) -> None:
    from fission.protocol.messages.pipelines.router_to_client import PipelineChanged

    changed = _ask(api, request, PipelineChanged, timeout, keys).pipeline_id
    if as_json:
        _echo_json([{"id": changed}], done=command)
    else:
        click.echo(f"{changed} {done}")


def _table(head: list[str], rows: list[list[str]], empty: str) -> None:
    if not rows:
        click.echo(empty)
        return
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    for row in [head, *rows]:
        click.echo("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def _when(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.3f} s"


def _data(data: Mapping[str, Any] | None) -> str:
    text = "" if data is None else json.dumps(data, ensure_ascii=False)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _short(error: Mapping[str, Any] | None) -> str:
    return "" if not error else f"{error['worker']}: {error['error']}"[:80]
